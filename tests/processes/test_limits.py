"""Time limits: 124, no marker, and nothing lives on."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.cli.support import document, start_until
from tests.conftest import Project
from tests.processes.support import marked


def test_a_step_that_hangs_is_ended_at_its_limit(project: Project) -> None:
    """RELIABILITY 38: exit 124, the limit is named, its output is partial, and it runs again on resume."""
    with marked() as mark:
        project.step(0)
        project.step(1, f"#| timeout: 0.3s\n#| outputs: half.txt\necho x >half.txt\n{mark.command}")
        result = project.run("run")
        assert result.returncode == 124
        mark.wait_none()
        assert "error: step 01 s1 failed (attempt 1): ran out of time" in result.stderr
        assert "limit 0.3s" in result.stderr
        assert "half.txt" in result.stderr
        assert project.markers == [0]
        assert document(project.run("status", "--json"))["status"] == "failed"
        project.step(1)
        assert project.run("--resume", "-q").returncode == 0
        assert project.executions == ["00", "01"]


@pytest.mark.parametrize("ending", ["exit 0", "exit 3", "kill -KILL $$"])
def test_a_step_that_traps_term_is_out_of_time_all_the_same(project: Project, ending: str) -> None:
    """RELIABILITY 38: whatever its trap exits with; it may clean up."""
    with marked() as mark:
        project.step(0, f"#| timeout: 0.3s\ntrap 'echo bye >bye; {ending}' TERM\n{mark.command} & wait")
        assert project.run("-q").returncode == 124
        mark.wait_none()
        assert (project.path / "bye").exists()
        assert project.markers == []


@pytest.mark.slow
def test_a_step_that_ignores_term_is_killed_after_its_grace(project: Project) -> None:
    """RELIABILITY 34, 38: 5 s."""
    with marked() as mark:
        project.step(0, f"#| timeout: 0.3s\ntrap '' TERM INT\nwhile :; do {mark.command}; done")
        started = time.monotonic()
        assert project.run("-q").returncode == 124
        assert 5 <= time.monotonic() - started < 10
        mark.wait_none()


def test_a_run_has_a_limit_too(project: Project) -> None:
    with marked() as mark:
        project.file(
            "workflow.yaml",
            "limits: {time: 0.6s}\nsteps:\n"
            f"  - run: echo 00 >>ran.txt\n  - run: {mark.command}\n  - run: echo 02 >>ran.txt\n",
        )
        result = project.run()
        assert result.returncode == 124
        mark.wait_none()
        assert "out of time" in result.stdout + result.stderr
        assert project.markers == [0]
        assert project.executions == ["00"]


def test_a_step_within_its_limit_is_let_be(project: Project) -> None:
    project.step(0, "#| timeout: 20s\nsleep 0.2\necho 00 >>ran.txt")
    assert project.run("-q").returncode == 0


def test_time_in_which_the_runner_was_stopped_does_not_count(project: Project) -> None:
    """RELIABILITY 31: Ctrl-Z, a frozen container, a laptop that slept; and nobody takes the lock meanwhile."""
    project.step(0, "#| timeout: 2s\n: >here\nsleep 2.7\necho 00 >>ran.txt")
    process = start_until(project, "here", "run", "-q")
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.8)
    assert project.run("--resume").returncode == 75
    time.sleep(0.9)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(20) == 0, (project.path / "stderr.txt").read_text()
    assert project.executions == ["00"]
