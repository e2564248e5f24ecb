"""A person's word on a run that is an archive: written in its directory, which then stands alone."""

from __future__ import annotations

import pytest

from tests.cli.support import assert_helped
from tests.conftest import Project


def archived(project: Project) -> str:
    project.file(
        "workflow.yaml",
        "name: t\nsteps:\n  - {name: a, run: ':'}\n  - {name: b, approval: sure?, run: ':'}\n",
    )
    assert project.run("-q").returncode == 4
    run_id = project.newest_run.name
    assert project.run("checkpoint", "abandon", run_id).returncode == 0
    assert project.run("checkpoint", "compress", run_id).returncode == 0
    return run_id


def entries(project: Project) -> list[str]:
    return sorted(path.name for path in (project.path / ".checkpoints").iterdir() if path.name.startswith("workflow_"))


@pytest.mark.parametrize(
    "words",
    [
        ["mark", "RUN", "a", "--pending"],
        ["approve", "RUN", "b"],
        ["checkpoint", "pin", "RUN"],
        ["checkpoint", "abandon", "RUN", "--off"],
    ],
    ids=["mark", "approve", "pin", "abandon"],
)
def test_a_word_leaves_the_directory_and_no_second_copy(project: Project, words: list[str]) -> None:
    run_id = archived(project)
    said = project.run(*(run_id if word == "RUN" else word for word in words))
    assert said.returncode == 0, said.stderr
    assert entries(project) == [run_id]


def test_what_a_kill_left_of_putting_it_back_goes_with_the_next_word(project: Project) -> None:
    """Killed when the directory was in its place: the archive still stands beside it, and so does what it grew in."""
    run_id = archived(project)
    archive = project.path / f".checkpoints/{run_id}.tar.gz"
    kept = archive.read_bytes()
    assert project.run("mark", run_id, "a", "--pending").returncode == 0
    archive.write_bytes(kept)
    (project.path / ".checkpoints/.tmp-nursery-0123456789ab").mkdir()
    said = project.run("mark", run_id, "a", "--done")
    assert said.returncode == 0, said.stderr
    assert entries(project) == [run_id]
    assert not list((project.path / ".checkpoints").glob(".tmp-nursery-*"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["mark", "RUN", "nosuch", "--done"], "there is no step nosuch"),
        (["approve", "RUN", "nosuch"], "there is no step nosuch"),
        (["approve", "RUN", "a"], "asks for no approval"),
        (["approve", "RUN"], "wants"),
        (["checkpoint", "delete", "RUN@1", "--yes"], "is an archive"),
        (["checkpoint", "prune", "RUN", "--yes"], "is an archive"),
    ],
)
def test_a_wrong_word_changes_nothing(project: Project, words: list[str], problem: str) -> None:
    run_id = archived(project)
    said = project.run(*(word.replace("RUN", run_id) for word in words))
    assert_helped(said, 2, problem)
    assert entries(project) == [f"{run_id}.tar.gz"]
