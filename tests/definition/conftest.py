"""A project in a temporary directory, and short ways to put a definition there and to read what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from workflow.definition.loader import load
from workflow.errors import DefinitionError, Problem
from workflow.model import Workflow


class Project:
    """A directory with a definition."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def script(
        self, name: str | bytes, text: str | bytes = "echo hello\n", mode: int = 0o755, folder: str = "steps"
    ) -> Path:
        directory = self.path / folder
        directory.mkdir(exist_ok=True)
        path = directory / os.fsdecode(name)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def file(self, text: str | bytes, name: str = "workflow.yaml") -> Path:
        path = self.path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self, source: str | None = None, **params: str) -> Workflow:
        return load(str(self.path), source, params=params)

    def problems(self, source: str | None = None) -> list[Problem]:
        with pytest.raises(DefinitionError) as caught:
            self.load(source)
        assert caught.value.exit_code == 2
        rendered = caught.value.render()
        assert all(problem.message for problem in caught.value.problems)
        rendered.encode("utf-8")  # whatever the names: it can be printed
        return list(caught.value.problems)

    def problem(self, source: str | None = None) -> Problem:
        problems = self.problems(source)
        assert len(problems) == 1, [problem.message for problem in problems]
        return problems[0]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    directory = tmp_path / "project"
    directory.mkdir()
    return Project(directory)


@pytest.fixture
def yaml_problem(project: Project) -> Callable[[str], Problem]:
    def one(text: str) -> Problem:
        project.file(text)
        return project.problem()

    return one


@pytest.fixture
def yaml_problems(project: Project) -> Callable[[str], list[Problem]]:
    def several(text: str) -> list[Problem]:
        project.file(text)
        return project.problems()

    return several
