"""What every test may use: a project in an empty directory, the program as a real process, and what a run left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN_DIR = re.compile(r"workflow_\d{8}_\d{6}(?:_(\d+))?\Z")

# Two cores and coverage make single examples slow now and then; the limit of the test itself is what counts.
hypothesis.settings.register_profile("workflow", deadline=None, print_blob=True)
hypothesis.settings.load_profile("workflow")

# What a process needs to start; the rest of the caller's environment must not decide a test.
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "COVERAGE_FILE", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


def clean_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment tests start processes with: no WORKFLOW_*, no CHECKPOINT_*, no terminal, UTC."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    # The checkout first, so that tests work with and without an editable install.
    env |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TERM": "dumb", "TZ": "UTC"}
    return env | dict(extra or {})


def run_program(
    *args: str | os.PathLike[str],
    cwd: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m workflow ARGS` to its end as a real process and return what it said.

    `env` is added to a clean environment. Without `input` stdin is empty. Bytes that are not UTF-8 come back as
    surrogate escapes. Raises subprocess.TimeoutExpired after `timeout` seconds.
    """
    return subprocess.run(
        [sys.executable, "-m", "workflow", *map(os.fspath, args)],
        cwd=cwd,
        env=clean_env(env),
        timeout=timeout,
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )


def start_program(
    *args: str | os.PathLike[str], cwd: str | os.PathLike[str], env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m workflow ARGS` in a session of its own and return the process; the test ends it.

    Output goes to `stdout.txt` and `stderr.txt` in `cwd`: a pipe that nobody reads would stop the runner.
    """
    with open(Path(cwd) / "stdout.txt", "ab") as stdout, open(Path(cwd) / "stderr.txt", "ab") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "workflow", *map(os.fspath, args)],
            cwd=cwd,
            env=clean_env(env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def runs_of(project: str | os.PathLike[str]) -> list[Path]:
    """Return the run directories of a project, oldest first; [] when there are none."""

    def start(path: Path) -> tuple[str, int]:
        match = RUN_DIR.match(path.name)
        assert match
        return path.name[:24], int(match[1] or 1)

    root = Path(project) / ".checkpoints"
    if not root.is_dir():
        return []
    return sorted((path for path in root.iterdir() if RUN_DIR.match(path.name) and path.is_dir()), key=start)


def newest_run_of(project: str | os.PathLike[str]) -> Path:
    """Return the run directory that was created last; the test fails when there is none."""
    found = runs_of(project)
    assert found, f"no run in {project}/.checkpoints"
    return found[-1]


def markers_of(run_dir: str | os.PathLike[str]) -> list[int]:
    """Return the numbers of the steps that have a marker, sorted. Looks at names only."""
    names = (re.fullmatch(r"step_(\d{2,})\.complete", name) for name in os.listdir(run_dir))
    return sorted(int(match[1]) for match in names if match)


def executions_of(project: str | os.PathLike[str]) -> list[str]:
    """Return the lines that steps appended to `ran.txt`, in order: who ran, and how often."""
    path = Path(project) / "ran.txt"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


class Project:
    """A directory with numbered steps. `path` is where the program is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def step(
        self,
        number: int,
        body: str | None = None,
        *,
        name: str = "",
        shebang: str = "#!/bin/sh",
        executable: bool = True,
    ) -> Path:
        """Write `steps/step_NN_NAME.sh` and return its path.

        Without a body the step appends its two-digit number to `ran.txt`. `body` may begin with `#|` lines.
        An empty `shebang` leaves that line out.
        """
        label = f"{number:02d}"
        text = body if body is not None else f"echo {label} >>ran.txt"
        return self.script(
            f"steps/step_{label}_{name or f's{number}'}.sh",
            (f"{shebang}\n" if shebang else "") + text + "\n",
            executable=executable,
        )

    def steps(self, count: int) -> None:
        """Write steps 00 to `count` - 1, each appending its number to `ran.txt`."""
        for number in range(count):
            self.step(number)

    def script(self, name: str, text: str, *, executable: bool = True) -> Path:
        """Write a file anywhere in the project, with or without the x bit, and return its path."""
        path = self.file(name, text)
        path.chmod(0o755 if executable else 0o644)
        return path

    def file(self, name: str, text: str) -> Path:
        """Write a file anywhere in the project and return its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        return path

    def run(
        self,
        *args: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the program here; see `run_program`."""
        return run_program(*args, cwd=self.path, env=env, timeout=timeout, input=input)

    def start(self, *args: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start the program here and do not wait; see `start_program`."""
        return start_program(*args, cwd=self.path, env=env)

    @property
    def runs(self) -> list[Path]:
        return runs_of(self.path)

    @property
    def newest_run(self) -> Path:
        return newest_run_of(self.path)

    @property
    def markers(self) -> list[int]:
        """Numbers of the steps that are marked complete in the newest run."""
        return markers_of(self.newest_run)

    @property
    def executions(self) -> list[str]:
        return executions_of(self.path)


@pytest.fixture(autouse=True)
def _no_outer_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a run that these tests are themselves a step of."""
    for name in list(os.environ):
        if name.startswith(("WORKFLOW_", "CHECKPOINT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project directory of its own."""
    path = tmp_path / "project"
    path.mkdir()
    return Project(path)


@pytest.fixture
def run_workflow(project: Project) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_program`, in the project unless `cwd` says otherwise."""

    def run(*args: str | os.PathLike[str], **options: object) -> subprocess.CompletedProcess[str]:
        options.setdefault("cwd", project.path)
        return run_program(*args, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def markers() -> Callable[[str | os.PathLike[str]], list[int]]:
    return markers_of


@pytest.fixture
def newest_run() -> Callable[[str | os.PathLike[str]], Path]:
    return newest_run_of


@pytest.fixture
def executions() -> Callable[[str | os.PathLike[str]], list[str]]:
    return executions_of
