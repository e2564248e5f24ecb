"""Every command line of the older systems' documents does, in its form here, what it did there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.seed_lines import DOCUMENTS, Line
from tests.conftest import ROOT, Project, clean_env, newest_run_of

PLAN = """\
{"name": "nightly", "steps": [
  {"name": "fetch", "run": "echo fetched"},
  {"name": "build", "run": "touch started; [ ! -e slow ] || sleep 60; mkdir -p out; echo app >out/app",
   "outputs": ["out/app"]},
  {"name": "test", "run": "[ -e fixed ]"},
  {"name": "publish", "run": "echo published >>published.txt"}
]}
"""
LINES = [
    pytest.param(line, id=f"{name.removesuffix('.md')}-{number}")
    for name, lines in DOCUMENTS.items()
    for number, line in enumerate(lines)
]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PATH in which `workflow` is this checkout."""
    directory = tmp_path_factory.mktemp("bin")
    program = directory / "workflow"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m workflow "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a project as it is in a state; each is made once a session and copied."""
    made: dict[str, Path] = {}

    def state(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("state")
            _make(Project(made[name]), name)
        return made[name]

    return state


def _make(project: Project, name: str) -> None:
    """`fresh`: nothing was run; `failed`: the third of four steps failed; `done`; `old`: a completed run long ago.

    `fixed`, alone or added: what failed will not fail any more.
    """
    project.file("plan.json", PLAN)
    project.file("policy.yaml", "limits: {time: 1h}\nsteps: {test: {timeout: 5m}}\n")
    if "done" in name or "old" in name:
        project.file("fixed", "")
        assert project.run("run", "plan.json").returncode == 0
        (project.path / "fixed").unlink()
    if "old" in name:
        long_ago = time.time() - 30 * 86400
        for directory, folders, files in os.walk(project.newest_run, topdown=False):
            for entry in (*files, *folders):
                os.utime(os.path.join(directory, entry), (long_ago, long_ago))
        os.utime(project.newest_run, (long_ago, long_ago))
    if name in ("failed", "fixed"):
        assert project.run("run", "plan.json").returncode == 1
    if "fixed" in name:
        project.file("fixed", "")


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_works_in_its_form_here(
    line: Line, commands: Path, states: Callable[[str], Path], tmp_path: Path
) -> None:
    if "jq" in line.ours and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    here = tmp_path / "project"
    shutil.copytree(states(line.state), here, symlinks=True)
    has_run = (here / ".checkpoints").exists()
    extra = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "RUN": newest_run_of(here).name if has_run else ""}
    code, said = (_at_a_terminal if line.asks else _plainly)(line.ours, here, clean_env(extra))
    assert code == line.code, f"{line.seed}\n{line.ours}\n{said}"
    assert re.search(line.says, said), f"{line.seed}\n{line.ours}\n{said}"
    assert "Traceback" not in said


def _plainly(text: str, here: Path, env: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "-c", text],
        cwd=here,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def _at_a_terminal(text: str, here: Path, env: dict[str, str]) -> tuple[int, str]:
    pexpect = pytest.importorskip("pexpect")
    terminal = pexpect.spawn("sh", ["-c", text], cwd=str(here), env=env, encoding="utf-8", timeout=60)
    terminal.expect(r"\[y/N\]|\[Y/n\]")
    before = terminal.before
    terminal.sendline("y")
    terminal.expect(pexpect.EOF)
    said = before + terminal.before
    terminal.close()
    return terminal.exitstatus, said


def test_every_command_line_of_the_documents_is_in_the_table() -> None:
    """Where the documents lie beside the checkout: no command of a fenced block is forgotten."""
    seeds = ROOT.parent / "shared" / "seeds"
    if not seeds.is_dir():
        pytest.skip("the documents do not lie beside this checkout")
    for name, lines in DOCUMENTS.items():
        known = " ".join(re.sub(r"\s+", " ", line.seed) for line in lines)
        for block in re.findall(
            r"^```bash\n(.*?)^```", (seeds / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            for command in re.findall(r"^(?:fleet|specular) .*$", block, re.MULTILINE):
                words = re.sub(r"\s+#.*", "", command).strip()
                assert words in known or _has_form(words, lines), f"{name}: {words}"


def _has_form(command: str, lines: list[Line]) -> bool:
    """Whether the table has the same verb with the same options, whatever the run is called."""

    def bare(text: str) -> list[str]:
        return [word for word in text.split() if not re.match(r"<|build-|task-", word)]

    return any(bare(line.seed) == bare(command) for line in lines)
