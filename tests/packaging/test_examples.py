"""The examples do what their README says, with the runner and, where they are scripts, without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def example(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of one example, so that the checkout stays as it is."""
    ignored = shutil.ignore_patterns("out", ".checkpoints")
    return Path(shutil.copytree(ROOT / "examples" / request.param, tmp_path / request.param, ignore=ignored))


@pytest.mark.parametrize("example", ["steps-directory"], indirect=True)
def test_the_numbered_scripts_run_by_themselves(example: Path) -> None:
    for script in sorted((example / "steps").glob("step_*.sh")):
        subprocess.run(["sh", script], cwd="/", check=True, capture_output=True)
    report = (example / "out/report.md").read_text(encoding="utf-8")
    assert "| Mumbai | 12 | 27.5 | 2428 |" in report
    assert "| Rome | 11 |" in report  # one row of Rome has a hole
    assert (example / "out/rejected.csv").read_text(encoding="utf-8") == "Rome,Italy,7,,19\n"


@pytest.mark.parametrize("example", ["one-script"], indirect=True)
def test_the_script_with_cells_runs_by_itself(example: Path) -> None:
    subprocess.run(["sh", "words.sh"], cwd=example, check=True, capture_output=True)
    report = (example / "out/report.txt").read_text(encoding="utf-8").split()
    assert report[:4] == ["most", "frequent:", "14", "what"]


@pytest.mark.parametrize("example", ["steps-directory"], indirect=True)
def test_the_numbered_scripts_hand_values_on_under_the_runner(example: Path, run_workflow) -> None:
    done = run_workflow("run", cwd=example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "143 rows kept, 1 set aside." in (example / "out/report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", ["yaml"], indirect=True)
def test_the_release_is_packed_checked_and_described(example: Path, run_workflow, newest_run, markers) -> None:
    done = run_workflow("run", cwd=example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert markers(newest_run(example)) == [0, 1, 2, 3, 4]
    notes = (example / "out/NOTES.md").read_text(encoding="utf-8")
    assert "- Greets the world when nobody is named." in notes
    assert "Greets by name" not in notes


@pytest.mark.slow
def test_the_demonstration_survives_its_own_kill(tmp_path: Path) -> None:
    program = tmp_path / "workflow"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m workflow "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "examples/demo.sh")],
        cwd=tmp_path,
        env=os.environ | {"WORKFLOW": str(program), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step_04.complete" in done.stdout
    assert [path for path in tmp_path.iterdir() if path != program] == []
