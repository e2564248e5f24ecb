"""`workflow checkpoint repair`: derived files are made again, damaged ones kept aside, nothing is completed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.support import assert_helped, document, hanging_step, start_until, tree
from tests.conftest import Project, markers_of
from tests.keeping.looking_support import complete_run, failed_run, snapshot
from workflow.checkpoint.layout import LIBRARY
from workflow.definition import schemas


def repaired(project: Project, *words: str, exit_code: int = 0) -> dict[str, Any]:
    answer = document(project.run("checkpoint", "repair", *words, "--json"), exit_code)
    jsonschema.Draft202012Validator(schemas.schema("checkpoint-repair")).validate(answer)
    assert isinstance(answer, dict)
    return answer


def validates(project: Project) -> bool:
    return project.run("checkpoint", "validate").returncode == 0


def test_a_whole_run_has_nothing_to_repair_and_nothing_is_written(project: Project) -> None:
    run = failed_run(project)
    before = tree(project)
    result = project.run("checkpoint", "repair")
    assert result.returncode == 0
    assert result.stdout == f"{run.name}: nothing to repair\n"
    assert tree(project) == before


@pytest.mark.parametrize("name", ["checkpoint.json", "steps.sh", "resume.sh", f"lib/{LIBRARY[0]}"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_what_is_derived_is_made_again(project: Project, name: str, is_gone: bool) -> None:
    """Case 14."""
    run = failed_run(project)
    path = run / name
    before = path.read_bytes()
    path.write_bytes(b"# not what it was\n")
    if is_gone:
        path.unlink()
    if name != "checkpoint.json" or not is_gone:  # that one is for people, and may be missing
        assert not validates(project)
    answer = repaired(project)
    assert ("rebuild", name) in [(it["action"], it["path"]) for it in answer["actions"]]
    if name != "checkpoint.json":
        assert path.read_bytes() == before
    assert validates(project)
    assert repaired(project)["actions"] == []


def test_a_damaged_marker_is_kept_aside_and_its_step_runs_again(project: Project) -> None:
    run = complete_run(project)
    (run / "step_01.complete").write_bytes(b"STEP=1\n")
    result = project.run("checkpoint", "repair", run.name)
    assert result.returncode == 0
    assert "kept aside step_01.complete as step_01.complete.damaged" in result.stdout
    assert "will run again: 01 s1" in result.stdout
    assert "rebuilt checkpoint.json" in result.stdout
    assert (run / "step_01.complete.damaged").read_bytes() == b"STEP=1\n"
    assert markers_of(run) == [0, 2]
    assert validates(project)
    assert project.run("resume", "-q").returncode == 0
    assert project.executions == ["00", "01", "02", "01"]


def test_a_damaged_state_with_values_takes_its_marker_along(project: Project) -> None:
    run = failed_run(project)
    (run / "state/step_00_state.json").write_bytes(b"")
    answer = repaired(project)
    assert [it["path"] for it in answer["actions"] if it["action"] == "set-aside"] == [
        "step_00.complete",
        "state/step_00_state.json",
    ]
    assert [it["step"] for it in answer["runs_again"]] == [0]
    assert markers_of(run) == [1]
    assert validates(project)


def test_a_damaged_state_without_values_leaves_its_step_complete(project: Project) -> None:
    run = failed_run(project)
    (run / "state/step_01_state.json").write_bytes(b"{")
    answer = repaired(project)
    assert answer["runs_again"] == []
    assert markers_of(run) == [0, 1]
    assert validates(project)


def test_states_answers_and_snapshots_that_are_damaged_are_kept_aside(project: Project) -> None:
    run = failed_run(project)
    number = snapshot(run)
    paths = [
        run / "state/step_02_state.json",
        run / "state/step_03.approval",
        next((run / "snapshots").glob(f"{number:04d}_*")),
    ]
    for path in paths:
        path.write_bytes(b"damaged")
    repaired(project)
    for path in paths:
        assert not path.exists()
        assert path.with_name(f"{path.name}.damaged").read_bytes() == b"damaged"
    assert validates(project)


def test_leftovers_of_a_crash_are_removed_and_a_lost_epoch_is_found_again(project: Project) -> None:
    run = failed_run(project)
    for name in (".tmp-a", "state/.tmp-b", "lib/.tmp-c"):
        (run / name).write_bytes(b"half")
    (run / "state/epoch").write_bytes(b"")
    answer = repaired(project)
    assert [it["path"] for it in answer["actions"] if it["action"] == "sweep"] == [
        ".tmp-a",
        "state/.tmp-b",
        "lib/.tmp-c",
    ]
    assert (run / "state/epoch").read_bytes() == b"1\n"
    assert not list(run.rglob(".tmp-*"))


def test_a_dry_run_says_it_and_writes_nothing(project: Project) -> None:
    run = complete_run(project)
    (run / "step_01.complete").write_bytes(b"")
    (run / "checkpoint.json").unlink()
    (run / ".tmp-x").write_bytes(b"")
    before = tree(project)
    result = project.run("checkpoint", "repair", "--dry-run")
    assert tree(project) == before
    for words in (
        "would keep aside step_01.complete",
        "would rebuild checkpoint.json",
        "would remove .tmp-x",
        "will run again: 01 s1",
        "3 things to repair",
    ):
        assert words in result.stdout
    assert repaired(project, "--dry-run")["dry_run"] is True


def test_what_no_repair_mends_is_said(project: Project) -> None:
    run = failed_run(project)
    (run / "state/step_01_state.json").unlink()
    result = project.run("checkpoint", "repair")
    assert result.returncode == 3
    assert "left as it is: state/step_01_state.json" in result.stdout
    assert f"help: workflow mark {run.name} 01 --pending" in result.stdout
    (run / "workflow.json").write_bytes(b"{")
    assert_helped(project.run("checkpoint", "repair"), 3, "workflow.json", "workflow run")


def test_a_run_that_is_held_is_left_alone(project: Project) -> None:
    hanging_step(project, 0)
    runner = start_until(project, "here_00", "run")
    for words in ((), ("--dry-run",)):
        assert_helped(project.run("checkpoint", "repair", *words), 75, "is being run by")
    (project.path / "go").touch()
    assert runner.wait(20) == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_repair_killed_at_some_operations_is_done_by_the_next(project: Project, moment: str) -> None:
    """A sample of the operations of the one writer; never is a step complete that was not."""
    first = 1 if moment == "before" else 2
    assert kill_repairs(project, moment, range(first, 24, 4)) >= 3


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_repair_killed_at_any_operation_is_done_by_the_next(project: Project, moment: str) -> None:
    assert kill_repairs(project, moment, range(1, 30)) > 8


def kill_repairs(project: Project, moment: str, points: range) -> int:
    """Kill a repair at each of these operations and repair again; return how often it died."""
    run = broken_run(project)
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    died = 0
    for at in points:
        put_back(run, kept)
        result = project.run("checkpoint", "repair", env={"WORKFLOW_FAULT": f"any:{at}:die:{moment}"})
        assert result.returncode in (0, -9), result.stderr
        died += result.returncode != 0
        assert set(markers_of(run)) <= {0, 1, 2}
        assert project.run("checkpoint", "repair").returncode == 0
        assert markers_of(run) == [0, 2]
        assert not list(run.rglob(".tmp-*"))
    assert validates(project)
    assert project.run("resume", "-q").returncode == 0
    assert project.executions == ["00", "01", "02", "01"]
    return died


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_full_disk_ends_a_repair_in_plain_words(project: Project, error: str) -> None:
    run = broken_run(project)
    result = project.run("checkpoint", "repair", env={"WORKFLOW_FAULT": f"write:1:{error}:forever"})
    assert_helped(result, 125, "cannot record")
    assert set(markers_of(run)) <= {0, 1, 2}
    assert project.run("checkpoint", "repair").returncode == 0
    assert validates(project)


def broken_run(project: Project) -> Path:
    """Leave a complete run with a damaged marker, and derived files that are gone or wrong."""
    run = complete_run(project)
    (run / "step_01.complete").write_bytes(b"")
    (run / "checkpoint.json").write_bytes(b"{}")
    (run / "resume.sh").unlink()
    (run / ".tmp-x").write_bytes(b"")
    return run


def put_back(run: Path, kept: dict[Path, bytes]) -> None:
    for path in [it for it in run.rglob("*") if it.is_file() and it not in kept]:
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
