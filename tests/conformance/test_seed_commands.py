"""Every command line of the older systems' documents does, in its form here, what it did there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.seed_lines import DOCUMENTS, NOT_HERE, Line
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

    `fixed`, alone or added: what failed will not fail any more. `old, failed`: one run of each.
    """
    project.file("plan.json", PLAN)
    project.file("policy.yaml", "limits: {time: 1h}\nsteps: {test: {timeout: 5m}}\n")
    if "done" in name or "old" in name:
        project.file("fixed", "")
        assert project.run("run", "plan.json").returncode == 0
        (project.path / "fixed").unlink()
    if "old" in name:
        long_ago = time.time() - 40 * 86400
        for directory, folders, files in os.walk(project.newest_run, topdown=False):
            for entry in (*files, *folders):
                os.utime(os.path.join(directory, entry), (long_ago, long_ago))
        os.utime(project.newest_run, (long_ago, long_ago))
    if "failed" in name or name == "fixed":
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


SEEDS = ROOT.parent / "shared" / "seeds"
# What only holds a script together: what it does stands in its other lines.
GLUE = re.compile(
    r"(?:set -e|local|while|do|done|then|else|fi|return|echo|sleep|build_with_resume)\b"
    r"|if \[+ |(?:PID|attempt)=|\}|\w+\(\) \{"
)
FENCED = re.compile(r"^ *```(bash|yaml)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OLD_PROGRAMS = r"(?:fleet|specular|python ralph_orchestrator\.py|\./execute_tests_docs_workflow\.sh)\b"


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the documents do not lie beside this checkout")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_line_of_the_documents_is_in_the_table(name: str) -> None:
    """No command is forgotten: neither of a fenced block, nor of the recipes for CI, nor in the text."""
    found = command_lines((SEEDS / name).read_text(encoding="utf-8"))
    assert found, "no command line at all: they are written in another way than this looks for"
    lines = DOCUMENTS[name]
    forgotten = [line for line in found if not (line in NOT_HERE[name] or _is_listed(line, lines))]
    assert forgotten == []
    # What is excused is in the document, and is not in the table as well.
    assert [line for line in NOT_HERE[name] if line not in found] == []
    assert [line for line in NOT_HERE[name] if line in {part for it in lines for part in _parts(it.seed)}] == []


def command_lines(text: str) -> list[str]:
    """Return the commands of a document, one a line, without comments and what only holds a script together."""
    found = []
    for language, block in FENCED.findall(text):
        commands = [re.sub(r"^(?:- )", "", line) for line in _whole_lines(block)]
        if language == "yaml":
            commands = [line for line in commands if re.match(OLD_PROGRAMS, line)]
        found += [line for line in commands if not GLUE.match(line)]
    found += re.findall(r"`((?:ls|cat|rm|du|find) [^`]+)`", FENCED.sub("", text))
    return found


def _whole_lines(block: str) -> Iterator[str]:
    """Yield the lines of a script, those put together that a backslash or an open quote holds together."""
    text = ""
    for line in block.splitlines():
        if line.lstrip().startswith("#"):
            continue
        text = f"{text} {line}" if text else line
        if text.endswith("\\"):
            text = text[:-1]
            continue
        if text.count("'") % 2 or text.count('"') % 2:
            continue
        bare = re.sub(r"; (?:then|do)$", "", re.sub(r"\s+", " ", re.sub(r"\s+#.*", "", text)).strip())
        if bare:
            yield bare
        text = ""


def _is_listed(command: str, lines: list[Line]) -> bool:
    """Whether the table has the command, or the same one with the same options, whatever the run is called."""
    if command.startswith("--"):  # a list of options
        return any(command.split(maxsplit=1)[0] in line.seed.split() for line in lines)
    return any(_bare(part) == _bare(command) for line in lines for part in _parts(line.seed))


def _parts(seed: str) -> list[str]:
    """Return a seed, and the commands that it strings together."""
    return [re.sub(r"\s+", " ", part).strip() for part in (seed, *re.split(r"; | & | #", seed))]


def _bare(command: str) -> list[str]:
    return [word for word in command.removesuffix(" &").split() if not re.match(r"<|build-|task-|\d+[a-z]?$", word)]
