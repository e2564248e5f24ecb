"""`graph`: the picture of the steps."""

from __future__ import annotations

import pytest

from tests.cli.support import assert_helped, document, tree
from tests.conftest import Project

DEFINITION = """\
name: demo
steps:
  - {name: setup, run: "true"}
  - parallel:
      - {name: lint, run: "exit 3"}
      - {name: unit, run: "true"}
  - {name: deploy, run: "true"}
"""


@pytest.fixture
def drawn(project: Project) -> Project:
    project.file("workflow.yaml", DEFINITION)
    return project


def test_text_is_a_tree(drawn: Project) -> None:
    lines = drawn.run("graph", env={"PYTHONIOENCODING": "utf-8"}).stdout.splitlines()
    assert lines[0] == "demo: 4 steps (1 group)"
    assert lines[1] == "● 00 setup"
    assert lines[3:6] == ["│ ├─ 01 lint", "│ └─ 02 unit", "├─┘"]
    plain = drawn.run("graph", env={"PYTHONIOENCODING": "ascii"}).stdout
    assert plain.isascii()
    assert "| |- 01 lint" in plain


def test_json_holds_steps_and_edges(drawn: Project) -> None:
    answer = document(drawn.run("graph", "--json"))
    assert answer == document(drawn.run("graph", "--format", "json"))
    assert answer["edges"] == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert [step["waits_for"] for step in answer["steps"]] == [[], [0], [0], [1, 2]]
    assert "status" not in answer["steps"][0]


@pytest.mark.parametrize(("form", "first"), [("mermaid", "flowchart TD"), ("dot", 'digraph "demo" {')])
def test_drawing_programs_get_their_languages(drawn: Project, form: str, first: str) -> None:
    assert drawn.run("graph", "--format", form).stdout.splitlines()[0] == first


def test_a_run_has_a_picture_with_where_its_steps_stand(drawn: Project) -> None:
    assert drawn.run("-q").returncode == 1
    run_id = drawn.newest_run.name
    before = tree(drawn)
    statuses = [step["status"] for step in document(drawn.run("graph", "--run", run_id, "--json"))["steps"]]
    assert statuses[1] == "failed"
    assert statuses[3] == "blocked"
    assert "blocked" in drawn.run("graph", "--run", run_id).stdout
    assert "blocked" not in drawn.run("graph").stdout
    assert tree(drawn) == before


def test_contradictions_are_refused(drawn: Project) -> None:
    assert_helped(drawn.run("graph", "workflow.yaml", "--run", "x"), 2)
    assert_helped(drawn.run("graph", "--json", "--format", "dot"), 2)
    assert_helped(drawn.run("graph", "--run", "workflow_20000101_000000"), 3)
