"""What a resume finds of groups that were cut off: who is complete, who waits, who runs again."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cli.support import end_orphans, wait_for
from tests.conftest import Project
from tests.scheduling.support import (
    attempts_of,
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

NAMES = ["before", "a", "b", "c", "after", "tidy"]
GROUP = """\
steps:
- {name: before, run: 'echo before >>ran.txt'}
- name: g
  parallel:
  - {name: a, run: 'echo a >>ran.txt'}
  - {name: b, run: 'echo b >>ran.txt; touch here; until [ -e go ]; do sleep 0.02; done; echo b_ended >>ran.txt'}
  - {name: c, needs: [a], run: 'echo c >>ran.txt'}
- {name: after, run: 'echo after >>ran.txt'}
- {name: tidy, if: always, run: 'echo tidy >>ran.txt'}
"""


def cut_off(project: Project, *, with_steps: bool) -> None:
    """Kill the runner while b runs and a and c are complete."""
    flow(project, GROUP)
    process = begin(project, lambda: project.runs and project.markers == [0, 1, 3], "run", "-j", "2")
    wait_for((project.path / "here").exists)
    kill_runner(process)
    if with_steps:
        end_orphans(project)


def test_after_the_death_of_the_machine_only_what_was_in_flight_runs_again(project: Project) -> None:
    cut_off(project, with_steps=True)
    assert names_marked(project, NAMES) == {"before", "a", "c"}
    project.file("go", "")
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions[0] == "before"
    assert sorted(project.executions[1:4]) == ["a", "b", "c"]
    assert project.executions.count("b") == 2
    assert all(project.executions.count(name) == 1 for name in ("before", "a", "c", "after", "tidy"))
    assert project.executions[-2:] == ["after", "tidy"]


def test_the_one_in_flight_may_end_before_its_resume(project: Project) -> None:
    cut_off(project, with_steps=False)
    project.file("go", "")
    wait_for(lambda: "b_ended" in project.executions)
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions.count("b") == 1
    assert attempts_of(project, 2)[0]["adopted"] is True


def test_the_resume_may_run_one_at_a_time_and_the_first_side_by_side(project: Project) -> None:
    cut_off(project, with_steps=True)
    project.file("go", "")
    ok(project.run("resume", "-q", "--no-parallel"))
    assert project.markers == [0, 1, 2, 3, 4, 5]


def test_an_end_that_was_reached_runs_again_when_the_group_does(project: Project) -> None:
    """b fails, tidy runs; b is mended: it runs again, and so does tidy, and nothing else that was complete."""
    project.file("go", "")
    flow(project, GROUP.replace("echo b_ended >>ran.txt", "test -e good"))
    ended(project.run("run", "-q", "-k", "-j", "2"), 1)
    assert names_marked(project, NAMES) == {"before", "a", "c", "tidy"}
    project.file("good", "")
    ok(project.run("resume", "-q", "-j", "2"))
    counts = {name: project.executions.count(name) for name in NAMES}
    assert counts == {"before": 1, "a": 1, "b": 2, "c": 1, "after": 1, "tidy": 2}
    assert project.executions[-3:] == ["b", "after", "tidy"]


def test_an_end_cut_short_by_a_kill_runs_again_although_all_before_it_was_complete(project: Project) -> None:
    flow(
        project,
        """\
steps:
- {name: a, run: 'echo a >>ran.txt'}
- {name: tidy, if: always, run: 'echo tidy >>ran.txt; touch here; until [ -e go ]; do sleep 0.02; done'}
""",
    )
    process = begin(project, "here", "run")
    kill_runner(process)
    end_orphans(project)
    project.file("go", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["a", "tidy", "tidy"]


def test_a_second_kill_during_the_resume_loses_nothing_either(project: Project) -> None:
    cut_off(project, with_steps=True)
    (project.path / "here").unlink()
    process = begin(project, "here", "resume", "-j", "2")
    kill_runner(process)
    end_orphans(project)
    project.file("go", "")
    ok(project.run("resume", "-q", "-j", "2"))
    assert project.executions.count("b") == 3
    assert all(project.executions.count(name) == 1 for name in ("before", "a", "c", "after", "tidy"))


def test_what_is_skipped_within_a_group_stays_skipped(project: Project) -> None:
    """Its condition would now say yes: it was asked, and the answer is recorded."""
    flow(
        project,
        """\
steps:
- parallel:
  - {name: a, if: 'test -e wanted', run: 'echo a >>ran.txt'}
  - {name: b, run: 'test -e good'}
- {name: c, needs: [a], run: 'echo c >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", "-k", "-j", "1"), 1)
    assert states(project)["a"] == "skipped"
    assert project.executions == ["c"]
    project.file("wanted", "")
    project.file("good", "")
    ok(project.run("resume", "-q"))
    assert project.executions == ["c"]
    assert run_status(project) == "completed"


def test_a_step_that_a_failure_kept_from_starting_has_no_attempt_and_no_state(project: Project) -> None:
    flow(
        project,
        """\
steps:
- parallel:
  - {name: bad, run: 'test -e good'}
  - {name: next, run: 'echo next >>ran.txt'}
- {name: later, run: 'echo later >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", "-j", "1"), 1)
    assert state_of(project, 1) == state_of(project, 2) == {}
    project.file("good", "")
    ok(project.run("resume", "-q", "-j", "1"))
    assert project.executions == ["next", "later"]
    assert len(attempts_of(project, 1)) == 1


@pytest.mark.parametrize("word", ["--only", "--from-step"])
def test_a_member_may_be_run_by_itself(project: Project, word: str) -> None:
    project.file("go", "")
    flow(project, GROUP)
    ok(project.run("run", "-q", "-j", "2"))
    run_id = project.newest_run.name
    before = project.executions
    ok(project.run("resume", run_id, "-q", "-j", "2", word, "c"))
    again = project.executions[len(before) :]
    assert again == (["c"] if word == "--only" else ["c", "after", "tidy"])


def test_an_interrupted_group_can_be_interrupted_again_and_again(project: Project) -> None:
    flow(project, GROUP)
    for _ in range(3):
        (project.path / "here").unlink(missing_ok=True)
        words = ("resume", "-j", "2") if project.runs else ("run", "-j", "2")
        process = begin(project, "here", *words)
        wait_for(lambda: project.markers == [0, 1, 3])
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130, told(project)
    project.file("go", "")
    ok(project.run("resume", "-q", "-j", "2"))
    counts = {name: project.executions.count(name) for name in NAMES}
    assert counts == {"before": 1, "a": 1, "b": 4, "c": 1, "after": 1, "tidy": 1}
    assert [it["exit_code"] for it in attempts_of(project, 2)][-1] == 0


def test_what_was_waiting_for_a_lock_when_the_runner_died_simply_runs(project: Project) -> None:
    """No attempt had begun, so none is recorded."""
    env = {"XDG_STATE_HOME": str(project.path / "home")}
    flow(
        project,
        """\
steps:
- parallel:
  - {name: hold, lock: db, run: 'echo hold >>ran.txt; touch here; until [ -e go ]; do sleep 0.02; done'}
  - {name: want, lock: db, run: 'echo want >>ran.txt'}
""",
    )
    process = begin(project, lambda: "held by" in told(project), "run", "-j", "2", env=env)
    kill_runner(process)
    project.file("go", "")
    ok(project.run("resume", "-q", "-j", "2", env=env))
    assert project.executions == ["hold", "want"]
    assert [it["number"] for it in attempts_of(project, 1)] == [1]
