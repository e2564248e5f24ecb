"""Clearing old runs, as the documents we adopt promise it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from tests.cli.support import assert_helped, document, hanging_step, start_until
from tests.conftest import Project
from tests.keeping.old_runs import completed, copied, failed, may_fail, touched
from tests.processes.support import terminal
from workflow.definition import schemas

DAY_S = 86400.0


def snapshots(run: Path, ages_days: list[float]) -> list[Path]:
    """Put snapshots into a run that were made so many days ago."""
    directory = run / "snapshots"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    made = []
    for number, days in enumerate(ages_days, 1):
        path = directory / f"{number:04d}_manual.json"
        path.write_text("{}\n")
        at = time.time() - days * DAY_S
        os.utime(path, (at, at))
        made.append(path)
    return made


def trimmed(project: Project, ages_days: list[float], *words: str) -> list[int]:
    """Prune a run with snapshots of these ages; return the numbers of those that stay."""
    made = snapshots(project.newest_run, ages_days)
    pruned = project.run("checkpoints", "prune", project.newest_run.name, *words)
    assert pruned.returncode == 0, pruned.stderr
    return [number for number, path in enumerate(made, 1) if path.exists()]


def test_f14_f15_f16_prune_trims_the_snapshots_of_one_run(project: Project) -> None:
    pytest.importorskip("workflow.keeping.trimming")
    project.steps(1)
    project.run("-q")
    assert trimmed(project, [40, 39, 38, 35, 3, 2, 1], "--force") == [3, 4, 5, 6, 7]
    assert trimmed(project, [40, 30.5, 29.5, 1], "--older-than", "30", "--force") == [3, 4]
    assert trimmed(project, [9, 8, 7, 6, 5, 4], "--keep", "2", "--force") == [5, 6]
    assert project.run("status").returncode == 0


def test_f17_prune_asks_unless_forced(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    assert_helped(project.run("checkpoints", "delete", project.newest_run.name), 2, "nobody to ask")
    child = terminal(project, "checkpoints", "prune")
    child.expect("warning: this removes ALL runs")
    child.expect(r"\[y/N\]")
    child.sendline("n")
    child.expect("nothing was removed")
    child.close()
    assert len(project.runs) == 1
    assert project.run("checkpoints", "prune", "--force").returncode == 0
    assert project.runs == []


def test_f29_old_runs_are_pruned_and_their_times_are_there_to_watch(project: Project) -> None:
    may_fail(project)
    bad = failed(project, 3)
    said = document(project.run("checkpoint", "clean", "--failed", "--dry-run", "--json"))
    assert said["removed"][0]["run_id"] == bad.name
    # Recovery from an old checkpoint is rehearsed by resuming it.
    assert project.run("resume", bad.name).returncode == 0


def test_s30_clean_by_age_and_by_failure(project: Project) -> None:
    may_fail(project)
    done, bad = completed(project, 2), failed(project, 1)
    old, old_bad = copied(done, 8), copied(bad, 9)
    assert project.run("checkpoint", "clean", "--older-than", "7d", "--failed", "--yes").returncode == 0
    assert [it.exists() for it in (done, bad, old, old_bad)] == [True, True, True, False]
    assert project.run("checkpoint", "clean", "--older-than", "7d", "--yes").returncode == 0
    assert [it.exists() for it in (done, bad, old)] == [True, True, False]
    assert project.run("checkpoint", "clean", "--failed", "--yes").returncode == 0
    assert [run.name for run in project.runs] == [done.name]


def test_s31_delete_removes_one_run(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    project.run("-q")
    first, second = project.runs
    deleted = document(project.run("checkpoint", "delete", first.name, "--force", "--json"))
    jsonschema.validate(deleted, schemas.schema("cleaning"))
    assert (deleted["removed_count"], deleted["freed_bytes"]) == (1, deleted["removed"][0]["size_bytes"])
    assert [run.name for run in project.runs] == [second.name]


def test_s32_prune_removes_all_runs_with_a_warning(project: Project) -> None:
    may_fail(project)
    failed(project, 1)
    completed(project, 0)
    refused = project.run("checkpoint", "prune")
    assert refused.returncode == 2
    assert "warning: this removes ALL runs of this project: 2 runs" in refused.stderr
    assert len(project.runs) == 2
    pruned = project.run("checkpoint", "prune", "--force")
    assert "warning: this removes ALL runs" in pruned.stderr
    assert re.fullmatch(r"removed 2 runs \([0-9.]+ kB\)\n", pruned.stdout)
    assert project.runs == []


def test_s37_s38_retention_by_age_number_size_and_outcome(project: Project) -> None:
    may_fail(project)
    done = completed(project, 9)
    bad = failed(project, 8)
    declared = "steps: steps\ncheckpoints:\n  max_size_mb: 500\n  retention: {{max_age_days: {}, max_count: 50, {}}}\n"
    kept = project.file("workflow.yaml", declared.format(30, "keep_failed: true, keep_completed: true"))
    assert project.run("checkpoint", "clean", "--force").stdout == "nothing to remove\n"
    kept.write_text(declared.format(5, "keep_failed: true, keep_completed: true"))
    assert project.run("checkpoint", "clean", "--force").returncode == 0
    assert (done.exists(), bad.exists()) == (False, True)
    kept.write_text(declared.format(5, "keep_failed: false, keep_completed: false"))
    assert project.run("-q").returncode == 0
    assert project.runs == []


def test_s54_r28_a_full_disk_is_told_and_cleaning_makes_room(project: Project) -> None:
    project.steps(2)
    old = copied(completed(project, 1), 5)
    full = project.run(env={"WORKFLOW_FAULT": "write:12:ENOSPC:forever"})
    assert full.returncode == 125
    assert "No space left on device" in full.stderr
    # Removing needs no space.
    cleaned = project.run(
        "checkpoint", "clean", "--older-than", "3d", "--yes", env={"WORKFLOW_FAULT": "write:1:ENOSPC:forever"}
    )
    assert cleaned.returncode == 0
    assert not old.exists()
    assert project.run("--resume").returncode == 0


def test_s57_a_cron_job_cleans_at_night(project: Project) -> None:
    project.steps(1)
    old = copied(completed(project, 1), 8)
    line = f'cd {project.path} && "{sys.executable}" -m workflow checkpoint clean --older-than 7d --yes'
    # As cron does: no terminal, hardly any environment.
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ran = subprocess.run(
        ["sh", "-c", line], cwd="/", env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not old.exists()
    assert len(project.runs) == 1


def test_s59_r25_growth_can_be_watched_and_then_cleaned(project: Project) -> None:
    project.step(0, "head -c 3000000 /dev/zero")
    copied(completed(project, 1), 5)
    alarm = (
        "used=$(du -sm .checkpoints | cut -f1); [ $used -gt 4 ] && "
        f'"{sys.executable}" -m workflow checkpoint clean --older-than 3d --yes'
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ran = subprocess.run(["sh", "-c", alarm], cwd=project.path, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"removed 1 run \(3\.\d MB\)\n", ran.stdout)


def test_a22_runs_are_kept_for_seven_days_and_that_can_be_changed(project: Project) -> None:
    project.steps(1)
    done = completed(project, 6.9)
    old = copied(done, 7.1)
    assert project.run("-q").returncode == 0
    assert (done.exists(), old.exists()) == (True, False)
    project.file("workflow.yaml", "steps: steps\ncheckpoints: {retention: {max_age_days: 2}}\n")
    assert project.run("-q").returncode == 0
    assert not done.exists()


def test_a31_a_run_that_is_damaged_is_removed_and_started_again(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    (project.newest_run / "workflow.json").write_text("{")
    assert project.run("resume", project.newest_run.name).returncode == 3
    assert project.run("checkpoint", "delete", project.newest_run.name, "--force").returncode == 0
    assert project.run().returncode == 0
    assert len(project.runs) == 1


def test_a32_disk_use_is_measured_cleaned_and_lowered(project: Project) -> None:
    project.step(0, "head -c 200000 /dev/zero")
    for days in (2, 1):
        completed(project, days)
    planned = document(project.run("checkpoint", "clean", "--keep", "1", "--dry-run", "--json"))
    assert planned["freed_bytes"] > 200_000
    project.file("workflow.yaml", "steps: steps\ncheckpoints: {max_size_mb: 0.4}\n")
    assert project.run("checkpoint", "clean", "--yes").stdout.startswith("removed 1 run (")


def test_a33_a_run_is_not_deleted_while_it_goes(project: Project) -> None:
    hanging_step(project, 0)
    runner = start_until(project, "here_00", "run")
    run_id = project.newest_run.name
    assert_helped(project.run("checkpoint", "delete", run_id, "--force"), 75, run_id, f"process {runner.pid}")
    assert "is left alone: live" in project.run("checkpoint", "prune", "--force").stderr
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    assert project.markers == [0]


def test_r17_runs_older_than_seven_days_are_cleaned_or_thirty(project: Project) -> None:
    project.steps(1)
    done = completed(project, 6)
    older, oldest = touched(copied(done, 20), 20), copied(done, 40)
    assert project.run("checkpoint", "clean", "--older-than", "30", "--yes").returncode == 0
    assert [it.exists() for it in (done, older, oldest)] == [True, True, False]
    assert project.run("checkpoint", "clean", "--older-than", "7", "--yes").returncode == 0
    assert [it.exists() for it in (done, older)] == [True, False]


def test_r18_the_newest_hundred_are_kept(project: Project) -> None:
    project.steps(1)
    first = completed(project, 5)
    for number in range(104):
        copied(first, 4, number + 1)
    assert project.run("checkpoint", "clean", "--keep", "100", "--yes").stdout.startswith("removed 5 runs (")
    assert len(project.runs) == 100
    assert not first.exists()
