"""Many reused steps with outputs, committed with one flush: killed, on disks that fail, and what is known of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import (
    IS_LONG,
    KILLED,
    Snapshot,
    kept_for_reuse,
    leftovers,
    resume,
    sample,
    wait_for_orphans,
    what_is_left,
)
from tests.crash.test_fault_points import operations_of
from workflow.checkpoint import store
from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.records import digest

COUNT = 60
RUN = ("run", "--smart", "-q")
ALL = frozenset(range(COUNT))


@pytest.fixture
def known(project: Project, tmp_path: Path):
    """A project of which every step has succeeded: `ran.txt` has one line of each."""
    lines = [
        f"  - {{name: s{it}, inputs: [in], outputs: [o{it}], run: 'cp in o{it}; echo {it:02d} >>ran.txt'}}"
        for it in range(COUNT)
    ]
    project.file("workflow.yaml", "\n".join(["name: reused", "steps:", *lines]) + "\n")
    project.file("in", "1\n")
    result = project.run(*RUN)
    assert result.returncode == 0, result.stderr
    with kept_for_reuse(project, tmp_path) as before:
        yield before


def assert_recovers(before: Snapshot, what: str) -> None:
    """Every marker vouches for a whole state; a resume marks the rest; nothing has run."""
    project = before.project
    wait_for_orphans(project)
    left = what_is_left(project)
    assert left.run is not None
    layout = CheckpointRoot(str(left.run.parent)).run(left.run.name)
    states = store.States(layout)
    for number, marker in store.read_markers(layout).whole.items():
        state = states.raw(number)
        assert state is not None, f"{what}: a marker without its state"
        assert digest(state) == marker.state_digest, f"{what}: a marker with another state"
        assert json.loads(state)["output_digests"].keys() == {str(project.path / f"o{number}")}
    states.close()
    result = resume(project, "--smart")
    told = f"{what}\n{result.stdout}{result.stderr}"
    assert result.returncode == 0, told
    assert "Traceback" not in told, told
    now = what_is_left(project)
    assert now.run is not None
    assert now.done == ALL, told
    assert sorted(project.executions) == [f"{number:02d}" for number in range(COUNT)], told
    assert leftovers(now.run) == []
    assert project.run("checkpoint", "validate", now.run.name).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
def test_a_runner_killed_among_them_leaves_no_false_marker(known: Snapshot, operation: str, moment: str) -> None:
    """Case 1: whatever was not recorded is looked at again, and reused again."""
    points = range(12, operations_of(known.project, *RUN).count(operation) + 1)
    died = 0
    for at in points if IS_LONG else sample(points, 3):
        known.restore()
        result = known.project.run(*RUN, env={"WORKFLOW_FAULT": f"{operation}:{at}:die:{moment}"})
        assert result.returncode in (0, KILLED), result.stderr
        died += result.returncode == KILLED
        assert_recovers(known, f"killed {moment} {operation} {at}")
    assert died or not points, "no kill met the run"  # how many flushes there are differs from run to run


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
def test_a_disk_that_fails_among_them_makes_no_false_marker(known: Snapshot, operation: str, error: str) -> None:
    """Cases 5, 6 and 7: once, they go by themselves; for ever, the run stops with 125."""
    points = range(20, operations_of(known.project, *RUN).count(operation) + 1)
    for at in points if IS_LONG else sample(points, 2):
        for how_long in ("", ":forever"):
            known.restore()
            plan = f"{operation}:{at}:{error}:before{how_long}"
            result = known.project.run(*RUN, env={"WORKFLOW_FAULT": plan})
            assert result.returncode in (0, 125), f"{plan}: {result.stderr}"
            assert "Traceback" not in result.stderr, result.stderr
            assert_recovers(known, plan)


def test_they_are_flushed_together(known: Snapshot) -> None:
    """By itself each takes four flushes: of two files and two directories."""
    assert operations_of(known.project, *RUN).count("fsync") < 2 * COUNT


def test_what_could_not_be_recorded_is_not_known_as_a_success(project: Project) -> None:
    """An output that could not be made durable may be gone after a power cut, whatever its pages say now."""
    project.file(
        "workflow.yaml",
        "smart: true\nsteps: [{name: s, inputs: [in], outputs: [made], run: 'cp in made; echo s >>ran.txt'}]\n",
    )
    project.file("in", "1\n")
    codes = []
    for at in range(1, 40):
        for name in ("ran.txt", "made"):
            (project.path / name).unlink(missing_ok=True)
        project.file("in", f"{at}\n")
        result = project.run(env={"WORKFLOW_FAULT": f"fsync:{at}:ENOSPC:before"})
        codes.append(result.returncode)
        if result.returncode == 125 and project.executions:
            assert project.run().returncode == 0
            assert project.executions == ["s", "s"], f"fsync {at}: reused, though it was never recorded"
        if result.returncode == 0:
            break
    assert 125 in codes
