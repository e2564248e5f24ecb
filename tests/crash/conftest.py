"""Projects that several of the crash tests begin with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Project


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A complete run of four steps; the last but one reads a value that the second published."""
    path = tmp_path_factory.mktemp("complete") / "project"
    path.mkdir()
    project = Project(path)
    project.step(0)
    project.step(1, 'echo 01 >>ran.txt; echo COLOUR=blue >>"$WORKFLOW_OUTPUT"')
    project.step(2, 'echo "02-$COLOUR" >>ran.txt')
    project.step(3)
    assert project.run().returncode == 0
    return project


@pytest.fixture
def damaged(complete: Project, tmp_path: Path) -> Project:
    """A copy of it, for damage; it carries on where it lies."""
    shutil.copytree(complete.path, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
