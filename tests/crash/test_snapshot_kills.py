"""The runner killed, or out of space, while it makes snapshots and while it goes back to one."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import (
    KILLED,
    Snapshot,
    chooser,
    kept_for_reuse,
    leftovers,
    sample,
    start_over,
    wait_for_orphans,
    what_is_left,
)
from tests.crash.test_fault_points import die_and_recover, operations_of
from tests.crash.test_strace_kills import WHY_NOT, trace
from workflow.checkpoint import snapshots
from workflow.checkpoint.layout import RunLayout

STEPS = 4
EVERY = ("--checkpoint-every", "1")


def whole_snapshots(project: Project) -> list[int]:
    """Return the numbers of the snapshots of the newest run; the test fails at one that is not whole."""
    layout = RunLayout(str(project.newest_run))
    found = snapshots.listed(layout)
    for entry in found:
        seen = snapshots.read(layout, entry.number)
        assert (seen["number"], seen["trigger"]) == (entry.number, entry.trigger)
    return [entry.number for entry in found]


# ---------------------------------------------------------------- while they are made


def kill_run_at(project: Project, points: list[int], moment: str) -> int:
    died = 0
    for index in points:
        start_over(project)
        died += die_and_recover(project, f"any:{index}:die:{moment}", 3, "run", *EVERY)
        numbers = whole_snapshots(project)
        assert len(set(numbers)) == len(numbers), f"a number was given twice: {numbers}"
    return died


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_with_many_snapshots_killed_at_any_operation_is_completed_by_a_resume(
    project: Project, moment: str
) -> None:
    project.steps(3)
    count = len(operations_of(project, "run", *EVERY))
    points = sample(range(1, count + 1), 6)
    assert kill_run_at(project, points, moment) > len(points) // 2


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_operation_of_a_run_with_many_snapshots(project: Project, moment: str) -> None:
    project.steps(3)
    count = len(operations_of(project, "run", *EVERY))
    died = kill_run_at(project, list(range(1, count + 1)), moment)
    print(f"{died} of {count} operations were the last of their runner")
    assert died > count * 3 // 4


def test_create_killed_at_any_operation_leaves_the_old_ones_or_one_more(project: Project) -> None:
    project.steps(2)
    project.run("run")
    count = len(operations_of(project, "checkpoint", "create"))
    assert count >= 5
    made = whole_snapshots(project)
    for index in range(1, count + 1):
        for moment in ("before", "after"):
            plan = f"any:{index}:die:{moment}"
            assert project.run("checkpoint", "create", env={"WORKFLOW_FAULT": plan}).returncode == KILLED, plan
            now = whole_snapshots(project)
            assert now in (made, [*made, made[-1] + 1]), plan
            made = now
    assert project.run("checkpoint", "create").returncode == 0
    assert whole_snapshots(project) == [*made, made[-1] + 1]
    assert leftovers(project.newest_run) == []


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
def test_a_snapshot_that_finds_no_room_is_a_warning(project: Project, error: str) -> None:
    """One operation fails: of a snapshot the run goes on and says so; of anything else it stops, or tried again."""
    project.steps(3)
    count = operations_of(project, "run", *EVERY).count("open")
    warned = 0
    # The last snapshot is among the last operations, whatever the time made of the ones before.
    for index in [*sample(range(1, count - 8), 4), *range(count - 8, count + 1)]:
        start_over(project)
        result = project.run("run", *EVERY, env={"WORKFLOW_FAULT": f"open:{index}:{error}"})
        assert result.returncode in (0, 125), result.stderr
        assert "Traceback" not in result.stderr
        if "no snapshot was made" in result.stderr:
            warned += 1
            assert result.returncode == 0, result.stderr
            assert what_is_left(project).done == {0, 1, 2}
            assert len(whole_snapshots(project)) == 3
    assert warned, "none of these was an operation of a snapshot"


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
def test_create_on_a_full_disk_says_so_and_harms_nothing(project: Project, operation: str) -> None:
    project.steps(1)
    project.run("run")
    result = project.run("checkpoint", "create", env={"WORKFLOW_FAULT": f"{operation}:1:ENOSPC:forever"})
    assert result.returncode == 125
    assert "No space left on device" in result.stderr
    assert whole_snapshots(project) == [1] or operation == "fsync"
    assert leftovers(project.newest_run) == []


# ---------------------------------------------------------------- while it goes back


def finished(project: Project) -> str:
    """Leave a complete run with a snapshot after each step; return what names the first."""
    project.steps(STEPS)
    assert project.run("run", *EVERY).returncode == 0
    return f"{project.newest_run.name}@1"


def assert_goes_back(project: Project, name: str, *, again: bool) -> None:
    """After a kill while going back: fewer markers, none wrong; whoever resumes gets to the same end."""
    wait_for_orphans(project)
    left = what_is_left(project)
    assert left.done == set(range(len(left.done))), f"not the last step went first: {sorted(left.done)}"
    assert not again or 1 in whole_snapshots(project)
    before = Counter(project.executions)
    result = project.run("resume", *((name,) if again else ()))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    now = what_is_left(project)
    assert now.done == set(range(STEPS))
    counts = Counter(project.executions)
    assert counts["00"] == 1, "what the snapshot saw complete ran again"
    if again:
        assert all(counts[f"{number:02d}"] >= 2 for number in range(1, STEPS))
    else:
        rerun = [number for number in left.done if counts[f"{number:02d}"] != before[f"{number:02d}"]]
        assert not rerun, f"a completed step ran again: {rerun}"
    assert max(counts.values()) <= 3
    assert leftovers(project.newest_run) == []
    whole_snapshots(project)


def go_back_killed_at(snapshot: Snapshot, name: str, points: list[int], moment: str) -> int:
    died = 0
    for at, index in enumerate(points):
        snapshot.restore()
        plan = f"any:{index}:die:{moment}"
        result = snapshot.project.run("resume", name, env={"WORKFLOW_FAULT": plan})
        assert result.returncode in (KILLED, 0), result.stderr
        died += result.returncode == KILLED
        try:
            assert_goes_back(snapshot.project, name, again=at % 2 == 0)
        except AssertionError as error:
            raise AssertionError(f"after WORKFLOW_FAULT={plan}: {error}") from error
    return died


def operations_of_going_back(snapshot: Snapshot, name: str) -> int:
    count = len(operations_of(snapshot.project, "resume", name))
    snapshot.restore()
    return count


@pytest.mark.parametrize("moment", ["before", "after"])
def test_going_back_killed_at_any_operation_loses_nothing(project: Project, tmp_path: Path, moment: str) -> None:
    name = finished(project)
    with kept_for_reuse(project, tmp_path) as snapshot:
        count = operations_of_going_back(snapshot, name)
        # The first half is where the past is taken away: most of the sample is from there.
        points = sorted({*chooser().sample(range(1, count // 2), 5), *chooser().sample(range(1, count + 1), 1)})
        assert go_back_killed_at(snapshot, name, points, moment) > len(points) // 2


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_operation_of_going_back(project: Project, tmp_path: Path, moment: str) -> None:
    name = finished(project)
    with kept_for_reuse(project, tmp_path) as snapshot:
        count = operations_of_going_back(snapshot, name)
        died = go_back_killed_at(snapshot, name, list(range(1, count + 1)), moment)
    print(f"{died} of {count} operations were the last of their runner")
    assert died > count * 3 // 4


@pytest.mark.parametrize("operation", ["open", "fsync", "rename", "unlink"])
def test_going_back_on_a_disk_that_fails_stops_and_lies_about_nothing(
    project: Project, tmp_path: Path, operation: str
) -> None:
    name = finished(project)
    with kept_for_reuse(project, tmp_path) as snapshot:
        for index in (1, 3, 5):
            snapshot.restore()
            plan = f"{operation}:{index}:ENOSPC:forever"
            result = project.run("resume", name, env={"WORKFLOW_FAULT": plan})
            assert result.returncode == 125, f"{plan}: {result.stderr}"
            assert "error: " in result.stderr
            assert "Traceback" not in result.stderr
            assert_goes_back(project, name, again=index != 3)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")
@pytest.mark.parametrize("call", ["rename", "fsync", "unlink", "openat"])
def test_going_back_killed_at_a_system_call_loses_nothing(project: Project, tmp_path: Path, call: str) -> None:
    go_back_traced(project, tmp_path, call, 2)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")
@pytest.mark.parametrize("call", ["rename", "fsync", "unlink", "openat", "write"])
def test_every_system_call_of_going_back(project: Project, tmp_path: Path, call: str) -> None:
    go_back_traced(project, tmp_path, call, None)


def go_back_traced(project: Project, beside: Path, call: str, most: int | None) -> None:
    name = finished(project)
    with kept_for_reuse(project, beside) as snapshot:
        code, lines = trace(project, call, "resume", name)
        assert code == 0
        points = [
            at for at, line in enumerate(lines, 1) if call != "openat" or re.search(r"O_WRONLY|O_RDWR|O_CREAT", line)
        ]
        assert points
        for at in points if most is None else sample(points, most):
            snapshot.restore()
            code, _ = trace(project, call, "resume", name, kill_at=at)
            assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
            try:
                assert_goes_back(project, name, again=at % 2 == 0)
            except AssertionError as error:
                raise AssertionError(f"after kill -9 at {call} number {at}: {error}") from error


def test_a_kill_while_going_back_leaves_a_run_that_can_simply_be_resumed(project: Project) -> None:
    """One reproducible case, told in full: the last two steps are taken back, the kill comes before the third."""
    name = finished(project)
    for index in range(2, 6):
        words = ("resume", name, "--max-snapshots", "1")
        result = project.run(*words, env={"WORKFLOW_FAULT": f"unlink:{index}:die"})
        assert result.returncode == KILLED
        if what_is_left(project).done == {0, 1}:
            break
    assert what_is_left(project).done == {0, 1}
    # Only one was to be kept, and the one that is gone back to is never the one that makes room.
    assert whole_snapshots(project)[0] == 1
    plan = project.run("resume", "--dry-run").stdout
    assert plan.count(f"forced: completed after {name}") == 2
    assert project.run("resume").returncode == 0
    assert what_is_left(project).done == set(range(STEPS))
    assert Counter(project.executions) == {"00": 1, "01": 1, "02": 2, "03": 2}
