"""Who has the run in hand, seen from `sh resume.sh`: locks, holders, and steps that outlived their runner."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.shell.conftest import Resuming, failing_at, marker_of, require_program, wait_until

pytestmark = pytest.mark.usefixtures("needs_flock")


def kill_all_with(mark: bytes) -> int:
    """Kill every process that has `mark` in its environment; return how many there were."""
    killed = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
                killed += 1
        except OSError:  # ended meanwhile, or not ours
            continue
    return killed


# ---------------------------------------------------------------- one at a time


def test_it_is_busy_while_a_runner_holds_the_run(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "touch runs; sleep 60")
    runner = project.start()
    try:
        wait_until((project.path / "runs").exists, "the step runs")
        done = posix_resuming.run()
    finally:
        runner.terminate()
        runner.wait(20)
    assert done.returncode == 75
    assert f"is being run by process {runner.pid} on {os.uname().nodename}" in done.stderr


def test_the_runner_is_busy_while_resume_sh_holds_the_run(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "test -e first || { touch first; exit 1; }\ntouch runs; sleep 60")
    assert project.run().returncode == 1
    process = posix_resuming.start()
    wait_until((project.path / "runs").exists, "the step runs")
    done = project.run("resume", project.newest_run.name)
    second = Resuming(project, posix_resuming.shell)
    assert second.run().returncode == 75
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == 143
    assert done.returncode == 75
    assert f"process {process.pid}" in done.stderr
    assert "resume.sh" in done.stderr


def test_a_run_that_another_machine_may_hold_is_refused(project: Project, sh_resuming: Resuming) -> None:
    failing_at(project, 0, 1)
    run = project.newest_run
    inode = run.stat().st_ino
    (run / "state/run.holder").write_text(
        f"HOST=elsewhere\nBOOT_ID=other\nPID=7\nPROCESS_STARTED=1\nSINCE=now\nRUN_INODE={inode}\nCOMMAND=workflow%20run\n"
    )
    done = sh_resuming.run()
    assert done.returncode == 75
    assert "another machine" in done.stderr
    (run / "state/run.holder").unlink()
    (project.path / "go").touch()
    assert sh_resuming.run().returncode == 0


def test_without_lock_works_where_nothing_else_does(project: Project, posix_resuming: Resuming, tmp_path: Path) -> None:
    failing_at(project, 0, 1)
    (project.path / "go").touch()
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    tools = "cat cksum sync sed grep date mv rm mkdir ls tail wc sort tr uname sleep dirname sh"
    for tool in tools.split():
        (bin_dir / tool).symlink_to(require_program(tool))
    environment = {"PATH": str(bin_dir)}
    done = posix_resuming.run(env=environment)
    if done.returncode != 0:  # a busybox may have a flock of its own
        assert done.returncode == 125
        assert "no flock(1)" in done.stderr
        done = posix_resuming.run("--without-lock", env=environment)
    assert done.returncode == 0, done.stderr
    assert project.markers == [0]


# ---------------------------------------------------------------- steps that outlived their runner


def test_a_step_whose_resume_sh_was_killed_is_adopted_by_the_next_one(
    project: Project, posix_resuming: Resuming
) -> None:
    project.step(0, "test -e first || { touch first; exit 1; }\necho 00 >>ran.txt; sleep 0.8")
    assert project.run().returncode == 1
    process = posix_resuming.start()
    wait_until((project.path / "ran.txt").exists, "the step runs")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = posix_resuming.run()
    assert done.returncode == 0, done.stderr
    assert "still runs, started by a runner that died" in done.stdout
    assert "that outcome is taken over" in done.stdout
    assert project.executions == ["00"]
    assert project.markers == [0]


def test_a_step_whose_runner_was_killed_is_adopted(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "echo 00 >>ran.txt; sleep 0.8")
    project.step(1)
    runner = project.start()
    wait_until((project.path / "ran.txt").exists, "the step runs")
    runner.kill()
    runner.wait()
    done = posix_resuming.run()
    assert done.returncode == 0, done.stderr
    assert "step 00 s0 ended with 0 after its runner had died; that outcome is taken over" in done.stdout
    assert project.executions == ["00", "01"]
    assert marker_of(project, 0).epoch == 1


def test_the_runner_adopts_a_step_whose_resume_sh_was_killed(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "test -e first || { touch first; exit 1; }\necho 00 >>ran.txt; sleep 0.8")
    assert project.run().returncode == 1
    process = posix_resuming.start()
    wait_until((project.path / "ran.txt").exists, "the step runs")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = project.run("resume")
    assert done.returncode == 0, done.stderr
    assert "completed after its runner had died" in done.stdout + done.stderr
    assert project.executions == ["00"]


def test_a_step_that_died_with_its_runner_runs_again(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, "echo 00.$WORKFLOW_ATTEMPT >>ran.txt; test -e go || { touch runs; sleep 60; }")
    runner = project.start()
    wait_until((project.path / "runs").exists, "the step runs")
    runner.kill()
    runner.wait()
    (project.path / "go").touch()
    mark = os.fsencode(f"WORKFLOW_RUN_DIR={project.newest_run}")
    wait_until(lambda: not kill_all_with(mark), "the worker and its step are gone")
    assert posix_resuming.run().returncode == 0
    assert len(project.executions) == 2
    assert project.markers == [0]
