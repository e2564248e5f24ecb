"""`checkpoint repair` killed by the kernel at its Nth system call that changes anything, then repaired again."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import Project, markers_of
from tests.crash.test_strace_kills import WHY_NOT, trace
from tests.keeping.test_repairing import broken_run, put_back

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")
CALLS = ("rename", "fsync", "unlink", "write")


def kill_at_each(project: Project, call: str, most: int | None) -> None:
    run = broken_run(project)
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, lines = trace(project, call, "checkpoint", "repair")
    assert code == 0
    assert lines, f"a repair makes no {call}"
    points = range(1, len(lines) + 1)
    for at in points if most is None else points[:: max(1, len(points) // most)]:
        put_back(run, kept)
        code, _ = trace(project, call, "checkpoint", "repair", kill_at=at)
        assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
        result = project.run("checkpoint", "repair")
        assert result.returncode == 0, f"after kill -9 at {call} {at}: {result.stdout}{result.stderr}"
        assert markers_of(run) == [0, 2]
        assert not list(run.rglob(".tmp-*"))
        assert project.run("checkpoint", "validate").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_repair_killed_at_some_calls_is_done_by_the_next(project: Project, call: str) -> None:
    kill_at_each(project, call, 2)


@pytest.mark.proof
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("call", CALLS)
def test_a_repair_killed_at_every_call_is_done_by_the_next(project: Project, call: str) -> None:
    kill_at_each(project, call, None)
