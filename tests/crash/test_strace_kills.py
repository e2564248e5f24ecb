"""The runner killed by the kernel at the Nth system call of a kind, then resumed.

strace counts system calls for each thread by itself, so each thread gets its own table: the one that
decides is traced from its start, the one that commits is attached to while the first step waits. Only
these two are traced: steps and their worker shell live on when their runner is killed, as they would
after any kill -9, and the resume takes over what became of them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import (
    assert_recovers,
    kept_for_reuse,
    program,
    program_env,
    sample,
    start_over,
    wait_for,
    wait_for_orphans,
    what_is_left,
)

# Those that change what is on disk, and those that tell somebody something. No --seccomp-bpf anywhere
# below: with it strace drops injected signals without a word.
CALLS = ("rename", "fsync", "openat", "unlink", "mkdir", "pwrite64", "write")
COMMITS = ("rename", "fsync", "openat", "write")
STEPS = 5


def _why_not() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "-e", "inject=getpid:signal=SIGKILL:when=1000", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"strace cannot trace here: {tried.stderr.strip()[:100]}"


WHY_NOT = _why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")


def trace(project: Project, call: str, *words: str, kill_at: int = 0) -> tuple[int, list[str]]:
    """Run the program with its main thread traced; return its exit code and the calls it made, in order."""
    log = project.path.parent / "trace.txt"
    inject = ["-e", f"inject={call}:signal=SIGKILL:when={kill_at}"] if kill_at else []
    result = subprocess.run(
        ["strace", "-qq", "-o", str(log), "-e", f"trace={call}", *inject, *program(*words)],
        cwd=project.path,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return result.returncode, [line for line in log.read_text(errors="replace").splitlines() if f"{call}(" in line]


def points_of(project: Project, call: str, *words: str) -> list[int]:
    """Return the numbers of the calls that matter: all of them, of openat those that write."""
    code, lines = trace(project, call, *words)
    assert code == 0
    if call != "openat":
        return list(range(1, len(lines) + 1))
    return [at for at, line in enumerate(lines, 1) if re.search(r"O_WRONLY|O_RDWR|O_CREAT", line)]


def kill_and_recover(project: Project, call: str, at: int, *words: str) -> bool:
    """Kill the program at its Nth call and resume; return whether it lived to make that call."""
    code, _ = trace(project, call, *words, kill_at=at)
    assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
    try:
        assert_recovers(project, STEPS)
    except AssertionError as error:
        raise AssertionError(f"after kill -9 at {call} number {at} of `{' '.join(words)}`: {error}") from error
    return code != 0


def kill_run_at_some(project: Project, call: str, most: int | None) -> None:
    project.steps(STEPS)
    points = points_of(project, call, "run")
    assert points, f"a run makes no {call}"
    died = 0
    for at in points if most is None else sample(points, most):
        start_over(project)
        died += kill_and_recover(project, call, at, "run")
    # Which thread does what first differs a little from run to run: the very last may not come.
    assert died >= (len(points) if most is None else min(most, len(points))) - 2


def leave_half_done(project: Project) -> None:
    """Leave a run that was killed with some steps complete and others not."""
    project.steps(STEPS)
    for index in range(16, 40):
        project.run(env={"WORKFLOW_FAULT": f"rename:{index}:die"})
        wait_for_orphans(project)
        if 1 < len(what_is_left(project).done) < STEPS - 1:
            return
        start_over(project)
    raise AssertionError("no kill left the run half done")


def kill_resume_at_some(project: Project, beside: Path, call: str, most: int | None) -> None:
    leave_half_done(project)
    with kept_for_reuse(project, beside) as snapshot:
        points = points_of(project, call, "resume")
        for at in points if most is None else sample(points, most):
            snapshot.restore()
            kill_and_recover(project, call, at, "resume")


class Committing:
    """A run whose first step waits for a file, so that a tracer can be put on the thread that commits."""

    def __init__(self, project: Project) -> None:
        self.project = project
        project.step(0, "until [ -e go ]; do sleep 0.02; done\necho 00 >>ran.txt")
        for number in range(1, STEPS):
            project.step(number)

    def run(self, call: str, kill_at: int = 0) -> tuple[int, int]:
        """Run with that thread traced; return the runner's exit code and how many calls the thread made."""
        project = self.project
        (project.path / "go").unlink(missing_ok=True)
        log = project.path.parent / "trace.txt"
        log.write_text("")
        inject = ["-e", f"inject={call}:signal=SIGKILL:when={kill_at}"] if kill_at else []
        runner = subprocess.Popen(
            program("run"),
            cwd=project.path,
            env=program_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: list(project.path.glob(".checkpoints/*/logs/step_00.log")), what="step 00")
        wait_for(lambda: len(os.listdir(f"/proc/{runner.pid}/task")) == 2, what="the thread that commits")
        thread = next(task for task in os.listdir(f"/proc/{runner.pid}/task") if int(task) != runner.pid)
        tracer = subprocess.Popen(
            ["strace", "-o", str(log), "-p", thread, "-e", f"trace={call}", *inject],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            (project.path / "go").touch()
            code = runner.wait(timeout=30)
            tracer.wait(timeout=10)
        finally:
            (project.path / "go").touch()
            runner.kill()
            runner.wait()
            if tracer.stderr is not None:
                tracer.stderr.close()
            tracer.wait()
        lines = log.read_text(errors="replace").splitlines()
        return code, sum(f"{call}(" in line for line in lines)


def kill_commit_at_some(project: Project, call: str, most: int | None) -> None:
    committing = Committing(project)
    code, count = committing.run(call)
    assert code == 0
    assert count >= STEPS, f"the thread that commits made {count} calls of {call}"
    points = list(range(1, count + 1))
    died = 0
    chosen = points if most is None else sample(points, most)
    for at in chosen:
        start_over(project)
        code, _ = committing.run(call, kill_at=at)
        died += code == -signal.SIGKILL
        try:
            assert_recovers(project, STEPS)
        except AssertionError as error:
            raise AssertionError(f"after kill -9 at {call} number {at} of the committing thread: {error}") from error
    assert died >= len(chosen) - 1


@pytest.mark.parametrize("call", CALLS)
def test_a_run_killed_at_a_system_call_is_completed_by_a_resume(project: Project, call: str) -> None:
    """Cases 1 and 24: no completed step runs again, none is lost, the lock of the dead needs no help."""
    kill_run_at_some(project, call, 3)


@pytest.mark.parametrize("call", COMMITS)
def test_a_commit_killed_at_a_system_call_is_completed_by_a_resume(project: Project, call: str) -> None:
    """Case 1, in the thread that makes markers."""
    kill_commit_at_some(project, call, 3)


@pytest.mark.parametrize("call", ["rename", "fsync", "openat", "pwrite64"])
def test_a_resume_killed_at_a_system_call_is_completed_by_the_next(project: Project, tmp_path: Path, call: str) -> None:
    """Case 3."""
    kill_resume_at_some(project, tmp_path, call, 3)


def test_the_step_in_flight_outlives_its_runner_and_is_not_repeated(project: Project) -> None:
    """Case 1: the worker shell is not killed with the runner; the resume adopts what it did."""
    project.steps(STEPS)
    code, lines = trace(project, "pwrite64", "run", kill_at=3)
    assert code != 0
    assert len(lines) == 3
    time.sleep(0.1)
    assert_recovers(project, STEPS)
    assert sorted(project.executions) == [f"{number:02d}" for number in range(STEPS)]


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", CALLS)
def test_every_system_call_of_a_run(project: Project, call: str) -> None:
    """Case 1, the long form."""
    kill_run_at_some(project, call, None)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", [*COMMITS, "rmdir"])
def test_every_system_call_of_the_commits(project: Project, call: str) -> None:
    """Case 1, the long form, in the thread that makes markers."""
    kill_commit_at_some(project, call, None)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", CALLS)
def test_every_system_call_of_a_resume(project: Project, tmp_path: Path, call: str) -> None:
    """Case 3, the long form."""
    kill_resume_at_some(project, tmp_path, call, None)
