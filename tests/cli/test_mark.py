"""`mark`: a person's word that a step is done or must run again, recorded as theirs."""

from __future__ import annotations

import json

from tests.cli.support import assert_helped, document, hanging_step, start_until, tree
from tests.conftest import Project


def failed(project: Project) -> str:
    project.step(0)
    project.step(1, "echo 01 >>ran.txt\nexit 1", name="load")
    project.step(2)
    project.run("-q")
    return project.newest_run.name


def test_a_step_marked_done_does_not_run_and_is_recorded_as_a_persons(project: Project) -> None:
    run_id = failed(project)
    result = project.run("mark", run_id, "load", "--done", env={"USER": "ada"})
    assert result.returncode == 0
    assert "ada" in result.stdout
    assert project.markers == [0, 1]
    state = json.loads((project.newest_run / "state/step_01_state.json").read_text())
    assert "ada" in json.dumps(state)
    steps = document(project.run("status", "--json"))["steps"]
    assert steps[1]["completed_by"] == "person:ada"
    resumed = project.run("--resume")
    assert resumed.returncode == 0
    assert "ada" in resumed.stderr  # the run says whose word it goes by
    assert project.executions == ["00", "01", "02"]


def test_a_step_marked_pending_runs_again(project: Project) -> None:
    project.steps(2)
    project.run("-q")
    run_id = project.newest_run.name
    result = project.run("mark", run_id, "0", "--pending", env={"USER": "ada"})
    assert result.returncode == 0
    assert project.markers == [1]
    plan = document(project.run("plan", "--resume", "--json"))
    assert plan["steps"][0]["choice"] == "run"
    assert "ada" in plan["steps"][0]["reasons"][0]["detail"]
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["00", "01", "00"]


def test_mark_is_refused_while_a_runner_is_alive(project: Project) -> None:
    """RELIABILITY 22: exit 75, and the markers stay."""
    hanging_step(project, 0)
    process = start_until(project, "here_00", "run")
    assert_helped(project.run("mark", project.newest_run.name, "0", "--done"), 75, str(process.pid))
    assert project.markers == []
    project.file("go", "")
    assert process.wait(20) == 0


def test_mark_of_a_step_that_is_none_changes_nothing(project: Project) -> None:
    run_id = failed(project)
    before = tree(project)
    assert_helped(project.run("mark", run_id, "laod", "--done"), 2, "laod", "did you mean load?")
    assert_helped(project.run("mark", run_id, "9", "--pending"), 2, "9")
    assert tree(project) == before
