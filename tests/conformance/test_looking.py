"""Looking at runs keeps the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.support import document, end_orphans, hanging_step, kill, killed_in, start_until
from tests.cli.support import wait_for as until
from tests.conformance.test_files import wait_for
from tests.conftest import Project, clean_env
from tests.keeping.looking_support import abandon, complete_run, failed_run, snapshot
from workflow.checkpoint.layout import LIBRARY

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")


def status(project: Project, *words: str) -> str:
    return str(document(project.run("status", *words, "--json"))["status"])


def shell(project: Project, command: str) -> str:
    """Run a command line as it stands in the manuals, with `workflow` in the PATH; return what it prints."""
    program = project.file("bin/workflow", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m workflow "$@"\n')
    program.chmod(0o755)
    env = clean_env({"PATH": f"{program.parent}:{os.environ['PATH']}"})
    result = subprocess.run(
        ["sh", "-c", command], cwd=project.path, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---------------------------------------------------------------- F: missions


@pytest.mark.parametrize("verb", ["list", "ls"])
def test_f8_f9_the_checkpoints_of_a_run_are_listed(project: Project, verb: str) -> None:
    run = failed_run(project)
    number = snapshot(run, "manual", "mine")
    said = shell(project, f"workflow checkpoints {verb} {run.name}")
    assert f"{run.name}@{number}  manual" in said


def test_f10_f13_show_prints_trigger_progress_steps_locks_messages_and_recovery(project: Project) -> None:
    run = failed_run(project)
    number = snapshot(run, "error")
    said = shell(project, f"workflow checkpoints show {run.name}@{number}")
    for words in ("trigger: error", "50%", "steps captured: 4", "locks to hold again: 1", "pending approvals"):
        assert words in said
    assert "recovery context\n  workers to restore: 1 for step 02" in said


@needs_jq
def test_f11_f28_f32_the_recovery_context_pipes_into_jq(project: Project) -> None:
    run = failed_run(project)
    context = json.loads(shell(project, f"workflow checkpoints show {run.name} --json | jq .recovery_context"))
    assert context == {
        "agents_to_restore": [{"worker": 1, "step": "02"}],
        "tasks_to_resume": ["02", "03"],
        "locks_to_restore": ["db"],
        "environment": {"mission_variables": {}, "shared_state": {"V": "1"}},
    }


def test_f12_latest_is_the_most_recent_checkpoint(project: Project) -> None:
    run = failed_run(project)
    snapshot(run)
    number = snapshot(run)
    assert f"snapshot {run.name}@{number}" in shell(project, f"workflow checkpoints latest {run.name}")


def test_f22_f31_the_dry_run_counts_what_is_recovered_and_says_why_it_failed(project: Project) -> None:
    run = failed_run(project)
    said = shell(project, f"workflow resume --mission {run.name} --dry-run")
    assert "1 worker to restore, 2 steps to resume, 1 lock to re-establish, 1 approval to wait for" in said
    assert "02 flaky   never-run: last time: exit code 1" in said


def test_f23_workers_take_up_what_they_had_in_hand_with_the_state_it_had(project: Project) -> None:
    before = 'echo "seen: $(cat "$WORKFLOW_STATE/kept" 2>/dev/null)" >>seen.txt; echo mine >"$WORKFLOW_STATE/kept"'
    project.step(0)
    hanging_step(project, 1, before=before)
    killed_in(project, 1)
    plan = document(project.run("resume", "--dry-run", "--json"))
    assert [it["step"] for it in plan["recovery"]["workers"]][-1:] == ["01"]
    (project.path / "go").touch()
    assert project.run("resume", "-q").returncode == 0
    assert (project.path / "seen.txt").read_text().splitlines() == ["seen: ", "seen: mine"]


def test_f30_an_empty_list_says_that_none_was_made_yet_and_how_to_start(project: Project) -> None:
    said = shell(project, "workflow checkpoints list")
    assert "there are no runs" in said
    assert "workflow run" in said


# ---------------------------------------------------------------- S: builds


def test_s5_several_runs_go_on_side_by_side(project: Project) -> None:
    project.step(0, ": >here_$WORKFLOW_RUN_ID; until [ -e go ]; do sleep 0.05; done")
    runners = [project.start("run") for _ in range(2)]
    until(lambda: len(list(project.path.glob("here_*"))) == 2)
    entries = document(project.run("checkpoint", "list", "--status", "in_progress", "--json"))
    assert [entry["marks"] for entry in entries] == [["live"], ["live"]]
    (project.path / "go").touch()
    assert [runner.wait(20) for runner in runners] == [0, 0]


def test_s18_validate_checks_before_anything_is_resumed(project: Project) -> None:
    run = failed_run(project)
    (run / "state/step_01_state.json").write_bytes(b"{")
    result = project.run("run", "--resume", "--validate")
    assert result.returncode == 3
    assert "checkpoint validation failed" in result.stderr
    assert project.executions == ["build", "plain", "flaky"]


def test_s26_runs_are_listed_by_status_as_table_and_json(project: Project) -> None:
    run = failed_run(project)
    assert run.name in shell(project, "workflow checkpoint list --status failed --format table")
    assert json.loads(shell(project, "workflow checkpoint list --status completed --format json")) == []
    assert [it["run_id"] for it in json.loads(shell(project, "workflow checkpoint list --format json"))] == [run.name]


def test_s27_s28_a_run_is_shown_by_id_or_as_the_last(project: Project) -> None:
    run = failed_run(project)
    by_id = json.loads(shell(project, f"workflow checkpoint show {run.name} --format json"))
    last = json.loads(shell(project, "workflow checkpoint show --last --format json"))
    assert by_id == last
    assert by_id["run_id"] == run.name


def test_s29_r30_validate_makes_five_checks_with_a_tick_each(project: Project) -> None:
    run = failed_run(project)
    result = project.run("checkpoint", "validate", run.name, env={"PYTHONUTF8": "1"})
    assert result.returncode == 0
    assert result.stdout.splitlines()[:5] == [
        "✓ Metadata valid",
        "✓ State file valid",
        "✓ Progress tracking valid",
        "✓ All output files present",
        "✓ Hashes match",
    ]
    (run / "state/step_01_state.json").write_bytes(b"{}")
    result = project.run("checkpoint", "validate", "-v", env={"PYTHONUTF8": "1"})
    assert result.returncode == 3
    assert "✗ state/step_01_state.json" in result.stdout


def test_s40_s42_s43_a_run_goes_from_in_progress_to_failed_to_retrying_to_completed(project: Project) -> None:
    hanging_step(project, 0)
    project.step(1, "[ -e mended ]")
    hanging_step(project, 2)
    runner = start_until(project, "here_00", "run")
    assert status(project) == "in_progress"
    (project.path / "go").touch()
    assert runner.wait(20) == 1
    assert status(project) == "failed"
    project.file("mended", "")
    (project.path / "go").unlink()
    runner = start_until(project, "here_02", "resume", "--force")
    assert status(project) == "retrying"
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    assert status(project) == "completed"


def test_s40_a_run_that_started_nothing_is_created_and_one_that_was_cut_off_is_paused(project: Project) -> None:
    project.steps(2)
    # README, .gitignore, holder, epoch, steps.sh, resume.sh, lib/, and then workflow.json: it dies with that in place.
    project.run(env={"WORKFLOW_FAULT": f"rename:{7 + len(LIBRARY)}:die:after"})
    assert (project.newest_run / "workflow.json").exists()
    assert status(project) == "created"
    assert document(project.run("checkpoint", "list", "--json"))[0]["status"] == "created"
    hanging_step(project, 0)
    kill(start_until(project, "here_00", "run"))
    end_orphans(project)
    assert status(project) == "paused"


def test_s44_an_abandoned_run_stays_and_is_passed_over_until_it_is_named(project: Project) -> None:
    run = failed_run(project)
    abandon(run)
    assert status(project) == "abandoned"
    assert project.run("resume").returncode == 3
    assert project.run("resume", run.name, "-q").returncode == 1
    assert status(project) == "failed"


def test_s52_m22_a30_a_checkpoint_that_is_not_there_lists_those_that_are(project: Project) -> None:
    run = failed_run(project)
    wrong = "workflow_20200101_000000"
    for words in (("checkpoint", "show", wrong), ("checkpoint", "validate", wrong), ("checkpoint", "list", wrong)):
        result = project.run(*words)
        assert result.returncode == 3
        assert f"there is no run {wrong}" in result.stderr
        assert run.name in result.stderr


def test_a30_what_is_wrong_with_a_run_is_said_where_it_is_and_what_helps(project: Project) -> None:
    run = failed_run(project)
    (run / "workflow.json").write_bytes(b"{")
    for words in (("status", run.name), ("checkpoint", "show", run.name), ("resume", run.name)):
        result = project.run(*words)
        assert result.returncode == 3
        assert "workflow.json" in result.stderr
        assert "help: " in result.stderr


def test_a23_a_resume_validates_and_keeps_aside_what_does_not_count(project: Project) -> None:
    run = failed_run(project)
    project.file("mended", "")
    (run / "step_01.complete").write_bytes(b"STEP=1\n")
    result = project.run("resume", "-q")
    assert result.returncode == 4
    assert (run / "step_01.complete.damaged").exists()
    assert project.executions[3:] == ["plain", "flaky"]


def test_s53_a_hash_that_does_not_match_is_said_and_a_fresh_run_helps(project: Project) -> None:
    run = failed_run(project)
    project.file("out.txt", "something else\n")
    result = project.run("resume", "--validate")
    assert result.returncode == 3
    assert "checkpoint validation failed" in result.stderr
    assert "Hashes match" in result.stderr
    assert project.run("run", "--force", "-q").returncode == 1
    assert project.newest_run != run


@needs_jq
def test_s64_s65_progress_is_polled_while_the_run_goes_on(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    query = (
        "{status, completed: .completed_tasks, total: .total_tasks,"
        " progress: (.completed_tasks / .total_tasks * 100 | round)}"
    )
    said = json.loads(shell(project, f"workflow checkpoint show --last --format json | jq '{query}'"))
    assert said == {"status": "in_progress", "completed": 1, "total": 2, "progress": 50}
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    said = json.loads(shell(project, f"workflow checkpoint show --last --format json | jq '{query}'"))
    assert said == {"status": "completed", "completed": 2, "total": 2, "progress": 100}


# ---------------------------------------------------------------- R and M


def test_r15_the_state_of_a_run_can_be_read_in_python(project: Project) -> None:
    run = failed_run(project)
    state: dict[str, Any] = json.loads((run / "checkpoint.json").read_text())
    assert state["status"] == "failed"
    assert state["current_step"] == 2
    assert state["started_at"].endswith("Z")
    step = json.loads((run / "state/step_02_state.json").read_text())
    assert (step["name"], step["exit_code"]) == ("flaky", 1)


def test_r29_invalid_data_falls_back_to_an_earlier_run_and_says_so(project: Project) -> None:
    earlier, newest = failed_run(project), failed_run(project)
    (newest / "workflow.json").write_bytes(b"{")
    project.file("mended", "")
    result = project.run("--resume")
    said = result.stdout + result.stderr
    assert f"passed over {newest.name}" in said
    assert f"resuming {earlier.name}" in said


def test_m19_progress_history_and_storage_can_be_watched(project: Project) -> None:
    run = complete_run(project)
    snapshot(run)
    shown = document(project.run("checkpoint", "show", "--json"))
    assert shown["progress_percent"] == 100.0
    assert shown["size_bytes"] == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    history = document(project.run("checkpoint", "list", run.name, "--json"))
    assert len(history) == shown["snapshots"] >= 1


def test_s42_what_was_interrupted_is_paused_and_what_failed_is_failed_and_both_resume(project: Project) -> None:
    project.step(0, "[ -e mended ] || { echo >started; sleep 60; }")
    runner = project.start("run")
    wait_for(project.path / "started")
    runner.send_signal(signal.SIGINT)
    assert runner.wait(20) == 130
    assert status(project) == "paused"
    project.step(0, "[ -e mended ]")
    assert project.run("resume", "-q").returncode == 1
    assert status(project) == "failed"
    project.file("mended", "")
    assert project.run("resume", "-q").returncode == 0
    assert status(project) == "completed"
