"""`workflow checkpoint list`: every run in one line, the same as `status` says, quickly."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document, hanging_step, kill, killed_in, start_until, tree
from tests.conftest import Project
from tests.keeping.looking_support import abandon, complete_run, failed_run, snapshot
from workflow.checkpoint import records
from workflow.definition import schemas


def rows(project: Project, *words: str) -> list[dict[str, object]]:
    answer = document(project.run("checkpoint", "list", "--json", *words))
    assert isinstance(answer, list)
    return answer


def agrees_with_status(project: Project, row: dict[str, object]) -> None:
    said = document(project.run("status", str(row["run_id"]), "--json"))
    for key in ("status", "completed_tasks", "total_tasks", "failed_tasks", "progress_percent", "created_at", "epoch"):
        assert row[key] == said[key], key


def test_no_runs_are_no_error(project: Project) -> None:
    result = project.run("checkpoint", "list")
    assert result.returncode == 0
    assert "there are no runs" in result.stdout
    assert "help: start one with: workflow run" in result.stdout
    assert rows(project) == []
    assert not (project.path / ".checkpoints").exists()


def test_runs_of_every_status_read_as_status_says(project: Project) -> None:
    failed = failed_run(project)
    project.file("mended", "")
    paused = project.run("run", "-q")
    assert paused.returncode == 4
    complete = project.run("run", "-q", "--until", "plain")
    assert complete.returncode == 0
    abandon(failed)
    found = rows(project)
    assert [row["status"] for row in found] == ["paused", "paused", "abandoned"]
    assert found[-1]["marks"] == ["abandoned"]
    for row in found:
        agrees_with_status(project, row)


def test_newest_first_and_by_status(project: Project) -> None:
    failed_run(project)
    (project.path / "workflow.yaml").unlink()
    complete_run(project)
    table = project.run("checkpoint", "ls").stdout.splitlines()
    assert table[0].split() == ["RUN", "STATUS", "STEPS", "DONE", "STARTED", "UPDATED", "MARKS"]
    assert [line.split()[0] for line in table[1:3]] == [run.name for run in reversed(project.runs)]
    assert "3/3  100%" in table[1]
    assert "failed" in table[2]
    assert [row["status"] for row in rows(project, "--status", "failed")] == ["failed"]
    assert "no run" in project.run("checkpoint", "list", "--status", "abandoned").stdout
    assert_helped(project.run("checkpoint", "list", "--status", "fialed"), 2, "did you mean failed?")


def test_size_is_asked_for(project: Project) -> None:
    run = complete_run(project)
    assert rows(project)[0]["size_bytes"] is None
    files = [path for path in run.rglob("*") if path.is_file()]
    assert rows(project, "--size")[0]["size_bytes"] == sum(path.stat().st_size for path in files)
    assert "SIZE" in project.run("checkpoint", "list", "--size").stdout


def test_a_live_run_is_told_and_waited_for_by_nobody(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    started = time.monotonic()
    row = rows(project)[0]
    assert time.monotonic() - started < 5
    assert (row["status"], row["marks"], row["completed_tasks"]) == ("in_progress", ["live"], 1)
    (project.path / "go").touch()
    assert runner.wait(20) == 0


def test_a_killed_run_never_reads_in_progress(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    killed_in(project, 1)
    assert rows(project)[0]["status"] == "paused"
    agrees_with_status(project, rows(project)[0])


def test_what_was_done_by_hand_counts_although_checkpoint_json_does_not_know(project: Project) -> None:
    run = failed_run(project)
    assert project.run("mark", run.name, "flaky", "--pending").returncode == 0
    assert rows(project)[0]["status"] == "paused"
    assert project.run("mark", run.name, "flaky", "--done").returncode == 0
    assert rows(project)[0]["completed_tasks"] == 3
    (run / "step_01.complete").unlink()
    (run / "step_00.complete").unlink()
    agrees_with_status(project, rows(project)[0])


@pytest.mark.parametrize("content", [b"", b"{", b"not json"])
def test_a_damaged_checkpoint_json_is_not_believed(project: Project, content: bytes) -> None:
    run = failed_run(project)
    (run / "checkpoint.json").write_bytes(content)
    agrees_with_status(project, rows(project)[0])


def test_a_checkpoint_json_of_another_run_is_not_believed(project: Project) -> None:
    run = failed_run(project)
    master = records.decode_document((run / "checkpoint.json").read_bytes())
    master.pop("checksum")
    other = {**master, "run_id": "workflow_20200101_000000", "status": "completed"}
    (run / "checkpoint.json").write_bytes(records.encode_document(other))
    agrees_with_status(project, rows(project)[0])


def test_a_run_that_cannot_be_read_stands_there_with_its_problem(project: Project) -> None:
    run = failed_run(project)
    (run / "workflow.json").unlink()
    os.symlink("/nowhere", run.parent / "workflow_20200101_000000")
    found = rows(project)
    assert [row["status"] for row in found] == [None, None]
    assert "workflow.json" in str(found[0]["problem"])
    assert "link" in str(found[1]["problem"])
    assert "unreadable" in project.run("checkpoint", "list").stdout


def test_tolerated_failures_are_counted_as_status_does(project: Project) -> None:
    steps = "{name: a, run: exit 1, continue_on_error: true}", "{name: b, run: exit 1}", "{name: c, run: echo}"
    project.file("workflow.yaml", "\n  - ".join(("steps:", *steps)) + "\n")
    assert project.run("-q").returncode == 1
    agrees_with_status(project, rows(project)[0])


def test_snapshots_of_a_run_are_listed_newest_first(project: Project) -> None:
    run = failed_run(project)
    before = {entry["number"] for entry in rows(project, run.name)}
    number = snapshot(run, name="before the weekend")
    found = rows(project, run.name)
    assert found[0]["checkpoint_id"] == f"{run.name}@{number}"
    assert (found[0]["trigger"], found[0]["name"]) == ("manual", "before the weekend")
    assert found[0]["progress_percent"] == 50.0
    assert {entry["number"] for entry in found} == before | {number}
    assert "before the weekend" in project.run("checkpoint", "list", f".checkpoints/{run.name}/").stdout
    path = next((run / "snapshots").glob(f"{number:04d}_*"))
    path.write_bytes(path.read_bytes()[:-3])
    assert "damaged" in str(rows(project, run.name)[0]["problem"])


def test_a_run_without_snapshots_says_so(project: Project) -> None:
    run = failed_run(project)
    for path in (run / "snapshots").glob("*"):
        path.unlink()
    result = project.run("checkpoint", "list", run.name)
    assert result.returncode == 0
    assert "has no snapshots yet" in result.stdout
    assert rows(project, run.name) == []


def test_listing_writes_nothing(project: Project) -> None:
    failed_run(project)
    before = tree(project)
    for words in ((), ("--json",), ("--size",), ("--status", "failed")):
        assert project.run("checkpoint", "list", *words).returncode == 0
    assert tree(project) == before


def test_the_answer_is_of_the_schema(project: Project) -> None:
    import jsonschema

    run = failed_run(project)
    snapshot(run)
    validator = jsonschema.Draft202012Validator(schemas.schema("checkpoint-list"))
    validator.validate(rows(project, "--size"))
    validator.validate(rows(project, run.name))


def test_a_kill_of_the_runner_shows_what_outlived_it(project: Project) -> None:
    hanging_step(project, 0)
    runner = start_until(project, "here_00", "run")
    kill(runner)
    row = rows(project)[0]
    assert row["status"] == "paused"
    (project.path / "go").touch()


def test_a_thousand_runs_are_listed_at_once(project: Project, tmp_path: Path) -> None:
    """RELIABILITY 71: the benchmark measures ten thousand; here only that nothing about it is slow."""
    model = complete_run(project)
    names = ("workflow.json", "checkpoint.json", "step_00.complete", "step_01.complete", "step_02.complete")
    contents = {name: (model / name).read_bytes() for name in names}
    contents["state/epoch"] = b"1\n"
    for index in range(1000):
        run = model.parent / f"workflow_20250101_{index:06d}"
        (run / "state").mkdir(parents=True)
        master = {**json.loads(contents["checkpoint.json"]), "run_id": run.name}
        master.pop("checksum")
        for name, data in sorted(contents.items(), key=lambda it: it[0] == "checkpoint.json"):
            (run / name).write_bytes(records.encode_document(master) if name == "checkpoint.json" else data)
    started = time.monotonic()
    assert len(rows(project)) == 1001
    assert time.monotonic() - started < 3


def test_an_archived_run_is_listed_shown_and_validated_like_any_other(project: Project) -> None:
    run = complete_run(project)
    before = document(project.run("checkpoint", "show", run.name, "--json"))
    assert project.run("checkpoint", "compress", run.name).returncode == 0
    assert not run.exists()
    row = rows(project)[0]
    assert (row["status"], row["marks"], row["completed_tasks"]) == ("completed", ["archive"], 3)
    assert rows(project, "--size")[0]["size_bytes"] == os.path.getsize(str(row["run_dir"]))
    after = document(project.run("checkpoint", "show", "--last", "--json"))
    assert after["tasks"] == before["tasks"]
    assert project.run("checkpoint", "validate", run.name).returncode == 0
    assert "nothing to repair" in project.run("checkpoint", "repair", run.name).stdout
    assert "no difference" in project.run("checkpoint", "diff", run.name, run.name).stdout
    assert not run.exists()
