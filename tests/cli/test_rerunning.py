"""The same command again: `resume: auto`, and loops that get other bounds from the command line."""

from __future__ import annotations

import signal

import pytest

from tests.cli.support import assert_helped, assert_refused, tree
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
    before = tree(project)
    result = project.run("run", "--dry-run")
    assert result.returncode == 0
    told = result.stdout + result.stderr
    assert f"{project.newest_run.name} was cut off: it is carried on" in told
    assert tree(project) == before


def test_without_the_word_a_run_begins_anew(project: Project) -> None:
    project.file("workflow.yaml", AUTO.replace("auto", "manual"))
    assert project.run("run").returncode == 1
    assert project.run("run").returncode == 1
    assert len(project.runs) == 2


def test_a_newer_run_that_is_packed_counts(project: Project) -> None:
    project.file("workflow.yaml", AUTO.replace("resume: auto", "resume: auto, compress: true"))
    assert project.run("run").returncode == 1
    project.file("fixed", "")
    assert project.run("run", "--force").returncode == 0
    assert len(project.runs) == 1  # the other one is an archive
    result = project.run("run")
    assert result.returncode == 0, result.stderr
    assert "cut off" not in result.stdout + result.stderr
    assert project.executions == ["first"] + ["first", "second"] * 2


def test_a_newer_packed_run_of_another_workflow_is_none_of_this_one(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    project.file("fixed", "")
    project.file("other.yaml", AUTO.replace("resume: auto", "compress: true"))
    assert project.run("run", "other.yaml").returncode == 0
    assert project.run("run").returncode == 0
    assert project.executions == ["first", "first", "second", "second"]


def test_a_run_that_was_cut_off_and_packed_by_hand_is_named(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    run = project.newest_run.name
    assert project.run("checkpoint", "compress", run).returncode == 0
    result = project.run("run")
    assert f"{run} was cut off, and is not carried on: it is packed" in result.stderr
    assert f"workflow resume {run}" in result.stderr
    assert project.executions == ["first", "first"]


@pytest.mark.parametrize("asked", [("--until", "first"), ("--only", "first"), ("--from-step", "first", "--until", "0")])
def test_a_run_that_did_what_was_asked_is_not_cut_off(project: Project, asked: tuple[str, ...]) -> None:
    project.file("workflow.yaml", AUTO)
    for _ in range(2):
        result = project.run("run", *asked)
        assert result.returncode == 0, result.stderr
        assert "cut off" not in result.stdout + result.stderr
    assert project.executions == ["first", "first"]
    assert len(project.runs) == 2


def test_a_run_that_did_not_do_what_was_asked_is_carried_on(project: Project) -> None:
    project.file("workflow.yaml", AUTO + "- {name: third, run: echo third >>ran.txt}\n")
    assert project.run("run", "--until", "second").returncode == 1
    project.file("fixed", "")
    result = project.run("run", "--until", "second")
    assert "is carried on" in result.stdout + result.stderr
    assert project.executions == ["first", "second"]
    assert len(project.runs) == 1


def test_a_failure_outside_of_what_was_asked_last_is_still_one(project: Project) -> None:
    project.file("workflow.yaml", AUTO)
    assert project.run("run").returncode == 1
    assert project.run("resume", "--only", "first").returncode == 0
    project.file("fixed", "")
    assert project.run("run").returncode == 0
    assert project.executions == ["first", "first", "second"]


def test_a_run_that_ended_at_its_limit_is_carried_on(project: Project) -> None:
    flow = "limits: {cost: 1}\ncheckpoints: {resume: auto}\nsteps:\n"
    flow += "- run: echo first >>ran.txt; echo cost_incurred=1 >>$WORKFLOW_OUTPUT\n- run: echo second >>ran.txt\n"
    project.file("workflow.yaml", flow)
    assert project.run("run").returncode == 4
    project.file("workflow.yaml", flow.replace("cost: 1", "cost: 5"))
    assert project.run("run").returncode == 0
    assert project.executions == ["first", "second"]


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


def test_a_bound_of_an_earlier_command_is_forgotten_with_the_last_repeat(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    assert project.run("run", "--max-iterations", "2").returncode == 1
    project.file("workflow.yaml", "steps:\n- {name: loop, run: echo once >>ran.txt}\n")
    result = project.run("resume")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["x", "x", "once"]


def test_a_bound_of_an_earlier_command_that_rules_is_told(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    first = project.run("run", "--max-iterations", "2")
    assert first.returncode == 1
    assert "earlier command" not in first.stderr
    project.file("workflow.yaml", LOOP.replace("max_iterations: 2", "max_iterations: 5"))
    result = project.run("resume")
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert "at most 2 iterations, as an earlier command said, and not as many as the definition: 00 loop (5)" in told
    assert "--max-iterations N" in told
    assert "after 2 iterations, which is its limit (for more: --max-iterations N)" in told
    result = project.run("resume", "--max-iterations", "5")
    assert project.executions == ["x"] * 5
    assert "earlier command" not in result.stdout + result.stderr
    assert "earlier command" not in project.run("resume").stderr


def test_a_bound_on_iterations_where_nothing_is_repeated_is_refused(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("run", "--max-iterations", "5"), 2, "--max-iterations", "repeat")
    assert not project.runs


@pytest.mark.parametrize("said", ["0", "-1", "x"])
def test_a_bound_that_is_none_is_refused(project: Project, said: str) -> None:
    project.file("workflow.yaml", LOOP)
    assert_helped(project.run("run", "--max-iterations", said), 2, "--max-iterations")
