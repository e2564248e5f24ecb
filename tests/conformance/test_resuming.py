"""Resuming keeps the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.conformance.test_files import wait_for
from tests.conftest import Project


def tree(path: Path) -> list[tuple[str, bytes]]:
    return sorted((str(it), it.read_bytes()) for it in path.rglob("*") if it.is_file())


def stop_in_step(project: Project, number: signal.Signals) -> int:
    project.step(0)
    project.step(1, "echo 01 >>ran.txt; [ -e mended ] || { echo >started; sleep 60; }")
    project.step(2)
    runner = project.start("run")
    wait_for(project.path / "started")
    runner.send_signal(number)
    return runner.wait(20)


def test_s1_s41_s48_ctrl_c_pauses_a_run_that_can_be_looked_at_and_resumed(project: Project) -> None:
    assert stop_in_step(project, signal.SIGINT) == 130
    assert json.loads(project.run("status", "--json").stdout)["status"] == "paused"
    assert project.markers == [0]
    project.file("mended", "")
    assert project.run("--resume").returncode == 0
    assert project.executions == ["00", "01", "01", "02"]


def test_s15_from_task_runs_that_step_and_those_after_it(project: Project) -> None:
    project.steps(4)
    project.run()
    assert project.run("run", "--resume", project.newest_run.name, "--from-task", "2").returncode == 0
    assert project.executions == ["00", "01", "02", "03", "02", "03"]


def test_s16_skip_failed_goes_on_past_the_failure_and_says_so_in_its_exit_code(project: Project) -> None:
    project.steps(3)
    project.step(1, "echo 01 >>ran.txt; exit 1")
    project.run()
    assert project.run("--resume", "--skip-failed").returncode == 1
    assert project.executions == ["00", "01", "02"]
    assert project.markers == [0, 2]


def test_s17_retry_failed_runs_the_failed_step_and_nothing_else(project: Project) -> None:
    project.steps(3)
    project.step(1, "echo 01 >>ran.txt; test -e mended")
    project.run()
    project.file("mended", "")
    assert project.run("--resume", "--retry-failed").returncode == 0
    assert project.executions == ["00", "01", "01"]


def test_s19_s55_what_changed_is_named_and_runs_again_only_when_asked(project: Project) -> None:
    project.steps(4)
    project.step(3, "test -e mended")
    project.run()
    project.step(1, "echo new >>ran.txt")
    project.file("mended", "")
    ended = project.run("--resume")
    assert "01" in ended.stderr + ended.stdout
    assert "script-changed" in ended.stderr + ended.stdout
    assert project.executions == ["00", "01", "02"]
    assert project.run("--resume", project.newest_run.name, "--revalidate").returncode == 0
    assert project.executions == ["00", "01", "02", "new", "02"]


def test_s20_force_ignores_what_there_is_and_starts_fresh(project: Project) -> None:
    project.step(0, "echo 00 >>ran.txt; exit 1")
    project.run()
    project.run("run", "--resume", "--force")
    assert len(project.runs) == 2


def test_s25_resume_with_nothing_to_resume_starts_a_new_run_and_says_so(project: Project) -> None:
    project.steps(1)
    ended = project.run("--resume")
    assert ended.returncode == 0
    assert "nothing to resume" in ended.stdout + ended.stderr
    assert project.markers == [0]


def test_s58_a_resume_that_fails_exits_with_a_code(project: Project) -> None:
    project.step(0, "exit 1")
    assert project.run().returncode == 1
    assert project.run("--resume").returncode == 1


def test_f1_r12_f27_work_goes_on_after_kill_9_and_no_step_needs_to_know(project: Project) -> None:
    stop_in_step(project, signal.SIGKILL)
    status = json.loads(project.run("status", "--json").stdout)
    assert status["status"] in ("paused", "created")
    project.file("mended", "")
    assert project.run("--resume", "--end-running").returncode == 0
    assert project.executions == ["00", "01", "01", "02"]


def test_f20_a_dry_run_of_a_resume_says_what_would_run_and_writes_nothing(project: Project) -> None:
    project.steps(2)
    project.step(1, "exit 1")
    project.run()
    before = tree(project.path)
    said = project.run("resume", "--dry-run")
    assert said.returncode == 0
    assert "01" in said.stdout
    assert tree(project.path) == before


def test_f21_force_on_a_resume_asks_nothing_and_resumes(project: Project) -> None:
    project.step(0)
    project.step(1, "test -e mended")
    project.run()
    project.file("mended", "")
    assert project.run("resume", "--force").returncode == 0
    assert len(project.runs) == 1


def test_r28_a_checkpoint_directory_moved_away_and_linked_back_works(project: Project) -> None:
    project.steps(2)
    project.step(1, "echo 01 >>ran.txt; test -e mended")
    project.run()
    elsewhere = project.path.parent / "elsewhere"
    (project.path / ".checkpoints").rename(elsewhere)
    (project.path / ".checkpoints").symlink_to(elsewhere)
    project.file("mended", "")
    assert project.run("--resume").returncode == 0
    assert project.executions == ["00", "01", "01"]
