"""Groups through the real program: side by side, stopped together, named after the one that failed."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.cli.support import wait_for
from tests.conftest import Project
from tests.processes.support import Mark, marked
from tests.scheduling.support import (
    IMPATIENT_S,
    LONG,
    begin,
    ended,
    flow,
    kill_runner,
    names_marked,
    ok,
    run_status,
    state_of,
    states,
    told,
)

# Each waits for the other's file: side by side they end, one after the other they would wait until their limit.
MEET = ": >here_{me}; n=0; until [ -e here_{other} ]; do n=$((n + 1)); [ $n -lt 400 ] || exit 9; sleep 0.02; done"


def test_members_of_a_group_run_side_by_side(project: Project) -> None:
    flow(
        project,
        f"""\
steps:
- name: both
  parallel:
  - {{name: a, run: '{MEET.format(me="a", other="b")}'}}
  - {{name: b, run: '{MEET.format(me="b", other="a")}'}}
- {{name: after, run: 'test -e here_a && test -e here_b'}}
""",
    )
    ok(project.run("run", "-q", "-j", "2"))
    assert project.markers == [0, 1, 2]


def test_without_parallel_they_run_one_after_the_other(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: a, run: 'echo a+ >>ran.txt; sleep 0.05; echo a- >>ran.txt'}
  - {name: b, run: 'echo b+ >>ran.txt; sleep 0.05; echo b- >>ran.txt'}
""",
    )
    ok(project.run("run", "-q", "--no-parallel"))
    assert project.executions == ["a+", "a-", "b+", "b-"]


FAILING = f"""\
steps:
- {{name: first, run: 'true'}}
- name: checks
  parallel:
  - {{name: slow, run: 'touch slow_here; exec {LONG}'}}
  - name: bad
    run: until [ -e slow_here ] && [ -e $WORKFLOW_RUN_DIR/step_03.complete ]; do sleep 0.02; done; exit 3
  - {{name: quick, run: 'true'}}
- {{name: later, run: 'echo later >>ran.txt'}}
- {{name: last, needs: [later], run: 'echo last >>ran.txt'}}
"""


def test_the_first_failure_stops_the_siblings_and_is_the_one_that_is_named(project: Project) -> None:
    """RELIABILITY 45: a sibling that sleeps for a minute is cancelled, never failed, and delays nothing."""
    flow(project, FAILING)
    began = time.monotonic()
    result = ended(project.run("run", "-j", "3"), 1)
    assert time.monotonic() - began < IMPATIENT_S
    assert states(project) == {
        "first": "completed",
        "slow": "interrupted",
        "bad": "failed",
        "quick": "completed",
        "later": "blocked",
        "last": "blocked",
    }
    assert state_of(project, 1)["status"] == "cancelled"
    assert project.markers == [0, 3]
    assert project.executions == []
    assert result.stderr.count("error: ") == 1, result.stderr
    assert "error: step 02 bad failed" in result.stderr
    assert "first to fail: 02 bad, exit 3" in result.stdout


def test_a_resume_runs_what_failed_and_what_was_cancelled_and_nothing_that_was_complete(project: Project) -> None:
    flow(project, FAILING.replace("quick, run: 'true'", "quick, run: 'echo quick >>ran.txt'"))
    ended(project.run("run", "-q", "-j", "3"), 1)
    mended = (project.path / "workflow.yaml").read_text().replace(f"exec {LONG}", "true").replace("exit 3", "true")
    flow(project, mended)
    ok(project.run("run", "--resume", "-q", "-j", "3"))
    assert project.markers == [0, 1, 2, 3, 4, 5]
    assert project.executions == ["quick", "later", "last"]


def test_with_keep_going_only_what_waits_for_the_failed_one_is_blocked(project: Project) -> None:
    flow(
        project,
        """\
steps:
- {name: bad, needs: [], run: 'exit 3'}
- {name: other, needs: [], run: 'until [ -e go ]; do sleep 0.02; done; echo other >>ran.txt'}
- {name: after_bad, needs: [bad], run: 'echo after_bad >>ran.txt'}
- {name: after_other, needs: [other], run: 'echo after_other >>ran.txt'}
- {name: after_all, run: 'echo after_all >>ran.txt'}
- {name: worse, needs: [after_other], run: 'exit 4'}
""",
    )

    process = begin(project, lambda: "FAILED 00 bad" in told(project), "run", "-k", "-j", "2")
    # `other` is still running although `bad` has failed, and its followers run, too.
    project.file("go", "")
    assert process.wait(20) == 1
    assert project.executions == ["other", "after_other"]
    assert states(project) == {
        "bad": "failed",
        "other": "completed",
        "after_bad": "blocked",
        "after_other": "completed",
        "after_all": "blocked",
        "worse": "failed",
    }


def test_a_step_that_was_ready_but_had_no_slot_yet_is_blocked_by_the_failure(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: bad, run: 'exit 3'}
  - {name: second, run: 'echo second >>ran.txt'}
""",
    )
    result = ended(project.run("run", "-j", "1"), 1)
    assert "! 01 second  blocked by 00 bad" in result.stdout
    assert project.markers == []
    assert project.executions == []


HANGING = "{{name: {name}, run: 'touch here_{name}; {command}'}}"


def hang(project: Project, mark: Mark, more: str = "") -> None:
    flow(
        project,
        f"""\
{more}
steps:
- {{name: first, run: 'true'}}
- name: g
  parallel:
  - {{name: done, run: 'true'}}
  - {HANGING.format(name="a", command=mark.command)}
  - {HANGING.format(name="b", command=mark.command)}
- {{name: tidy, if: always, run: 'echo tidy >>ran.txt'}}
- {{name: later, run: 'echo later >>ran.txt'}}
""",
    )


def all_here(project: Project) -> bool:
    there = all((project.path / f"here_{name}").exists() for name in "ab")
    return there and 1 in (project.markers if project.runs else [])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_every_sibling_and_leaves_true_markers(
    project: Project, number: signal.Signals, code: int
) -> None:
    """RELIABILITY 33 and 45; not even `if: always` is started after an interrupt."""
    names = ["first", "done", "a", "b", "tidy", "later"]
    with marked() as mark:
        hang(project, mark)
        process = begin(project, lambda: all_here(project), "run", "-j", "3")
        os.kill(process.pid, number)
        assert process.wait(20) == code, told(project)
        mark.wait_none()
    assert names_marked(project, names) == {"first", "done"}
    assert [states(project)[name] for name in "ab"] == ["interrupted"] * 2
    assert project.executions == []
    assert "Traceback" not in told(project)
    flow(project, (project.path / "workflow.yaml").read_text().replace(mark.command, "true"))
    ok(project.run("run", "--resume", "-q", "-j", "3"))
    assert project.markers == [0, 1, 2, 3, 4, 5]
    assert project.executions == ["tidy", "later"]


def test_the_limit_of_one_member_ends_that_one_and_stops_the_others(project: Project) -> None:
    with marked() as mark:
        flow(
            project,
            f"""\
steps:
- parallel:
  - {{name: late, timeout: 0.4, run: '{mark.command}'}}
  - {{name: other, run: '{mark.command}'}}
""",
        )
        ended(project.run("run", "-j", "2", timeout=IMPATIENT_S), 124)
        mark.wait_none()
    assert states(project) == {"late": "failed", "other": "interrupted"}
    assert state_of(project, 0)["failure"]["class"] == "timeout"
    assert project.markers == []


def test_the_limit_of_the_run_ends_the_whole_group(project: Project) -> None:
    with marked() as mark:
        hang(project, mark, "limits: {time: 1.5}")
        ended(project.run("run", "-j", "3", timeout=IMPATIENT_S), 124)
        mark.wait_none()
    assert names_marked(project, ["first", "done", "a", "b", "tidy", "later"]) == {"first", "done"}
    assert project.executions == []


def test_two_orphans_of_one_dead_runner_are_both_adopted(project: Project) -> None:
    """A step outlives its runner; each of two that ran side by side is taken over with its own outcome."""
    body = ": >here_{name}; until [ -e go ]; do sleep 0.02; done; echo {name} >>ran.txt{end}"
    flow(
        project,
        f"""\
steps:
- parallel:
  - {{name: a, run: '{body.format(name="a", end="")}'}}
  - {{name: b, run: '{body.format(name="b", end="; exit 5")}'}}
  - {{name: c, run: '{body.format(name="c", end="")}'}}
- {{name: last, run: 'echo last >>ran.txt'}}
""",
    )
    here = [project.path / f"here_{name}" for name in "abc"]
    process = begin(project, lambda: all(path.exists() for path in here), "run", "-j", "3")
    kill_runner(process)
    assert project.markers == []
    project.file("go", "")
    wait_for(lambda: len(project.executions) == 3)
    flow(project, (project.path / "workflow.yaml").read_text().replace("exit 5", "true"))
    result = ok(project.run("run", "--resume", "-j", "3"))
    assert sorted(project.executions) == ["a", "b", "b", "c", "last"]
    assert project.markers == [0, 1, 2, 3]
    assert [attempt["adopted"] for attempt in state_of(project, 1)["attempts"]] == [True, False]
    assert (result.stdout + result.stderr).count("that outcome is taken over") == 3


def test_a_live_group_tells_what_runs(project: Project) -> None:
    with marked() as mark:
        hang(project, mark)
        process = begin(project, lambda: all_here(project), "run", "-j", "3")
        wait_for(lambda: [states(project)[name] for name in "ab"] == ["running", "running"])
        assert run_status(project) == "in_progress"
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)
