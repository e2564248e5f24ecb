"""The checks of the project's own workflow catch what they are there for."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from steps.checks import dependencies, documentation, layout
from tests.conformance import check_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def group() -> click.Group:
    """A small command line: `run --jobs`, `checkpoint show --json`."""
    run = click.Command("run", params=[click.Option(["-j", "--jobs"]), click.Option(["--smart/--no-smart"])])
    show = click.Command("show", params=[click.Option(["--json"], is_flag=True)])
    return click.Group(
        "workflow", commands={"run": run, "checkpoint": click.Group("checkpoint", commands={"show": show})}
    )


def page(directory: Path, text: str) -> Path:
    path = directory / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "see `workflow rnu`",
        "```sh\nworkflow run --job 2\n```",
        "```sh\ncd x && workflow checkpoint shwo\n```",
        "```console\n$ workflow checkpoint show --jsn\n```",
        "```sh\n.venv/bin/workflow checkpoint show --jobs 2\n```",
    ],
)
def test_a_command_or_option_that_is_not_there_is_found(tmp_path: Path, group: click.Group, text: str) -> None:
    assert len(list(documentation.unknown_words(page(tmp_path, text), group))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`workflow`, `workflow run --jobs=2`, `workflow --no-smart`, `workflow.yaml`, `.checkpoints/workflow_*`",
        "```sh\nworkflow run folder --jobs 2 | tee --append log\nworkflow checkpoint show --json # see --there\n```",
        "```text\nworkflow needs a word that is no command\n```",
        "a sentence where workflow does this --and that",
    ],
)
def test_right_words_and_prose_are_left_alone(tmp_path: Path, group: click.Group, text: str) -> None:
    assert list(documentation.unknown_words(page(tmp_path, text), group)) == []


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    path = page(
        tmp_path, "# A Head: `x` & y\n[a](gone.md) [b](#a-head-x--y) [c](#gone) [d](page.md#nope) `[e](code.md)`\n"
    )
    assert [problem.split("link to ")[1].split(",")[0] for problem in documentation.broken_links(path)] == [
        "gone.md",
        "#gone",
        "page.md#nope",
    ]


def test_an_undeclared_import_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "imported", lambda: {"pytest": "workflow/x.py:1"})
    assert any("pytest is imported but" in problem for problem in dependencies.problems(dependencies.declared()))


def test_a_version_out_of_range_and_a_missing_reason_are_found() -> None:
    known = dependencies.declared()
    del known["rich"]
    known["click"] = dependencies.Requirement("click>=999")
    found = dependencies.problems(known)
    assert any("click" in problem and ">=999 is declared" in problem for problem in found)
    assert any("explains rich, which is not declared" in problem for problem in found)


def test_a_file_that_is_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MOST_LINES", 5)
    assert any("tests/conftest.py has" in problem for problem in layout.problems())


def test_a_table_that_names_a_missing_test_is_found() -> None:
    here = "tests/packaging/test_project_checks.py::test_a_table_that_names_a_missing_test_is_found"
    text = f"| A1 | x | y | `{here}` |\n| A2 | x | y | `{here}_not` |\n| A2 | x | y | none yet |\n"
    found = check_table.problems(check_table.rows(text), {"S1": ["tests/conformance/test_x.py::test_s1"]})
    assert len(found) == 3, found
    assert "test_a_table_that_names_a_missing_test_is_found_not, which does not exist" in found[0]
    assert "twice" in found[1]
    assert "has no row" in found[2]


def test_the_table_is_filled_from_names() -> None:
    text = "| A1 | x | y | `tests/gone.py::test_gone` |\n"
    here = "tests/packaging/test_project_checks.py::test_the_table_is_filled_from_names"
    assert check_table.updated(text, {"A1": [here]}) == f"| A1 | x | y | `{here}` |\n"


def test_there_are_thirteen_steps_that_run_by_themselves() -> None:
    steps = sorted((ROOT / "steps").glob("step_*.sh"))
    assert [int(path.name[5:7]) for path in steps] == list(range(13))
    for path in steps:
        assert os.access(path, os.X_OK), path.name
        assert re.match(r"#!/bin/sh\n", path.read_text(encoding="utf-8")), path.name


def test_a_step_does_not_care_where_it_is_called_from(tmp_path: Path) -> None:
    build = tmp_path / "build"
    output = tmp_path / "output"
    done = subprocess.run(
        ["sh", str(ROOT / "steps/step_07_dependency_audit.sh")],
        cwd=tmp_path,
        env=os.environ | {"BUILD_DIR": str(build), "WORKFLOW_OUTPUT": str(output), "CDPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert output.read_text(encoding="utf-8") == (build / "values/DEPENDENCIES").read_text().join(["DEPENDENCIES=", ""])
