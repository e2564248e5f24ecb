"""`if` and `continue_on_error`: what runs, what is skipped, and that a resume takes the same way."""

from __future__ import annotations

import pytest

from tests.cli.support import wait_for
from tests.conftest import Project
from tests.scheduling.support import attempts_of, begin, ended, flow, kill_runner, ok, run_status, state_of, states


@pytest.mark.parametrize(
    ("test", "status", "code"),
    [("true", "completed", 0), ("false", "skipped", 0), ("exit 2", "failed", 1), ("no_such_command", "failed", 1)],
)
def test_nought_runs_one_skips_and_anything_else_fails_it(project: Project, test: str, status: str, code: int) -> None:
    flow(
        project,
        f"steps:\n- {{name: a, if: '{test}', run: 'echo a >>ran.txt'}}\n- {{name: b, run: 'echo b >>ran.txt'}}\n",
    )
    ended(project.run("run", "-q"), code)
    assert states(project)["a"] == status
    assert project.executions == [name for name in "ab" if code == 0 and (name == "b" or status == "completed")]
    assert project.markers == {"completed": [0, 1], "skipped": [1], "failed": []}[status]
    if code == 0:
        assert run_status(project) == "completed"


def test_a_condition_that_failed_is_asked_again_by_the_resume(project: Project) -> None:
    flow(project, "steps:\n- {name: a, if: 'test -e here || exit 7', retries: 3, run: 'echo a >>ran.txt'}\n")
    ended(project.run("run", "-q"), 1)
    assert state_of(project, 0)["failure"]["class"] == "condition"
    assert attempts_of(project, 0) == []
    project.file("here", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["a"]


ROUTING = """\
steps:
- {name: source, run: 'echo ROUTE=$(cat route) >>$WORKFLOW_OUTPUT'}
- name: ways
  parallel:
  - {name: left, if: '[ $ROUTE = left ]', run: 'echo left >>ran.txt'}
  - {name: right, if: '[ $ROUTE = right ]', run: 'echo right >>ran.txt'}
- {name: hang, run: 'touch here; until [ -e go ]; do sleep 0.02; done'}
- {name: late, if: '[ $ROUTE = left ]', run: 'echo late >>ran.txt'}
- {name: later, if: '[ $ROUTE = right ]', run: 'echo later >>ran.txt'}
- {name: join, run: 'echo join >>ran.txt'}
"""


def test_the_way_that_was_taken_is_taken_after_a_kill(project: Project) -> None:
    """What the source would say now has no say: it completed, and what it published is recorded."""
    project.file("route", "left")
    flow(project, ROUTING)
    process = begin(project, "here", "run", "-j", "2")
    kill_runner(process)
    project.file("route", "right")
    project.file("go", "")
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions == ["left", "late", "join"]
    assert states(project)["right"] == states(project)["later"] == "skipped"
    assert run_status(project) == "completed"


def test_when_the_source_is_made_to_run_again_the_new_way_is_taken(project: Project) -> None:
    """`--from-step` runs everything again from there: a skip that hangs on it is asked again, too."""
    project.file("route", "left")
    project.file("go", "")
    flow(project, ROUTING)
    ok(project.run("run", "-q", "-j", "2"))
    run_id = project.newest_run.name
    project.file("route", "right")
    ok(project.run("resume", run_id, "-q", "-j", "2", "--from-step", "source"))
    assert project.executions == ["left", "late", "join", "right", "later", "join"]


def test_what_is_skipped_after_it_was_complete_is_complete_no_longer(project: Project) -> None:
    """One truth: its marker goes, or the next look would find it complete and its state damaged."""
    project.file("route", "left")
    project.file("go", "")
    flow(project, ROUTING)
    ok(project.run("run", "-q", "-j", "2"))
    run_id = project.newest_run.name
    project.file("route", "right")
    ok(project.run("resume", run_id, "-q", "-j", "2", "--from-step", "source"))
    assert states(project)["left"] == "skipped"
    assert 1 not in project.markers


def test_a_step_for_failures_that_is_no_longer_needed_is_skipped(project: Project) -> None:
    flow(
        project,
        """\
steps:
- {name: a, run: 'test -e mended'}
- {name: mend, if: failure, run: 'echo mend >>ran.txt; touch mended'}
""",
    )
    ended(project.run("run", "-q"), 1)
    assert states(project) == {"a": "failed", "mend": "completed"}
    ok(project.run("resume", "-q"))
    assert project.executions == ["mend"]
    assert states(project) == {"a": "completed", "mend": "skipped"}


ENDS = """\
steps:
- {name: a, run: 'echo a >>ran.txt; test -e good'}
- {name: b, run: 'echo b >>ran.txt'}
- {name: tidy, if: always, run: 'echo tidy >>ran.txt'}
- {name: alarm, if: failure, run: 'echo alarm >>ran.txt'}
"""


def test_the_end_runs_whatever_happened_and_again_with_what_it_comes_after(project: Project) -> None:
    flow(project, ENDS)
    ended(project.run("run", "-q"), 1)
    assert project.executions == ["a", "tidy", "alarm"]
    assert states(project) == {"a": "failed", "b": "blocked", "tidy": "completed", "alarm": "completed"}
    ended(project.run("resume", "-q"), 1)
    assert project.executions == ["a", "tidy", "alarm"] * 2
    project.file("good", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["a", "tidy", "alarm"] * 2 + ["a", "b", "tidy"]
    assert len(attempts_of(project, 2)) == 3


def test_a_failed_end_fails_the_run_and_runs_again(project: Project) -> None:
    flow(
        project,
        "steps:\n- {name: a, run: 'echo a >>ran.txt'}\n- {name: z, if: always, run: 'echo z >>ran.txt; exit 3'}\n",
    )
    ended(project.run("run", "-q"), 1)
    ended(project.run("resume", "-q"), 1)
    assert project.executions == ["a", "z", "z"]


def test_after_a_good_end_the_alarm_is_skipped(project: Project) -> None:
    project.file("good", "")
    flow(project, ENDS)
    ok(project.run("run", "-q"))
    assert project.executions == ["a", "b", "tidy"]
    assert states(project)["alarm"] == "skipped"
    assert run_status(project) == "completed"


def test_the_end_with_needs_comes_after_those_alone(project: Project) -> None:
    flow(
        project,
        """\
steps:
- {name: a, needs: [], run: 'exit 3'}
- {name: b, needs: [], run: 'true'}
- {name: after_a, needs: [a], if: failure, run: 'echo after_a >>ran.txt'}
- {name: after_b, needs: [b], if: failure, run: 'echo after_b >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", "-k"), 1)
    assert project.executions == ["after_a"]
    assert states(project)["after_b"] == "skipped"


def test_the_end_runs_once_the_interrupted_have_ended(project: Project) -> None:
    """It is told of a failure only when nothing of the group runs any more."""
    flow(
        project,
        """\
steps:
- parallel:
  - name: slow
    run: |
      trap "sleep 0.4; echo slow_ended >>ran.txt; exit 1" INT
      touch here
      while :; do sleep 0.05; done
  - {name: bad, run: 'until [ -e here ]; do sleep 0.02; done; exit 3'}
- {name: tidy, if: always, run: 'echo tidy >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", "-j", "2"), 1)
    assert project.executions == ["slow_ended", "tidy"]


TOLERANT = """\
steps:
- {name: a, continue_on_error: true, run: 'echo a >>ran.txt; test -e good'}
- {name: b, run: 'echo b >>ran.txt'}
- {name: alarm, if: failure, run: 'echo alarm >>ran.txt'}
"""


def test_a_tolerated_failure_stops_nothing_and_the_run_is_complete(project: Project) -> None:
    flow(project, TOLERANT)
    ok(project.run("run", "-q"))
    assert project.executions == ["a", "b"]
    assert states(project) == {"a": "failed", "b": "completed", "alarm": "skipped"}
    assert run_status(project) == "completed"
    assert project.markers == [1]


def test_a_tolerated_failure_is_left_failed_until_it_is_asked_for(project: Project) -> None:
    flow(project, TOLERANT.replace("echo b >>ran.txt", "echo b >>ran.txt; test -e go"))
    ended(project.run("run", "-q"), 1)
    project.file("go", "")
    ok(project.run("resume", "-q"))
    assert project.executions.count("a") == 1
    assert states(project)["a"] == "failed"
    run_id = project.newest_run.name
    project.file("good", "")
    ok(project.run("resume", run_id, "-q", "--retry-failed"))
    assert project.executions.count("a") == 2
    assert states(project)["a"] == "completed"


def test_a_tolerated_failure_does_not_stop_its_siblings(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: a, continue_on_error: true, run: 'exit 3'}
  - {name: b, run: 'until grep -qs failed $WORKFLOW_RUN_DIR/state/step_00_state.json; do sleep 0.02; done'}
- {name: c, needs: [a], run: 'echo c >>ran.txt'}
""",
    )
    ok(project.run("run", "-q", "-j", "2"))
    assert project.markers == [1, 2]


def test_a_matrix_runs_each_of_its_steps_with_its_own_values(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: build
  matrix: {size: [1, 2], colour: [red, blue]}
  run: echo $size-$colour >>ran.txt
- {name: join, needs: [build], run: 'echo join >>ran.txt'}
""",
    )
    ok(project.run("run", "-q", "-j", "2"))
    assert sorted(project.executions[:4]) == ["1-blue", "1-red", "2-blue", "2-red"]
    assert project.executions[4:] == ["join"]
    assert project.markers == [0, 1, 2, 3, 4]


def test_one_of_a_matrix_that_failed_is_the_only_one_that_runs_again(project: Project) -> None:
    flow(
        project,
        """\
steps:
- name: build
  matrix: {size: [1, 2, 3]}
  run: echo $size >>ran.txt; [ $size != 2 ] || test -e good
- {name: join, run: 'echo join >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", "-k", "-j", "2"), 1)
    assert sorted(project.executions) == ["1", "2", "3"]
    project.file("good", "")
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions[3:] == ["2", "join"]


def test_without_a_terminal_an_approval_pauses_the_run(project: Project) -> None:
    """Everything else goes on; then exit 4, status paused, until somebody says yes."""
    flow(
        project,
        """\
steps:
- parallel:
  - {name: ask, approval: 'really?', run: 'echo ask >>ran.txt'}
  - {name: other, run: 'echo other >>ran.txt'}
- {name: last, run: 'echo last >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", "-j", "2"), 4)
    assert project.executions == ["other"]
    assert run_status(project) == "paused"
    ended(project.run("resume", "-q"), 4)
    ok(project.run("approve", project.newest_run.name, "ask"))
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions == ["other", "ask", "last"]
    assert project.markers == [0, 1, 2]


def test_a_rejected_step_that_was_complete_is_complete_no_longer(project: Project) -> None:
    flow(project, "steps:\n- {name: ask, approval: 'really?', run: 'echo ask >>ran.txt'}\n")
    ended(project.run("run", "-q"), 4)
    run_id = project.newest_run.name
    ok(project.run("approve", run_id, "ask"))
    ok(project.run("resume", "-q"))
    ok(project.run("mark", run_id, "0", "--pending"))
    ok(project.run("approve", run_id, "ask", "--reject"))
    ended(project.run("resume", run_id, "-q"), 1)
    assert project.markers == []
    assert states(project) == {"ask": "failed"}


def test_an_end_that_waits_for_approval_while_a_sibling_fails_is_not_forgotten(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: tidy, if: always, approval: 'tidy up?', run: 'echo tidy >>ran.txt'}
  - {name: bad, run: 'touch here; until [ -e go ]; do sleep 0.02; done; exit 3'}
""",
    )
    process = begin(project, "here", "run", "-j", "2")
    ok(project.run("approve", project.newest_run.name, "tidy"))
    # Answered and seen: it runs beside its sibling.
    wait_for(lambda: project.executions == ["tidy"])
    project.file("go", "")
    assert process.wait(20) == 1
