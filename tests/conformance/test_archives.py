"""Runs as archives keep the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from jsonschema import Draft202012Validator

from tests.conftest import Project
from workflow.checkpoint import archive_reader
from workflow.definition.schemas import schema


def some_runs(project: Project, count: int = 1, *, steps: int = 3) -> list[str]:
    """Leave runs of some steps that say something, the last of which failed; return their ids."""
    for number in range(steps):
        fails = "test -e mended" if number == steps - 1 else ":"
        project.step(number, f"seq 2000; echo V{number}=x >>$WORKFLOW_OUTPUT; {fails}")
    ids = []
    for _ in range(count):
        assert project.run("-q").returncode == 1
        ids.append(project.newest_run.name)
    return ids


def answer(project: Project, name: str, *words: str) -> dict[str, object]:
    """Return what a verb answers as JSON, held against its schema."""
    result = project.run("checkpoint", name, *words, "--json")
    assert result.returncode == 0, result.stderr
    document: dict[str, object] = json.loads(result.stdout)
    Draft202012Validator(schema(name)).validate(document)
    return document


def test_s33_s61_s62_compress_makes_one_file_of_a_run_and_saves_seventy_percent(project: Project) -> None:
    (run_id,) = some_runs(project, steps=10)
    size = sum(path.stat().st_size for path in project.newest_run.rglob("*") if path.is_file())
    assert size < 10_000_000, "ten steps take less than the 10 MB that are allowed for"
    made = answer(project, "compress", run_id)
    assert made["saved_percent"] >= 70
    archive = project.path / f".checkpoints/{run_id}.tar.gz"
    assert archive.stat().st_size < 0.3 * size
    assert project.runs == []
    assert project.run("status", run_id).returncode == 0


def test_s34_compress_all_takes_every_run_that_is_over(project: Project) -> None:
    ids = some_runs(project, 2)
    made = answer(project, "compress", "--all")
    assert made["compressed"] == 2
    assert sorted(path.name for path in (project.path / ".checkpoints").glob("*.tar.gz")) == sorted(
        f"{run_id}.tar.gz" for run_id in ids
    )


def test_s35_s36_an_exported_run_goes_on_where_it_is_imported(project: Project) -> None:
    (run_id,) = some_runs(project)
    out = project.path.parent / "X.tar.gz"
    answer(project, "export", run_id, "--out", str(out))
    other = Project(project.path.parent / "other")
    shutil.copytree(project.path / "steps", other.path / "steps")
    assert answer(other, "import", str(out))["run_id"] == run_id
    other.file("mended", "")
    result = other.run("resume", run_id, "--trust")
    assert result.returncode == 0, result.stderr
    assert "2 bypassed" in result.stdout


def test_the_manifest_is_as_its_schema_says(project: Project) -> None:
    some_runs(project)
    answer(project, "export", "--out", "x.tar.gz")
    text = subprocess.run(
        ["tar", "xzOf", "x.tar.gz", "--wildcards", "*/MANIFEST.json"], cwd=project.path, capture_output=True, check=True
    ).stdout
    Draft202012Validator(schema("archive-manifest")).validate(json.loads(text))


def test_r19_a_dated_backup_with_tar_comes_back_and_goes_on(project: Project) -> None:
    some_runs(project)
    for words in (
        "tar czf backup-$(date +%Y%m%d).tar.gz .checkpoints",
        "rm -rf .checkpoints",
        "tar xzf backup-*.tar.gz",
    ):
        subprocess.run(["sh", "-c", words], cwd=project.path, check=True)
    project.file("mended", "")
    result = project.run("resume")
    assert result.returncode == 0, result.stderr
    assert "2 bypassed" in result.stdout


def test_r20_checkpoints_copied_to_another_place_go_on_there(project: Project) -> None:
    ids = some_runs(project, 2)
    answer(project, "compress", ids[0])
    other = Project(project.path.parent / "host/project")
    shutil.copytree(project.path, other.path)
    shutil.rmtree(project.path)
    other.file("mended", "")
    for run_id in ids:
        result = other.run("resume", run_id)
        assert result.returncode == 0, result.stderr
        assert "2 bypassed" in result.stdout


def test_m9_m25_completed_runs_are_compressed_by_themselves_when_told_to(project: Project) -> None:
    project.file("workflow.yaml", "name: c\ncheckpoints: {compress: true}\nsteps:\n- {name: a, run: echo a}\n")
    assert project.run("-q").returncode == 0
    assert project.runs == []
    (archive,) = Path(project.path / ".checkpoints").glob("*.tar.gz")
    assert archive_reader.verify(str(archive)).summary["status"] == "completed"
    assert project.run("logs").stdout == "a\n"
