"""Real shells: every test that takes `shell` runs under each of them that this machine has."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Project, clean_env
from workflow.checkpoint import marker, records
from workflow.checkpoint.layout import LIBRARY
from workflow.checkpoint.seal import sealed
from workflow.definition import graph
from workflow.execution.steps_program import resume_program, steps_program
from workflow.model import Rules, Source, Step, Workflow

LIB = ROOT / "lib"

# The beginning of a step that calls functions of ours, and of one that leaves a line in ran.txt.
FUNCTIONS = '. "$WORKFLOW_LIB/step_execution.sh"\n'
COUNTED = "echo {label}.$WORKFLOW_ATTEMPT >>ran.txt\n"

# Weakest first. `sh resume.sh` is promised under the first four; in the others it is to work as well.
SHELLS = ("dash", "busybox sh", "bash --posix", "bash", "ksh", "mksh", "zsh", "yash")
PROMISED = SHELLS[:4]


def require_program(name: str) -> str:
    """Return the path of a program; skip the test where there is none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(params=SHELLS, ids=lambda name: name.replace(" ", "_"))
def shell(request: pytest.FixtureRequest) -> list[str]:
    """The command line of a shell, to which a script or `-c` is added."""
    words = str(request.param).split()
    return [require_program(words[0]), *words[1:]]


@pytest.fixture(params=PROMISED, ids=lambda name: name.replace(" ", "_"))
def posix_shell(request: pytest.FixtureRequest) -> list[str]:
    """As `shell`, but only those under which resume.sh is promised to work."""
    words = str(request.param).split()
    return [require_program(words[0]), *words[1:]]


def is_yash(shell: Sequence[str]) -> bool:
    """Return whether this shell holds text as characters, so that bytes which are no UTF-8 are beyond it."""
    return os.path.basename(shell[0]) == "yash"


def run_shell(
    shell: Sequence[str],
    script: str | bytes,
    *args: str | bytes,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> subprocess.CompletedProcess[bytes]:
    """Run `SHELL -c SCRIPT shell ARGS` to its end, stdin empty."""
    return subprocess.run(
        [*shell, "-c", script, "shell", *args],
        cwd=cwd,
        env=clean_env(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def wait_until(is_so: Callable[[], object], what: str, *, seconds: float = 20) -> None:
    """Wait until a predicate holds; the test fails when it does not in time."""
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at, f"{what}: not within {seconds} s"
        time.sleep(0.01)


class Resuming:
    """`SHELL resume.sh` in the newest run of a project."""

    def __init__(self, project: Project, shell: Sequence[str]) -> None:
        self.project = project
        self.shell = shell
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def program(self) -> Path:
        return self.project.newest_run / "resume.sh"

    def run(
        self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 40, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end. Output is read from files: a process that outlives it must not hold us up."""
        process = self.start(*args, env=env, cwd=cwd)
        try:
            process.wait(timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = (
            (self.project.path / name).read_text(encoding="utf-8", errors="surrogateescape")
            for name in ("resume.stdout", "resume.stderr")
        )
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(
        self, *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start it as leader of a process group of its own."""
        with (
            open(self.project.path / "resume.stdout", "wb") as stdout,
            open(self.project.path / "resume.stderr", "wb") as stderr,
        ):
            process = subprocess.Popen(
                [*self.shell, str(self.program), *args],
                cwd=cwd or self.project.path,
                env=clean_env(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def failing_at(project: Project, number: int, count: int) -> None:
    """Write `count` steps of which one fails until there is a file `go`, and run them."""
    for step in range(count):
        text = COUNTED.format(label=f"{step:02d}")
        project.step(step, text + ("echo why it failed\ntest -e go" if step == number else ""))
    assert project.run().returncode == 1


def marker_of(project: Project, number: int) -> marker.Marker:
    run = project.newest_run
    return marker.decode((run / f"step_{number:02d}.complete").read_bytes(), run_id=run.name, number=number)


def ran(name: str) -> str:
    """Return the text of a step that leaves a line in ran.txt."""
    return f"echo {name} >>ran.txt"


def text_step(number: int, text: str, rules: Rules | None = None, **fields: Any) -> Step:
    """Return a step named `sN` with a text of its own; `fields` are further ones of Step."""
    if rules is not None:
        fields["rules"] = rules
    return Step(number, f"s{number}", Source("workflow.yaml"), text=text, **fields)


def lay_out(project: Project, *steps: Step, lock_directory: str = "") -> Path:
    """Make the directory of a run of which nothing has run yet, as the runner would, and return it."""
    run = project.path / ".checkpoints/workflow_20261120_171500"
    for name in ("state", "logs", "lib"):
        (run / name).mkdir(parents=True, exist_ok=True)
    for name in LIBRARY:
        (run / "lib" / name).write_bytes(sealed((LIB / name).read_bytes()))
    workflow = Workflow("laid out", str(project.path), "workflow.yaml", steps)
    fingerprints = {step.number: f"blake3:{step.number:064x}" for step in steps}
    program = resume_program(
        workflow, run.name, "../..", graph.order(steps), fingerprints, lock_directory=lock_directory
    )
    (run / "steps.sh").write_bytes(sealed(steps_program(workflow)))
    (run / "resume.sh").write_bytes(sealed(program))
    return run


def state_of(project: Project, number: int) -> records.Document:
    """Return the state of a step, its checksum verified."""
    return records.decode_document((project.newest_run / f"state/step_{number:02d}_state.json").read_bytes())


@pytest.fixture
def needs_flock() -> None:
    """resume.sh takes the lock of the run with flock(1)."""
    require_program("flock")


@pytest.fixture
def resuming(project: Project, shell: list[str]) -> Iterator[Resuming]:
    """resume.sh under every shell there is."""
    it = Resuming(project, shell)
    yield it
    it.close()


@pytest.fixture
def posix_resuming(project: Project, posix_shell: list[str]) -> Iterator[Resuming]:
    """resume.sh under the shells it is promised for."""
    it = Resuming(project, posix_shell)
    yield it
    it.close()


@pytest.fixture
def sh_resuming(project: Project) -> Iterator[Resuming]:
    """resume.sh under `sh`, for what does not depend on the shell."""
    it = Resuming(project, [require_program("sh")])
    yield it
    it.close()
