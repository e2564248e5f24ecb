"""Many short steps side by side, staged by the engine and flushed together: killed, and on disks that fail."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from tests.conftest import Project
from tests.crash.recovering import (
    IS_LONG,
    KILLED,
    leftovers,
    resume,
    sample,
    start_over,
    wait_for_orphans,
    what_is_left,
)
from tests.crash.test_fault_points import operations_of
from workflow.execution.committer import Committed
from workflow.execution.inbox import Inbox
from workflow.execution.worker import StepEnded

COUNT = 40
JOBS = 2
RUN = ("run", "-j", str(JOBS), "-q")
EVERY_ONE_ONCE = {f"{number:02d}": 1 for number in range(COUNT)}


@pytest.fixture
def many(project: Project) -> Project:
    project.steps(COUNT)
    project.file("workflow.yaml", "steps:\n  - name: all\n    parallel:\n      - steps: steps\n")
    return project


def assert_recovers(project: Project, what: str, most_again: int = JOBS) -> None:
    """Resume: what was marked stays, and of the rest at most so many steps run twice."""
    wait_for_orphans(project)
    left = what_is_left(project)
    before = Counter(project.executions)
    result = resume(project, "-j", str(JOBS))
    told = f"{what}\n{result.stdout}{result.stderr}"
    assert result.returncode == 0, told
    assert "Traceback" not in told, told
    now = what_is_left(project)
    assert now.run is not None
    assert now.done == frozenset(range(COUNT)), told
    counts = Counter(project.executions)
    assert counts.keys() == EVERY_ONE_ONCE.keys(), told
    assert max(counts.values()) <= 2, told
    assert sum(times == 2 for times in counts.values()) <= most_again, told
    assert not [number for number in left.done if counts[f"{number:02d}"] != before[f"{number:02d}"]], told
    assert leftovers(now.run) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
def test_a_runner_killed_among_them_loses_none(many: Project, operation: str, moment: str) -> None:
    """Cases 1 and 45: what ended or runs on without its runner is taken over, however many steps that are."""
    points = range(1, operations_of(many, *RUN).count(operation) + 1)
    died = 0
    for at in points if IS_LONG else sample(points, 3):
        start_over(many)
        result = many.run(*RUN, env={"WORKFLOW_FAULT": f"{operation}:{at}:die:{moment}"})
        assert result.returncode in (0, KILLED), result.stderr
        died += result.returncode == KILLED
        assert_recovers(many, f"killed {moment} {operation} {at}", most_again=0)
    assert died, "no kill met the run"  # how many flushes there are differs from run to run


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
def test_a_disk_that_fails_among_them_makes_no_false_marker(many: Project, operation: str, error: str) -> None:
    """Cases 5, 6 and 7: once, the step goes another way or the run stops; for ever, it stops with 125."""
    points = range(20, operations_of(many, *RUN).count(operation) + 1)
    for at in points if IS_LONG else sample(points, 2):
        for how_long in ("", ":forever"):
            start_over(many)
            plan = f"{operation}:{at}:{error}:before{how_long}"
            result = many.run(*RUN, env={"WORKFLOW_FAULT": plan})
            assert result.returncode in (0, 125), f"{plan}: {result.stderr}"
            assert "Traceback" not in result.stderr, result.stderr
            assert_recovers(many, plan)


def test_an_undisturbed_run_leaves_nothing_staged(many: Project) -> None:
    result = many.run(*RUN)
    assert result.returncode == 0, result.stderr
    assert Counter(many.executions) == EVERY_ONE_ONCE
    assert leftovers(many.newest_run) == []


def test_a_failure_among_them_marks_what_ended_well_and_nothing_else(many: Project) -> None:
    many.step(17, "exit 3")
    result = many.run(*RUN)
    assert result.returncode == 1, result.stderr
    ended_well = {int(label) for label in many.executions}
    # One that was cut short by the failure may have left its line and is not complete all the same.
    assert set(many.markers) <= ended_well
    assert 17 not in many.markers
    many.step(17)
    assert_recovers(many, "a failure")


# ------------------------------------------------------------------ who is heard first


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


def test_the_answer_of_a_worker_comes_before_news_of_commits(inbox: Inbox, mocker: MockerFixture) -> None:
    import os

    read, write = os.pipe()
    ended = StepEnded(1, 5, 1, 1, 0)
    inbox.watch(read, lambda: [ended] if os.read(read, 1) else [])
    committed = [Committed(mocker.Mock(name=f"record {number}")) for number in range(3)]
    for event in committed:
        inbox.put(event)
    assert inbox.next(1.0) is committed[0]
    os.write(write, b"x")
    assert inbox.next(1.0) is ended
    assert [inbox.next(1.0), inbox.next(1.0), inbox.next(0.0)] == [*committed[1:], None]
    inbox.unwatch(read)
    os.close(read)
    os.close(write)


def test_an_event_put_while_another_waits_to_be_read_wakes_all_the_same(inbox: Inbox) -> None:
    """One byte wakes for many events; what comes after it was read needs a byte of its own."""
    import threading

    inbox.put("first")
    inbox.put("second")
    assert [inbox.next(5.0), inbox.next(5.0)] == ["first", "second"]
    later = threading.Timer(0.05, inbox.put, ["third"])
    later.start()
    started = time.monotonic()
    assert inbox.next(20.0) == "third"
    assert time.monotonic() - started < 10
    later.join()
