"""What the documents show is executed, in order, in an empty directory; what they print is what is printed."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import clean_env
from tests.docs.documents import ROOT, documents, pattern, runnable, same

SHOWN = [path for path in documents() if runnable(path)]
PATIENCE_S = 60
HOME = "/home/ada"  # where the documents say they are
KILLED = re.compile(r"^\S+: line \d+: +\d+ Killed .*\n", re.MULTILINE)  # what bash says of a job when it finds the time


@pytest.mark.parametrize("path", SHOWN, ids=[str(path.relative_to(ROOT)) for path in SHOWN])
def test_what_a_document_shows_happens(path: Path, tmp_path: Path) -> None:
    # One shell for the whole document: directories, variables and background jobs go on from block to block.
    home = tmp_path / "ada"
    home.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "workflow"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m workflow "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    python = programs / "python3"  # the one that has what we need
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(program.stat().st_mode)
    commands = runnable(path)
    # `set -e` in a sourced block ends the shell at the command that failed: `reached` tells which. The exit code of a
    # console command is handed on to the next one, which may be `echo $?`.
    script = ["code=0", "with_code() { return $code; }"]
    for number, command in enumerate(commands):
        source, output = tmp_path / f"{number}.sh", tmp_path / f"{number}.out"
        source.write_text(command.text + "\n", encoding="utf-8")
        before = "set -e" if command.shown is None else "set +e; with_code"
        script.append(f"{{ {before}; . {source}; code=$?; set +e; }} >{output} 2>&1 </dev/null")
        script.append(f"echo {number} >{tmp_path}/reached")
    env = clean_env({"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "USER": "ada"})
    subprocess.run(["bash", "-c", "\n".join(script)], cwd=home, env=env, timeout=PATIENCE_S, check=False)

    for number, command in enumerate(commands):
        said = (tmp_path / f"{number}.out").read_text(encoding="utf-8").replace(str(home), HOME)
        reached = int((tmp_path / "reached").read_text()) if (tmp_path / "reached").exists() else -1
        assert number <= reached, f"this failed:\n{command.text}\n{said}"
        if command.shown is not None:
            expected = pattern(command.shown)
            printed = same(KILLED.sub("", said))
            assert expected.fullmatch(printed), f"$ {command.text}\nwas to print\n{command.shown}\nand did\n{said}"


def test_the_picture_shows_what_a_run_prints_today() -> None:
    made = subprocess.run(
        [sys.executable, "-c", "import make_run_svg as it; print(it.plain(it.transcript()), end='')"],
        cwd=ROOT / "docs/images",
        env=clean_env({"PYTHONPATH": f"{ROOT / 'docs/images'}:{ROOT}", "PYTHONUTF8": "1"}),
        timeout=PATIENCE_S,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert made.returncode == 0, made.stderr
    described = ET.parse(ROOT / "docs/images/run.svg").getroot().find("{http://www.w3.org/2000/svg}desc")
    assert described is not None
    assert same(described.text or "") == same(made.stdout), "draw it again: python docs/images/make_run_svg.py"
