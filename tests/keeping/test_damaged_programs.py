"""`steps.sh`, `resume.sh` and the library of a run, damaged: noticed, never run, made again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.cli.support import assert_helped, document
from tests.conftest import Project, clean_env, markers_of
from workflow.checkpoint.layout import LIBRARY

PROGRAMS = ("steps.sh", "resume.sh", *(f"lib/{name}" for name in LIBRARY))
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda _: None,
    "empty": lambda _: b"",
    "half": lambda data: data[: len(data) // 2],
    "one line short": lambda data: data[: data.rfind(b"\n", 0, -1) + 1],
    "another word": lambda data: data.replace(b"workflow_", b"workfl0w_", 1),
}


def damaged(project: Project, name: str, damage: str) -> None:
    """Leave a run that failed in its last step and would not now, with one program damaged."""
    project.step(0)
    project.step(1, "[ -e mended ] || exit 1; echo 01 >>ran.txt")
    assert project.run("-q").returncode == 1
    project.file("mended", "")
    path = project.newest_run / name
    data = DAMAGES[damage](path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["steps.sh", f"lib/{LIBRARY[0]}", f"lib/{LIBRARY[-1]}"])
def test_a_shell_runs_nothing_of_it_and_repair_makes_it_again(project: Project, name: str, damage: str) -> None:
    damaged(project, name, damage)
    run = project.newest_run
    command = ["sh", f"{run}/resume.sh"]
    refused = subprocess.run(command, cwd=project.path, env=clean_env(), capture_output=True, text=True, check=False)
    assert_helped(refused, 3, name, f"workflow checkpoint repair {run.name}")
    assert project.executions == ["00"]
    assert project.run("checkpoint", "repair", run.name).returncode == 0
    assert subprocess.run(command, cwd=project.path, env=clean_env(), capture_output=True, check=False).returncode == 0
    assert project.executions == ["00", "01"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_validate_names_it_and_a_resume_makes_it_again(project: Project, name: str, damage: str) -> None:
    damaged(project, name, damage)
    answer = project.run("checkpoint", "validate", "--json")
    assert answer.returncode == 3
    found = [it["path"] for check in document(answer, 3)["checks"] for it in check["findings"]]
    assert found == [name]
    assert project.run("resume", "-q").returncode == 0
    assert markers_of(project.newest_run) == [0, 1]
    assert project.executions == ["00", "01"]
    assert project.run("checkpoint", "validate").returncode == 0
