"""Runs that are archives are cleaned by what their manifest says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document
from tests.conftest import Project
from tests.keeping.old_runs import completed, dated_back, failed, may_fail

pytest.importorskip("workflow.checkpoint.packed")


def archives(project: Project) -> list[str]:
    return sorted(name for name in os.listdir(project.path / ".checkpoints") if name.startswith("workflow_"))


def compressed(project: Project, run: Path, days: float) -> Path:
    packed = project.run("checkpoint", "compress", run.name)
    assert packed.returncode == 0, packed.stderr
    archive = run.with_name(f"{run.name}.tar.gz")
    at = time.time() - days * 86400
    os.utime(archive, (at, at))
    return archive


def test_archives_go_by_age_and_outcome_and_pins_hold(project: Project) -> None:
    may_fail(project)
    pinned = completed(project, 3)
    assert project.run("checkpoint", "pin", pinned.name).returncode == 0
    done, bad = completed(project, 2), failed(project, 1)
    pinned, done, bad = dated_back(pinned, 12), dated_back(done, 11), dated_back(bad, 10)
    kept = compressed(project, pinned, 9)
    gone, failure = compressed(project, done, 9), compressed(project, bad, 9)
    planned = document(project.run("checkpoint", "clean", "--dry-run", "--json"))
    assert [it["run_id"] for it in planned["removed"]] == [done.name]
    assert planned["left"] == [{"run_id": pinned.name, "why": "pinned"}]
    assert project.run("-q").returncode == 0  # by itself, at the end of a run
    assert (kept.exists(), gone.exists(), failure.exists()) == (True, False, True)
    assert project.run("checkpoint", "clean", "--failed", "--yes").returncode == 0
    assert not failure.exists()
    assert_helped(project.run("checkpoint", "delete", pinned.name, "--yes"), 2, "is pinned")
    assert project.run("checkpoint", "pin", pinned.name, "--off").returncode == 0
    assert project.run("checkpoint", "delete", pinned.name, "--yes").returncode == 0
    assert not any(name.startswith(pinned.name) for name in archives(project))


def test_an_archive_beside_its_directory_is_removed_by_the_next_cleaner(project: Project) -> None:
    """What a compression that was cut short leaves: the directory counts."""
    project.steps(1)
    project.run("-q")
    run = project.newest_run
    run.with_name(f"{run.name}.tar.gz").write_bytes(b"not whole")
    assert project.run("checkpoint", "clean").returncode == 0
    assert archives(project) == [run.name]


def test_an_archive_that_cannot_be_read_stays_until_it_is_asked_for(project: Project) -> None:
    project.steps(1)
    done = completed(project, 9)
    archive = compressed(project, done, 9)
    archive.write_bytes(archive.read_bytes()[:100])
    os.utime(archive, (0, 0))
    kept = project.run("checkpoint", "clean", "--yes")
    assert "it cannot be read" in kept.stderr
    assert archive.exists()
    assert project.run("checkpoint", "clean", "--older-than", "7", "--yes").returncode == 0
    assert archives(project) == []


def test_an_archive_that_is_a_link_is_left_alone(project: Project, tmp_path: Path) -> None:
    project.steps(1)
    archive = compressed(project, completed(project, 9), 9)
    archive.rename(tmp_path / "elsewhere")
    archive.symlink_to(tmp_path / "elsewhere")
    left = project.run("checkpoint", "prune", "--force")
    assert "is left alone" in left.stderr
    assert archive.is_symlink()
    assert (tmp_path / "elsewhere").exists()
