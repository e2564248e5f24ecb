"""Checkpoints that are damaged, foreign, busy or not writable: nothing false is believed, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from tests.cli.support import (
    assert_helped,
    assert_refused,
    document,
    end_orphans,
    hanging_step,
    kill,
    start_until,
    tree,
)
from tests.conftest import Project
from workflow.checkpoint import records


def done(project: Project) -> str:
    project.steps(3)
    assert project.run("-q").returncode == 0
    return project.newest_run.name


DAMAGE = {
    "empty": lambda data: b"",
    "torn": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "one bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "of the original layout only": lambda data: (
        b"STEP=1\nCOMPLETED_AT=2026-11-20T17:16:42Z\nDURATION_SECONDS=72\nEXIT_CODE=0\n"
    ),
    "of another step": lambda data: data.replace(b"STEP=1\n", b"STEP=2\n", 1),
    "a shell program": lambda data: data + b"touch owned\n",
    "no text": lambda data: os.urandom(400),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_marker_counts_as_not_done_and_is_kept_aside(project: Project, how: str) -> None:
    """RELIABILITY 10, 11, 13, A31, R29: said, kept beside, never trusted, never deleted."""
    done(project)
    marker = project.newest_run / "step_01.complete"
    marker.write_bytes(DAMAGE[how](marker.read_bytes()))
    spoilt = marker.read_bytes()
    assert document(project.run("status", "--json"))["status"] != "completed"
    result = project.run("--resume")
    assert result.returncode == 0, result.stderr
    assert "marker of step 01" in result.stderr
    assert "step_01.complete.damaged" in result.stderr
    assert (project.newest_run / "step_01.complete.damaged").read_bytes() == spoilt
    assert project.executions == ["00", "01", "02", "01"]
    assert not (project.path / "owned").exists()


def test_a_marker_of_another_run_counts_for_nothing(project: Project) -> None:
    done(project)
    first = project.newest_run
    project.step(1, "exit 1")
    project.run("-q")
    shutil.copy(first / "step_01.complete", project.newest_run)
    assert document(project.run("status", "--json"))["completed_steps"] == [0]


def test_a_missing_checkpoint_json_is_rebuilt_from_the_markers(project: Project) -> None:
    """RELIABILITY 14: said so, and nothing runs again."""
    run_id = done(project)
    master = project.newest_run / "checkpoint.json"
    for content in (None, "", "{", '{"version": "3.0.0"}', "[" * 20000):
        master.unlink() if content is None else master.write_text(content)
        result = project.run("resume", run_id)
        assert result.returncode == 0, result.stderr
        assert json.loads(master.read_text())["completed_steps"] == [0, 1, 2]
        if content != '{"version": "3.0.0"}':
            assert "checkpoint.json" in result.stderr
    assert project.executions == ["00", "01", "02"]


def test_a_damaged_state_of_a_complete_step_is_said_and_the_step_stays_complete(project: Project) -> None:
    run_id = done(project)
    (project.newest_run / "state/step_01_state.json").write_text("{")
    result = project.run("resume", run_id)
    assert result.returncode == 0, result.stderr
    assert "state of step 01" in result.stderr
    assert project.executions == ["00", "01", "02"]


def test_a_lost_state_with_published_values_makes_its_step_run_again(project: Project) -> None:
    """Later steps would miss what it published: completed without its values is not complete."""
    project.step(0, 'echo 00 >>ran.txt\necho "A=1" >>"$WORKFLOW_OUTPUT"')
    project.step(1, '[ -e ok ] && [ "$A" = 1 ]')
    project.run("-q")
    (project.newest_run / "state/step_00_state.json").unlink()
    project.file("ok", "")
    result = project.run("--resume")
    assert result.returncode == 0, result.stderr
    assert "runs again" in result.stderr
    assert project.executions == ["00", "00"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "3.0.0", "definition": 7}'])
def test_a_damaged_definition_is_refused_and_kept(project: Project, content: str) -> None:
    """Exit 3; `--resume` without a name passes over it and says so."""
    run_id = done(project)
    (project.newest_run / "workflow.json").write_text(content)
    before = tree(project.newest_run)
    for words in (["status"], ["logs"], ["resume", run_id], ["mark", run_id, "1", "--done"]):
        assert_helped(project.run(*words), 3, "workflow.json")
    assert tree(project.newest_run) == before


def test_a_newer_format_is_refused_with_what_can_read_it(project: Project) -> None:
    """RELIABILITY 68."""
    run_id = done(project)
    path = project.newest_run / "workflow.json"
    newer = {**json.loads(path.read_text()), "version": "9.0.0"}
    newer.pop("checksum", None)
    path.write_bytes(records.encode_document(newer))
    assert_helped(project.run("resume", run_id), 3, "9.", "newer")


def test_a_second_runner_is_turned_away_at_once_and_told_who_is_there(project: Project) -> None:
    """RELIABILITY 22, A26: exit 75 within a second."""
    project.step(0)
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    run_id = project.newest_run.name
    floor = time.monotonic()
    project.run("--version")
    floor = time.monotonic() - floor
    for words in (["--resume"], ["resume", run_id]):
        started = time.monotonic()
        result = project.run(*words)
        assert time.monotonic() - started - floor < 1.0
        assert_helped(result, 75, run_id, f"process {process.pid}", "workflow run")
    project.file("go", "")
    assert process.wait(20) == 0
    assert project.executions == ["00", "01"]


def test_a_second_run_of_the_same_project_is_no_second_runner(project: Project) -> None:
    """S5: several runs side by side, each with a directory of its own."""
    hanging_step(project, 0)
    process = start_until(project, "here_00", "run")
    project.script("other/step_00_x.sh", "echo other >>ran.txt\n")
    assert project.run("run", "other", "-q").returncode == 0
    project.file("go", "")
    assert process.wait(20) == 0
    assert sorted(project.executions) == ["00", "other"]


def test_a_step_that_outlived_its_runner_is_waited_for_and_its_outcome_taken(project: Project) -> None:
    """Hours of work are not repeated; --end-running ends it instead."""
    hanging_step(project, 0)
    project.step(1)
    kill(start_until(project, "here_00", "run"))
    resumed = project.start("--resume")
    time.sleep(0.3)
    assert resumed.poll() is None
    project.file("go", "")
    assert resumed.wait(20) == 0
    assert project.executions == ["00", "01"]
    assert "taken over" in (project.path / "stderr.txt").read_text()


def test_a_step_that_outlived_its_runner_is_ended_on_demand(project: Project) -> None:
    hanging_step(project, 0)
    kill(start_until(project, "here_00", "run"))
    result = project.run("--resume", "--end-running", "--only", "0", "--dry-run")
    assert result.returncode == 0
    project.step(0)
    result = project.run("--resume", "--end-running")
    assert result.returncode == 0, result.stderr
    assert "ending step" in result.stderr
    assert project.executions == ["00"]
    end_orphans(project)


def test_checkpoints_behind_a_link_work(project: Project) -> None:
    """R28: the disk was full, so the directory was moved and linked back."""
    project.step(0)
    project.step(1, "[ -e ok ] && echo 01 >>ran.txt")
    project.run("-q")
    elsewhere = project.path.with_name("big disk")
    shutil.move(project.path / ".checkpoints", elsewhere)
    (project.path / ".checkpoints").symlink_to(elsewhere)
    assert project.run("status").returncode == 0
    project.file("ok", "")
    result = project.run("--resume")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["00", "01"]
    assert (project.path / ".checkpoints").is_symlink()
    assert project.run("-q").returncode == 0
    assert len(list(elsewhere.glob("workflow_*"))) == 2


def test_a_run_directory_that_is_a_link_is_refused(project: Project) -> None:
    """RELIABILITY 79."""
    run_id = done(project)
    real = project.path.with_name("planted")
    shutil.move(project.newest_run, real)
    (project.path / ".checkpoints" / run_id).symlink_to(real)
    before = tree(real)
    for words in (["resume", run_id], ["status", run_id], ["logs", run_id], ["mark", run_id, "0", "--pending"]):
        assert_refused(project.run(*words), 3, run_id, "link")
    assert tree(real) == before


def test_a_run_directory_that_everybody_may_write_into_is_refused(project: Project) -> None:
    """RELIABILITY 79."""
    run_id = done(project)
    project.newest_run.chmod(0o777)
    assert_helped(project.run("resume", run_id), 3, run_id, "chmod")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_run_directory_of_somebody_else_is_refused(project: Project) -> None:
    """RELIABILITY 79."""
    run_id = done(project)
    os.chown(project.newest_run, 12345, 12345)
    assert_helped(project.run("resume", run_id), 3, run_id, "12345")


def test_a_checkpoint_directory_that_cannot_be_made_fails_before_the_first_step(project: Project) -> None:
    """RELIABILITY 17: exit 125, nothing ran."""
    project.steps(1)
    project.file("blocked", "a file where a directory should be\n")
    for where in ("blocked", "blocked/inside", "/proc/nowhere"):
        assert_helped(project.run("--checkpoint-dir", where), 125, where.partition("/")[0] or "/proc")
    assert project.executions == []


def test_deleting_runs_by_hand_is_safe(project: Project) -> None:
    """A16, A33: every run stands by itself."""
    done(project)
    project.run("-q")
    shutil.rmtree(project.runs[0])
    assert project.run("status").returncode == 0
    shutil.rmtree(project.path / ".checkpoints/cache")
    assert project.run("resume", project.newest_run.name).returncode == 0
    shutil.rmtree(project.path / ".checkpoints")
    assert project.run("--resume", "-q").returncode == 0
    assert len(project.runs) == 1


def test_a_run_that_died_before_it_wrote_anything_is_passed_over(project: Project) -> None:
    run_id = done(project)
    empty = project.path / ".checkpoints/workflow_20990101_000000"
    empty.mkdir()
    assert_helped(project.run("resume", empty.name), 3, empty.name, "workflow.json")
    assert run_id in project.run("status").stdout + project.run("status").stderr
    assert project.run("resume").returncode == 0
