"""Where checkpoints cannot be, it is said what to do instead."""

from __future__ import annotations

import pytest

from tests.cli.support import assert_helped
from tests.conftest import Project


@pytest.mark.parametrize("place", ["notes.txt", "notes.txt/below", "/dev/null"])
def test_a_file_is_no_checkpoint_directory(project: Project, place: str) -> None:
    project.steps(1)
    project.file("notes.txt", "mine\n")
    assert_helped(project.run("run", "--checkpoint-dir", place), 125, "choose another with --checkpoint-dir")
    assert (project.path / "notes.txt").read_text(encoding="utf-8") == "mine\n"
