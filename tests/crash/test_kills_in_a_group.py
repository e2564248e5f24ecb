"""The runner killed at its Nth system call, or fault point, while a group of three runs two at a time; then resumed.

As in test_strace_kills.py: the thread that decides is traced from its start; all threads of the runner, those that
commit among them, are attached to while the first step waits.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter

import pytest

from tests.conftest import Project, executions_of
from tests.crash.recovering import (
    IS_LONG,
    KILLED,
    chooser,
    leftovers,
    program,
    program_env,
    resume,
    sample,
    start_over,
    wait_for,
    what_is_left,
)
from tests.crash.test_fault_points import operations_of
from tests.crash.test_strace_kills import WHY_NOT, points_of, trace

CALLS = ("rename", "fsync", "openat", "unlink", "mkdir")
# What the threads make once steps run: no directories.
THREADED = ("rename", "fsync", "openat", "write")
STEPS = ["00", "01", "02", "03", "04"]
RUN = ("run", "-j", "2")
needs_strace = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")

FLOW = """\
steps:
- {{name: before, run: '{first}echo 00 >>ran.txt'}}
- parallel:
  - {{name: one, run: 'echo ONE=1 >>$WORKFLOW_OUTPUT; echo 01 >>ran.txt'}}
  - {{name: two, run: 'sleep 0.02; echo 02 >>ran.txt'}}
  - {{name: three, run: '[ -z "$ONE" ]; echo 03 >>ran.txt'}}
- {{name: after, run: '[ "$ONE" = 1 ]; echo 04 >>ran.txt'}}
"""


def write(project: Project, first: str = "") -> None:
    project.file("workflow.yaml", FLOW.format(first=first))


def assert_recovers(project: Project) -> None:
    """Resume: nothing lost, nothing complete run again, in order, and at most one step for each worker twice."""
    left = what_is_left(project)
    before = Counter(executions_of(project.path))
    result = resume(project, "-j", "2")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "Traceback" not in told, told
    assert "this is a bug" not in told, told
    now = what_is_left(project)
    assert now.run is not None
    assert left.run is None or now.run == left.run, "the resume began a new run instead"
    assert now.done == frozenset(range(len(STEPS))), told
    ran = executions_of(project.path)
    counts = Counter(ran)
    assert sorted(counts) == STEPS, f"a step never ran: {ran}"
    assert max(counts.values()) <= 2, f"a step ran more than twice: {ran}"
    assert sum(times == 2 for times in counts.values()) <= 2, f"more than one step for each worker ran twice: {ran}"
    again = [number for number in left.done if counts[f"{number:02d}"] != before[f"{number:02d}"]]
    assert not again, f"a completed step ran again: {again}\n{told}"
    last = {number: len(ran) - 1 - ran[::-1].index(number) for number in STEPS}
    assert last["00"] < min(ran.index(number) for number in STEPS[1:]), ran
    assert max(last[number] for number in STEPS[:-1]) < ran.index("04"), ran
    assert leftovers(now.run) == []


def recovers_after(project: Project, what: str) -> None:
    try:
        assert_recovers(project)
    except AssertionError as error:
        raise AssertionError(f"after kill -9 at {what}: {error}") from error


# ------------------------------------------------------------------ the thread that decides, from its start


def kill_at_some(project: Project, call: str, most: int | None) -> None:
    write(project)
    points = points_of(project, call, *RUN)
    assert points, f"a run makes no {call}"
    chosen = points if most is None else sample(points, most)
    died = 0
    for at in chosen:
        start_over(project)
        code, _ = trace(project, call, *RUN, kill_at=at)
        assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), code
        died += code != 0
        recovers_after(project, f"{call} number {at}")
    # Which thread does what first differs from run to run: the very last may not come.
    assert died >= len(chosen) - 2


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_run_with_a_group_killed_at_a_system_call_is_completed_by_a_resume(project: Project, call: str) -> None:
    """Cases 1 and 45."""
    kill_at_some(project, call, 3)


@needs_strace
@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", CALLS)
def test_every_system_call_of_a_run_with_a_group(project: Project, call: str) -> None:
    """Cases 1 and 45, the long form."""
    kill_at_some(project, call, None)


# ------------------------------------------------------------------ all threads, while the group runs


def run_attached(project: Project, call: str, kill_at: int = 0) -> tuple[int, int]:
    """Run with every thread of the runner traced; return its exit code and the most calls that one of them made."""
    (project.path / "go").unlink(missing_ok=True)
    log = project.path.parent / "trace.txt"
    log.write_text("")
    inject = ["-e", f"inject={call}:signal=SIGKILL:when={kill_at}"] if kill_at else []
    runner = subprocess.Popen(
        program(*RUN),
        cwd=project.path,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for((project.path / "here").exists, what="step 00")
    threads = os.listdir(f"/proc/{runner.pid}/task")
    # The one that decides, and those that commit.
    assert len(threads) >= 2
    attach = [word for thread in threads for word in ("-p", thread)]
    tracer = subprocess.Popen(
        ["strace", "-o", str(log), *attach, "-e", f"trace={call}", *inject], stderr=subprocess.PIPE, text=True
    )
    try:
        assert tracer.stderr is not None
        for _ in threads:
            assert "attached" in tracer.stderr.readline()
        # Without -f: children are to outlive their runner.
        (project.path / "go").touch()
        code = runner.wait(timeout=30)
    finally:
        (project.path / "go").touch()
        runner.kill()
        runner.wait()
        tracer.terminate()
        if tracer.stderr is not None:
            tracer.stderr.close()
        tracer.wait()
    lines = log.read_text(errors="replace").splitlines()
    counts = Counter(line.split()[0] for line in lines if f"{call}(" in line)
    return code, max((counts[thread] for thread in threads), default=0)


def kill_attached_at_some(project: Project, call: str, most: int | None) -> None:
    write(project, "touch here; until [ -e go ]; do sleep 0.02; done; ")
    code, count = run_attached(project, call)
    assert code == 0
    assert count > 1, f"no thread of the runner makes {call} while a group runs"
    points = list(range(1, count + 1))
    chosen = points if most is None else sample(points, most)
    died = 0
    for at in chosen:
        start_over(project)
        (project.path / "here").unlink()
        code, _ = run_attached(project, call, kill_at=at)
        died += code == -signal.SIGKILL
        recovers_after(project, f"{call} number {at} of one of its threads")
    # How the threads share the work differs from run to run.
    assert died >= len(chosen) // 2


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("call", THREADED)
def test_a_group_killed_at_a_system_call_of_any_thread_is_completed_by_a_resume(project: Project, call: str) -> None:
    """Cases 1 and 45, the threads that make markers among them."""
    kill_attached_at_some(project, call, 2)


@needs_strace
@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", THREADED)
def test_every_system_call_of_any_thread_of_a_group(project: Project, call: str) -> None:
    """Cases 1 and 45, the long form."""
    kill_attached_at_some(project, call, None)


# ------------------------------------------------------------------ the twin by fault points


def die_at(project: Project, points: list[int], moment: str) -> int:
    died = 0
    for index in points:
        start_over(project)
        plan = f"any:{index}:die:{moment}"
        result = project.run(*RUN, env={"WORKFLOW_FAULT": plan})
        assert result.returncode in (KILLED, 0), f"{plan}: {result.stdout}{result.stderr}"
        recovers_after(project, f"WORKFLOW_FAULT={plan}")
        died += result.returncode == KILLED
    return died


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_group_killed_at_any_operation_is_completed_by_a_resume(project: Project, moment: str) -> None:
    """Cases 1 and 45, by fault points: a sample over the whole run."""
    write(project)
    count = len(operations_of(project, *RUN))
    assert count > 40
    points = sorted(chooser().sample(range(1, count + 1), 10))
    assert die_at(project, points, moment) > len(points) // 2


@pytest.mark.parametrize("times", [1, 2])
def test_a_group_whose_resume_is_killed_too_is_completed_by_the_next(project: Project, times: int) -> None:
    """Case 3: the second death comes while the group is under way again."""
    write(project)
    choice = chooser()
    count = len(operations_of(project, *RUN))
    start_over(project)
    project.run(*RUN, env={"WORKFLOW_FAULT": f"any:{choice.randrange(count // 2, count)}:die"})
    done: frozenset[int] = frozenset()
    for _ in range(times):
        left = what_is_left(project)
        assert done <= left.done
        done = left.done
        before = Counter(executions_of(project.path))
        words = ("resume",) if left.run else ("run", "--resume")
        project.run(*words, "-j", "2", env={"WORKFLOW_FAULT": f"any:{choice.randrange(1, 25)}:die"})
        after = Counter(executions_of(project.path))
        assert all(after[f"{number:02d}"] == before[f"{number:02d}"] for number in done)
    left = what_is_left(project)
    before = Counter(executions_of(project.path))
    result = resume(project, "-j", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    after = Counter(executions_of(project.path))
    assert what_is_left(project).done == frozenset(range(len(STEPS)))
    assert all(after[f"{number:02d}"] == before[f"{number:02d}"] for number in left.done)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_operation_of_a_run_with_a_group(project: Project, moment: str) -> None:
    """Cases 1 and 45, the long form: each operation, each side of it, several times over."""
    write(project)
    count = len(operations_of(project, *RUN))
    points = list(range(1, count + 1)) * (3 if IS_LONG else 1)
    died = die_at(project, points, moment)
    print(f"{died} of {len(points)} operations were the last of their runner")
    assert died > len(points) * 3 // 4
