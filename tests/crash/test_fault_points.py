"""The runner killed by itself before and after every operation of the one writer, then resumed.

The quick twin of the system call table in test_strace_kills.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import (
    KILLED,
    Snapshot,
    assert_recovers,
    chooser,
    kept_for_reuse,
    program,
    program_env,
    start_over,
    wait_for_orphans,
    what_is_left,
)
from workflow.checkpoint.layout import LIBRARY


def first_marker(steps: int) -> int:
    """Return which rename of a run gives the first marker its name, by the number of its scripts.

    README, .gitignore, holder, epoch, steps.sh, resume.sh, lib/, workflow.json, copies, checkpoint.json, the state.
    """
    return 10 + len(LIBRARY) + steps


OPERATIONS = ("open", "write", "fsync", "rename", "unlink", "mkdir")

# Counts operations instead of failing at one; prints their names in order.
COUNT = """
import json, sys
from workflow.checkpoint import durable

class Counted(durable.Faults):
    def meet(self, operation, moment):
        if moment == "before":
            seen.append(operation)

seen = []
durable.Faults.parse = classmethod(lambda cls, text: Counted(durable.Fault("any", 0, "die")))
from workflow.cli.main import _exit_code
code = _exit_code(sys.argv[1:])
print(json.dumps([code, seen]), file=sys.stderr)
"""


def operations_of(project: Project, *words: str) -> list[str]:
    """Run to the end and return the operations of the writer, in order."""
    result = subprocess.run(
        [program()[0], "-c", COUNT, *words],
        cwd=project.path,
        env=program_env(WORKFLOW_FAULT="count"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    code, seen = json.loads(result.stderr.splitlines()[-1])
    assert code == 0, result.stderr
    return list(seen)


def die_and_recover(project: Project, plan: str, steps: int, *words: str) -> bool:
    """Let the program die at the fault point and resume; return whether it died there."""
    result = project.run(*words, env={"WORKFLOW_FAULT": plan})
    assert result.returncode in (KILLED, 0), f"{plan}: {result.stdout}{result.stderr}"
    try:
        assert_recovers(project, steps)
    except AssertionError as error:
        raise AssertionError(f"after WORKFLOW_FAULT={plan}: {error}") from error
    return result.returncode == KILLED


def half_done(project: Project, steps: int) -> None:
    """Leave a run that died with some steps complete and one outcome not committed."""
    project.steps(steps)
    for index in range(first_marker(steps) + 2, first_marker(steps) + 9):
        # How often checkpoint.json is written depends on time, so the index of a marker is not fixed.
        assert project.run(env={"WORKFLOW_FAULT": f"rename:{index}:die"}).returncode == KILLED
        wait_for_orphans(project)
        if 0 < len(what_is_left(project).done) < steps:
            return
        start_over(project)
    raise AssertionError("no rename left the run half done")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_killed_at_any_operation_is_completed_by_a_resume(project: Project, moment: str) -> None:
    """Case 1, by fault points: a sample over the whole run."""
    project.steps(3)
    count = len(operations_of(project, "run"))
    assert count > 30, "the writer does not go through its fault points any more"
    died = 0
    points = sorted(chooser().sample(range(1, count + 1), 22))
    for index in points:
        start_over(project)
        died += die_and_recover(project, f"any:{index}:die:{moment}", 3, "run")
    assert died > len(points) // 2, "hardly any fault point was reached"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_last_operation_of_each_kind_can_be_the_last_of_the_runner(project: Project, operation: str) -> None:
    """Case 1: each kind of operation is reached, and dying there loses nothing."""
    project.steps(3)
    count = operations_of(project, "run").count(operation)
    assert count > 0, f"a run makes no {operation}"
    for index in {count, (count + 1) // 2}:
        start_over(project)
        # Which thread comes first differs from run to run, so the very last may be another's.
        die_and_recover(project, f"{operation}:{index}:die", 3, "run")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_resume_killed_at_any_operation_is_completed_by_the_next(
    project: Project, tmp_path: Path, moment: str
) -> None:
    """Case 3, by fault points: a sample over the resume of a run that died half-way."""
    half_done(project, 4)
    with kept_for_reuse(project, tmp_path) as snapshot:
        count = len(operations_of(project, "resume"))
        points = sorted(chooser().sample(range(1, count + 1), min(count, 14)))
        died = kill_resume_at(snapshot, points, moment, 4)
    assert died > len(points) // 2


def kill_resume_at(snapshot: Snapshot, points: list[int], moment: str, steps: int) -> int:
    died = 0
    for index in points:
        snapshot.restore()
        died += die_and_recover(snapshot.project, f"any:{index}:die:{moment}", steps, "resume")
    return died


def test_temporary_files_of_crashes_are_gone_after_the_resume(project: Project) -> None:
    """Case 15: in the run's own directory and in those below it, while its lock is held."""
    project.steps(2)
    assert project.run(env={"WORKFLOW_FAULT": f"rename:{first_marker(2)}:die"}).returncode == KILLED
    run = project.newest_run
    for directory in (run, run / "state", run / "lib", run / "archive"):
        (directory / ".tmp-step_00.complete-0badcafe").write_bytes(b"STEP=0\n")
    assert_recovers(project, 2)


def test_temporary_files_beside_the_runs_are_swept_once_they_are_old(project: Project) -> None:
    """Case 15: no lock covers the directory of all runs, so only what no living start can still need goes."""
    project.steps(1)
    assert project.run().returncode == 0
    root = project.path / ".checkpoints"
    old = [root / ".tmp-README.md-0badcafe", root / "cache" / ".tmp-history.json-0badcafe"]
    new = root / ".tmp-.gitignore-0badcafe"
    for path in [*old, new]:
        path.write_bytes(b"")
    for path in old:
        os.utime(path, (0, 0))
    assert project.run().returncode == 0
    assert [path.name for path in old if path.exists()] == []
    assert new.exists()


def test_a_temporary_file_is_never_read_as_a_marker(project: Project) -> None:
    """Case 15: only the name of a marker counts, whatever the bytes."""
    project.steps(2)
    assert project.run(env={"WORKFLOW_FAULT": f"rename:{first_marker(2)}:die"}).returncode == KILLED
    assert project.run("resume").returncode == 0
    whole = project.newest_run / "step_01.complete"
    whole.rename(project.newest_run / ".tmp-step_01.complete-0badcafe")
    assert project.run("resume").returncode == 0
    assert project.executions.count("01") == 2


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_operation_of_a_five_step_run(project: Project, moment: str) -> None:
    """Case 1, the long form: each operation, each side of it."""
    project.steps(5)
    count = len(operations_of(project, "run"))
    died = 0
    for index in range(1, count + 1):
        start_over(project)
        died += die_and_recover(project, f"any:{index}:die:{moment}", 5, "run")
    print(f"{died} of {count} operations were the last of their runner")
    assert died > count * 3 // 4


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_operation_of_a_resume(project: Project, tmp_path: Path, moment: str) -> None:
    """Case 3, the long form."""
    half_done(project, 5)
    with kept_for_reuse(project, tmp_path) as snapshot:
        count = len(operations_of(project, "resume"))
        died = kill_resume_at(snapshot, list(range(1, count + 1)), moment, 5)
    print(f"{died} of {count} operations were the last of their runner")
    assert died > count * 3 // 4
