"""The audit log: a line for everything that is done to checkpoints, only ever added, and never in the way."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from workflow.checkpoint import audit
from workflow.checkpoint.durable import Disk, Fault, Faults
from workflow.checkpoint.layout import CheckpointRoot


def log(project: Project) -> Path:
    return project.path / ".checkpoints/audit.jsonl"


def entries(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log(project).read_text().splitlines()]


def brief(project: Project, since: int = 0) -> list[tuple[str, str]]:
    return [(it["operation"], it["outcome"]) for it in entries(project)[since:]]


def test_a_run_says_who_began_it_when_and_how_it_ended(project: Project) -> None:
    project.steps(2)
    assert project.run(env={"USER": "ada"}).returncode == 0
    assert brief(project) == [("run", "begun"), ("create", "done"), ("run", "completed")]
    first, made, last = entries(project)
    for entry in (first, made, last):
        assert (entry["by"], entry["uid"], entry["run_id"]) == ("ada", os.getuid(), project.newest_run.name)
        assert entry["at"].endswith("Z")
        assert entry["host"]
        assert entry["pid"] == first["pid"]
    assert made["checkpoint"] == f"{project.newest_run.name}@1"
    assert (first["steps"], last["exit_code"]) == (2, 0)


def test_a_failure_and_going_back_to_a_snapshot_are_told(project: Project) -> None:
    project.step(0)
    project.step(1, "test -e go")
    assert project.run().returncode == 1
    assert brief(project)[-1] == ("run", "failed")
    project.file("go", "")
    assert project.run("resume", f"{project.newest_run.name}@1").returncode == 0
    begun = next(it for it in entries(project) if it["operation"] == "resume")
    assert begun["checkpoint"] == f"{project.newest_run.name}@1"
    assert brief(project)[-1] == ("resume", "completed")


def test_everything_a_person_does_to_a_run_has_its_line(project: Project) -> None:
    project.step(0)
    project.file("workflow.yaml", "steps: [{name: a, run: 'true', approval: sure?}]\n")
    assert project.run().returncode == 4
    run_id = project.newest_run.name
    for words, noted in (
        (("approve", run_id, "a"), "approve"),
        (("mark", run_id, "a", "--done"), "mark"),
        (("checkpoint", "create", run_id), "create"),
        (("checkpoint", "pin", run_id, "--note", "keep"), "pin"),
        (("checkpoint", "pin", run_id, "--off"), "pin"),
        (("checkpoint", "export", run_id, "--out", "x.tar.gz"), "export"),
        (("checkpoint", "import", "x.tar.gz", "--as-new"), "import"),
        (("checkpoint", "prune", run_id, "--keep", "1", "--yes"), "prune"),
        (("checkpoint", "compress", run_id), "compress"),
        (("checkpoint", "delete", run_id, "--yes"), "delete"),
    ):
        before = len(entries(project))
        done = project.run(*words, env={"USER": "ada"})
        assert done.returncode == 0, (words, done.stderr)
        last = entries(project)[-1]
        assert (last["operation"], last["outcome"], last["by"]) == (noted, "done", "ada"), words
        assert len(entries(project)) > before


def test_a_repair_is_told_where_it_did_something(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    before = log(project).read_bytes()
    assert project.run("checkpoint", "repair").returncode == 0
    assert log(project).read_bytes() == before
    (project.newest_run / "checkpoint.json").write_text("{")
    assert project.run("checkpoint", "repair").returncode == 0
    last = entries(project)[-1]
    assert (last["operation"], last["outcome"]) == ("repair", "done")
    assert last["actions"] >= 1


def test_a_removal_is_told_before_and_after_with_each_run_by_its_name(project: Project) -> None:
    project.steps(1)
    for _ in range(3):
        assert project.run("-q").returncode == 0
    names = [run.name for run in project.runs]
    before = len(entries(project))
    assert project.run("checkpoint", "clean", "--completed", "--yes").returncode == 0
    begun, *removed, done = entries(project)[before:]
    assert (begun["operation"], begun["outcome"], begun["runs"]) == ("clean", "begun", 3)
    assert sorted(it["run_id"] for it in removed) == names
    assert (done["outcome"], done["removed"]) == ("done", 3)


def test_what_the_retention_removes_is_told_as_its_doing(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{run: 'true'}]\ncheckpoints: {retention: {max_count: 1}}\n")
    assert project.run().returncode == 0
    old = project.newest_run.name
    assert project.run().returncode == 0
    (entry,) = [it for it in entries(project) if it["operation"] == "remove"]
    assert (entry["by"], entry["run_id"]) == ("retention", old)


def test_what_failed_is_told_with_why(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    assert project.run("checkpoint", "export", "--out", "y.tar.gz").returncode == 0
    full = {"WORKFLOW_FAULT": "rename:3:ENOSPC"}
    assert project.run("checkpoint", "import", "y.tar.gz", "--as-new", env=full).returncode == 125
    last = entries(project)[-1]
    assert (last["operation"], last["outcome"]) == ("import", "failed")
    assert "No space left" in last["error"]


def test_those_that_only_look_leave_no_line(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    before = log(project).read_bytes()
    for words in (
        ("status",),
        ("plan",),
        ("checkpoint", "list"),
        ("checkpoint", "show"),
        ("checkpoint", "validate"),
        ("checkpoint", "clean", "--dry-run"),
        ("checkpoint", "repair", "--dry-run"),
        ("checkpoint", "delete", "workflow_20200101_000000", "--yes"),
        ("doctor",),
    ):
        project.run(*words)
    assert log(project).read_bytes() == before


def test_nothing_is_made_where_there_are_no_checkpoints(project: Project) -> None:
    project.steps(1)
    assert project.run("checkpoint", "clean", "--yes").returncode in (0, 3)
    assert project.run("run", "--no-checkpoint").returncode == 0
    assert not (project.path / ".checkpoints").exists()


def test_the_words_of_a_command_line_are_not_kept(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{run: 'true', params: {TOKEN: x}}]\n")
    assert project.run("run", "--param", "TOKEN=hunter2").returncode == 0
    assert "hunter2" not in log(project).read_text()


def test_a_private_run_makes_a_private_log(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{run: 'true'}]\ncheckpoints: {private: true}\n")
    assert project.run().returncode == 0
    assert stat.S_IMODE(log(project).stat().st_mode) == 0o600


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO", "EROFS"])
def test_a_line_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path, fault: str) -> None:
    root = CheckpointRoot(str(tmp_path))
    disk = Disk(faults=Faults(Fault("open", 1, fault)))
    said = audit.note(root, disk, "run", "begun", by="ada")
    assert "audit.jsonl" in said
    assert audit.note(root, disk, "run", "completed", by="ada") == ""


def test_a_log_that_cannot_be_written_stops_no_run(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    log(project).unlink()
    log(project).mkdir()
    done = project.run()
    assert done.returncode == 0
    assert (done.stdout + done.stderr).count("the audit log misses a line") == 1
    pinned = project.run("checkpoint", "pin", project.newest_run.name)
    assert pinned.returncode == 0
    assert "the audit log misses a line" in pinned.stderr


def test_a_line_that_was_torn_costs_itself_only(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    with open(log(project), "ab") as file:
        file.write(b'{"at": "2026-11-2')
    assert project.run("checkpoint", "pin", project.newest_run.name).returncode == 0
    *whole, torn, last = log(project).read_bytes().splitlines()
    assert torn == b'{"at": "2026-11-2'
    assert json.loads(last)["operation"] == "pin"
    assert all(json.loads(line) for line in whole)


def test_many_at_once_keep_their_lines_whole(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    root, disk = CheckpointRoot(str(project.path / ".checkpoints")), Disk()
    pids = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            for count in range(50):
                audit.note(root, disk, "test", "done", by=f"p{number}", sync=False, about={"n": count, "x": "y" * 500})
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    noted = [(it["by"], it["n"]) for it in entries(project) if it["operation"] == "test"]
    assert sorted(noted) == sorted((f"p{number}", count) for number in range(8) for count in range(50))


def test_a_log_that_has_grown_is_put_aside_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LARGEST_BYTES", 500)
    root, disk = CheckpointRoot(str(tmp_path)), Disk()
    for _ in range(5):
        assert audit.note(root, disk, "run", "begun", by="ada") == ""
    aside = sorted(it.name for it in tmp_path.iterdir())
    assert len(aside) > 1
    assert sum(len(it.read_bytes().splitlines()) for it in tmp_path.iterdir()) == 5


def test_a_kill_in_the_middle_of_a_removal_leaves_that_it_was_begun(project: Project) -> None:
    project.steps(1)
    assert project.run("-q").returncode == 0
    before = len(entries(project))
    kill = {"WORKFLOW_FAULT": "rename:1:die"}
    assert project.run("checkpoint", "delete", project.newest_run.name, "--yes", env=kill).returncode == -9
    assert brief(project, before)[0] == ("delete", "begun")


def test_jq_reads_it(project: Project) -> None:
    project.steps(1)
    assert project.run().returncode == 0
    filtered = subprocess.run(
        ["jq", "-r", 'select(.operation == "run") | .outcome', log(project)], capture_output=True, text=True, check=True
    )
    assert filtered.stdout.split() == ["begun", "completed"]
