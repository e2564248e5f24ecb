"""What stands in the project already is safe from what is imported beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import assert_helped
from tests.conftest import Project

PLANTED = ["workflow.yaml", "workflow.yml", "steps/99_planted.sh", "mine/07-planted.sh"]


def from_elsewhere(tmp_path: Path, planted: str) -> str:
    """Export a run that calls something else its definition, with an output that this project would run."""
    place = tmp_path / "elsewhere"
    (place / "other").mkdir(parents=True)
    (place / planted).parent.mkdir(parents=True, exist_ok=True)
    script = f'#| outputs: ["{planted}"]\necho "echo planted" >{planted}\n'
    (place / "other/01_a.sh").write_text(script, encoding="utf-8")
    project = Project(place)
    assert project.run("-q", "other").returncode == 0
    exported = project.run("checkpoint", "export", "--with-outputs", "--out", tmp_path / "run.tar.gz")
    assert exported.returncode == 0, exported.stderr
    return str(tmp_path / "run.tar.gz")


@pytest.mark.parametrize("planted", PLANTED)
def test_no_output_becomes_a_step_of_this_project(project: Project, tmp_path: Path, planted: str) -> None:
    file = from_elsewhere(tmp_path, planted)
    project.file("mine/01_own.sh", "echo own\n")
    if not planted.startswith("workflow."):
        project.file("workflow.yaml", "steps: mine\n")
    refused = project.run("checkpoint", "import", file, "--with-outputs", "--force")
    assert_helped(refused, 3, "where none belongs")
    assert not (project.path / planted).exists()
    assert not project.runs
    assert project.run("checkpoint", "import", file).returncode == 0, "without its outputs it may come in"


def test_no_output_lands_among_the_checkpoints_that_are_usual_here(project: Project, tmp_path: Path) -> None:
    file = from_elsewhere(tmp_path, ".checkpoints/planted.txt")
    project.steps(1)
    refused = project.run("checkpoint", "import", file, "--with-outputs", "--checkpoint-dir", "kept")
    assert_helped(refused, 3, "where none belongs")
    assert not (project.path / ".checkpoints").exists()


def test_a_data_file_beside_steps_may_come_in(project: Project, tmp_path: Path) -> None:
    file = from_elsewhere(tmp_path, "mine/table.txt")
    project.file("mine/01_own.sh", "echo own\n")
    project.file("workflow.yaml", "steps: mine\n")
    assert project.run("checkpoint", "import", file, "--with-outputs").returncode == 0
    assert (project.path / "mine/table.txt").exists()


@pytest.mark.parametrize("is_archive", [False, True], ids=["directory", "archive"])
def test_nothing_takes_the_place_of_a_pinned_run(project: Project, tmp_path: Path, is_archive: bool) -> None:
    project.steps(2)
    assert project.run("-q").returncode == 0
    run_id = project.newest_run.name
    file = str(tmp_path / "run.tar.gz")
    assert project.run("checkpoint", "export", run_id, "--out", file).returncode == 0
    assert project.run("checkpoint", "pin", run_id).returncode == 0
    if is_archive:
        assert project.run("checkpoint", "compress", run_id).returncode == 0
    there = sorted(path.name for path in (project.path / ".checkpoints").iterdir())
    assert_helped(project.run("checkpoint", "import", file, "--force"), 2, "is pinned")
    assert sorted(path.name for path in (project.path / ".checkpoints").iterdir()) == there
