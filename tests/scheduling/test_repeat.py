"""`repeat`: one durable marker for each iteration, and a resume that goes on after the last of them."""

from __future__ import annotations

import os

from tests.cli.support import end_orphans, wait_for
from tests.conftest import Project
from tests.scheduling.support import attempts_of, begin, ended, flow, kill_runner, ok, state_of, states


def iterations(project: Project, number: int = 0) -> list[int]:
    """Return the iterations that have a marker."""
    begin_, end = f"step_{number:02d}.iteration_", ".complete"
    names = os.listdir(project.newest_run / "state")
    return sorted(int(it[len(begin_) : -len(end)]) for it in names if it.startswith(begin_) and it.endswith(end))


def test_each_iteration_leaves_a_marker_and_the_step_has_one_at_the_end(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: loop
  # What stands in state/ when an iteration runs: the markers of those before it, and none of its own.
  run: |
    cd $WORKFLOW_RUN_DIR
    echo $WORKFLOW_ITERATION:$(ls state | grep -c iteration):$(ls | grep -c complete) >>$WORKFLOW_PROJECT/ran.txt
  repeat: {max_iterations: 3}
- {name: after, run: 'echo after >>ran.txt'}
""",
    )
    ok(project.run("run", "-q"))
    assert project.executions == ["1:0:0", "2:1:0", "3:2:0", "after"]
    assert iterations(project) == [1, 2, 3]
    assert project.markers == [0, 1]
    assert [it["exit_code"] for it in attempts_of(project, 0)] == [0, 0, 0]


def test_until_ends_it(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: loop
  run: echo $WORKFLOW_ITERATION >>ran.txt
  repeat: {until: '[ $(wc -l <ran.txt) -ge 2 ]', max_iterations: 9}
""",
    )
    ok(project.run("run", "-q"))
    assert project.executions == ["1", "2"]


def test_until_sees_what_the_iteration_published_and_later_steps_the_last_of_it(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: loop
  run: echo ROUND=$WORKFLOW_ITERATION >>$WORKFLOW_OUTPUT
  repeat: {until: '[ $ROUND = 3 ]', max_iterations: 9}
- {name: after, run: 'echo $ROUND >>ran.txt'}
""",
    )
    ok(project.run("run", "-q"))
    assert project.executions == ["3"]


def test_an_until_that_fails_fails_the_step_and_is_asked_again_by_the_resume(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: loop
  run: echo $WORKFLOW_ITERATION >>ran.txt
  repeat: {until: '[ -e fine ] || exit 3', max_iterations: 9}
""",
    )
    ended(project.run("run", "-q"), 1)
    assert state_of(project, 0)["failure"]["class"] == "condition"
    assert project.markers == []
    project.file("fine", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["1"]


def test_a_bound_that_is_reached_before_the_end_is_a_failure(project: Project) -> None:
    flow(
        project,
        "steps:\n- {name: loop, run: 'echo x >>ran.txt', repeat: {until: 'test -e enough', max_iterations: 3}}\n",
    )
    ended(project.run("run", "-q"), 1)
    assert project.executions == ["x"] * 3
    assert state_of(project, 0)["failure"]["class"] == "repeat"
    assert project.markers == []
    project.file("enough", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["x"] * 3


FIVE = """\
steps:
- name: loop
  run: |
    echo $WORKFLOW_ITERATION >>ran.txt
    [ $WORKFLOW_ITERATION != 3 ] || [ -e go ] || { touch here; until [ -e go ]; do sleep 0.02; done; }
    echo ended-$WORKFLOW_ITERATION >>ran.txt
  repeat: {max_iterations: 5}
"""


def test_after_a_kill_of_runner_and_step_the_iteration_in_hand_is_begun_anew(project: Project) -> None:
    flow(project, FIVE)
    process = begin(project, "here", "run")
    kill_runner(process)
    end_orphans(project)
    assert iterations(project) == [1, 2]
    project.file("go", "")
    ok(project.run("resume", "-q"))
    assert [it for it in project.executions if "-" not in it] == ["1", "2", "3", "3", "4", "5"]
    assert iterations(project) == [1, 2, 3, 4, 5]


def test_an_iteration_that_outlived_its_runner_is_taken_over(project: Project) -> None:
    flow(project, FIVE)
    process = begin(project, "here", "run")
    kill_runner(process)
    project.file("go", "")
    wait_for(lambda: "ended-3" in project.executions)
    ok(project.run("resume", "-q"))
    assert project.executions == [it for n in range(1, 6) for it in (f"{n}", f"ended-{n}")]


def test_an_iteration_that_fails_is_the_one_that_runs_again(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: loop
  run: echo $WORKFLOW_ITERATION >>ran.txt; [ $WORKFLOW_ITERATION != 2 ] || test -e good
  repeat: {max_iterations: 3}
""",
    )
    ended(project.run("run", "-q"), 1)
    assert iterations(project) == [1]
    project.file("good", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["1", "2", "2", "3"]


def test_one_iteration_is_retried_and_the_loop_goes_on(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: loop
  run: echo $WORKFLOW_ITERATION >>ran.txt; [ $WORKFLOW_ITERATION != 2 ] || [ $(grep -c 2 ran.txt) -gt 1 ]
  retries: 1
  repeat: {max_iterations: 3}
""",
    )
    ok(project.run("run", "-q"))
    assert project.executions == ["1", "2", "2", "3"]


def test_a_loop_that_is_made_to_run_again_begins_at_the_first(project: Project) -> None:
    flow(project, "steps:\n- {name: loop, run: 'echo $WORKFLOW_ITERATION >>ran.txt', repeat: {max_iterations: 2}}\n")
    ok(project.run("run", "-q"))
    ok(project.run("resume", project.newest_run.name, "-q", "--from-step", "0"))
    assert project.executions == ["1", "2", "1", "2"]


def test_a_loop_in_a_group_is_stopped_between_two_iterations_too(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: loop, run: 'echo x >>ran.txt; sleep 0.01', repeat: {until: 'false', max_iterations: 100000}}
  - {name: bad, run: 'until [ -e $WORKFLOW_RUN_DIR/state/step_00.iteration_05.complete ]; do sleep 0.02; done; exit 3'}
""",
    )
    ended(project.run("run", "-q", "-j", "2"), 1)
    assert states(project)["loop"] != "failed"
    done = iterations(project)
    assert done == list(range(1, len(done) + 1))
    assert 0 <= len(project.executions) - len(done) <= 1
    assert project.markers == []
