"""The same command again: `resume: auto`, and loops that get other bounds from the command line."""

from __future__ import annotations

import signal

import pytest

from tests.cli.support import assert_helped, assert_refused
from tests.conftest import Project

AUTO = """\
checkpoints: {resume: auto}
steps:
- {name: first, run: echo first >>ran.txt}
- {name: second, run: '[ -e fixed ] && echo second >>ran.txt'}
"""
LOOP = """\
steps:
- name: loop
  run: echo x >>ran.txt
  repeat: {until: '[ -e enough ]', max_iterations: 2}
"""


def test_the_same_command_carries_on_what_was_cut_off(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    project.file("fixed", "")
    result = project.run("run")
    assert result.returncode == 0, result.stderr
    assert "is carried on (resume: auto)" in result.stdout + result.stderr
    assert project.executions == ["first", "second"]
    assert len(project.runs) == 1


def test_the_same_command_after_a_kill_carries_on(project: Project) -> None:
    project.file("workflow.yaml", AUTO.replace("[ -e fixed ] &&", "touch started; [ -e fixed ] || sleep 60;"))
    process = project.start("run")
    while not (project.path / "started").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    project.file("fixed", "")
    assert project.run("run", "--end-running").returncode == 0
    assert project.executions == ["first", "second"]


def test_a_run_that_is_over_is_followed_by_a_new_one(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    project.file("fixed", "")
    assert project.run("run").returncode == 0
    assert project.run("run").returncode == 0
    assert project.executions == ["first", "second"] * 2


def test_another_plan_begins_anew_and_says_what_changed(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    old = project.newest_run.name
    project.file("workflow.yaml", AUTO.replace("[ -e fixed ] &&", ""))
    result = project.run("run")
    assert result.returncode == 0
    assert "its plan has changed (01 second)" in result.stderr
    assert f"workflow resume {old}" in result.stderr
    assert project.executions == ["first", "first", "second"]


def test_bounds_are_no_change_of_the_plan(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    project.file("fixed", "")
    project.file("workflow.yaml", AUTO.replace("steps:", "limits: {cost: 9, time: 1h}\nsteps:"))
    assert project.run("run").returncode == 0
    assert len(project.runs) == 1


def test_force_begins_anew(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    project.file("fixed", "")
    assert project.run("run", "--force").returncode == 0
    assert len(project.runs) == 2


def test_an_abandoned_run_is_not_carried_on(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    assert project.run("checkpoint", "abandon", project.newest_run.name).returncode == 0
    project.file("fixed", "")
    assert project.run("run").returncode == 0
    assert len(project.runs) == 2


def test_another_workflow_in_the_same_place_is_left_alone(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    project.file("fixed", "")
    project.file("other.yaml", AUTO)
    assert project.run("run", "other.yaml").returncode == 0
    assert len(project.runs) == 2
    assert project.run("run").returncode == 0
    assert len(project.runs) == 2


def test_a_damaged_run_is_told_and_a_new_one_begun(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    (project.newest_run / "workflow.json").write_text("{")
    project.file("fixed", "")
    result = project.run("run")
    assert result.returncode == 0
    assert "is not carried on" in result.stderr
    assert len(project.runs) == 2


def test_a_run_that_is_going_is_not_begun_beside(project: Project) -> None:
    project.file("workflow.yaml", "checkpoints: {resume: auto}\nsteps:\n- run: 'touch started; sleep 30'\n")
    process = project.start("run")
    try:
        while not (project.path / "started").exists():
            assert process.poll() is None
        assert project.run("run").returncode == 75
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    assert len(project.runs) == 1


def test_a_dry_run_tells_what_would_be_carried_on_and_writes_nothing(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    result = project.run("run", "--dry-run")
    assert result.returncode == 0
    assert project.newest_run.name in result.stdout + result.stderr


def test_without_the_word_a_run_begins_anew(project: Project) -> None:
    project.file("workflow.yaml", AUTO.replace("auto", "manual"))
    assert project.run("run").returncode == 1
    assert project.run("run").returncode == 1
    assert len(project.runs) == 2


def test_another_value_of_resume_is_refused(project: Project) -> None:
    project.file("workflow.yaml", AUTO.replace("auto", "always"))
    assert_refused(project.run("run"), 2, "workflow.yaml:1", "auto")


# ---------------------------------------------------------------- --max-iterations


def test_iterations_are_bounded_from_the_command_line(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    assert project.run("run", "--max-iterations", "5").returncode == 1
    assert project.executions == ["x"] * 5
    # The run remembers it, and a higher bound goes on from there.
    assert project.run("resume").returncode == 1
    assert project.executions == ["x"] * 5
    assert project.run("resume", "--max-iterations", "7").returncode == 1
    assert project.executions == ["x"] * 7
    project.file("enough", "")
    assert project.run("resume").returncode == 0
    assert project.executions == ["x"] * 7


def test_a_lower_bound_than_what_was_done_ends_the_loop(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n- {name: loop, run: echo x >>ran.txt, repeat: {max_iterations: 3}}\n")
    assert project.run("run", "--max-iterations", "1").returncode == 0
    assert project.executions == ["x"]


def test_a_bound_on_iterations_where_nothing_is_repeated_is_refused(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("run", "--max-iterations", "5"), 2, "--max-iterations", "repeat")
    assert not project.runs


@pytest.mark.parametrize("said", ["0", "-1", "x"])
def test_a_bound_that_is_none_is_refused(project: Project, said: str) -> None:
    project.file("workflow.yaml", LOOP)
    assert_helped(project.run("run", "--max-iterations", said), 2, "--max-iterations")
