"""The checkpoint library of the request, in its own words: see docs/conformance.md, rows M1 to M25."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_env, run_program
from workflow import (
    Checkpointer,
    CheckpointNotFoundError,
    FileCheckpointer,
    MemoryCheckpointer,
    NoCheckpointerError,
    SqliteCheckpointer,
    StepNotFoundError,
    Workflow,
)
from workflow.library.stores import MemoryStore

ROOT = Path(__file__).resolve().parents[2]


def example(name: str, tmp_path: Path, input: str | None = None) -> str:
    """Run an example with one command, from anywhere; return what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples/python" / name],
        cwd=tmp_path,
        env=clean_env({"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}),
        input=input,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return done.stdout


def flow(tmp_path: Path, keeper: Any, *, fails: bool = True) -> Workflow:
    if fails:
        (tmp_path / "down").touch()
    return (
        Workflow("my-workflow", project=tmp_path, checkpointer=keeper)
        .step("researcher", "echo researcher >>ran.txt; echo FOUND=3 >>$WORKFLOW_OUTPUT")
        .step("analyzer", "test ! -e down; echo analyzer $FOUND $TOPIC >>ran.txt", params={"TOPIC": "none"})
        .edge("researcher", "analyzer")
        .start("researcher")
    )


def test_m1_m5_the_basic_demo_keeps_files_and_shows_checkpoints(tmp_path: Path) -> None:
    said = example("basic.py", tmp_path)
    assert "5 facts" in said
    assert said.count("auto") == 3
    assert said.count("completion") == 1


def test_m2_m5_the_failure_demo_resumes_where_it_stopped_and_from_a_chosen_checkpoint(tmp_path: Path) -> None:
    said = example("failure_and_recovery.py", tmp_path)
    assert "ConnectionError" in said
    assert "(error)" in said
    assert said.count("fetch bypassed, ask completed, write completed") == 2


def test_m3_m5_the_interactive_demo_makes_lists_shows_and_deletes(tmp_path: Path) -> None:
    said = example("interactive_management.py", tmp_path, "list\nshow 2\ndelete 2\nlist\nclear\nquit\n")
    assert "manual" in said
    assert said.count("before the risky part") == 1  # gone from the second list
    assert "deleted 2" in said
    assert "1 run deleted" in said


def test_m4_m5_m19_the_long_demo_is_interrupted_and_carried_on_with_its_cost_told(tmp_path: Path) -> None:
    said = example("long_running.py", tmp_path)
    assert "interrupted; kept:" in said
    assert "6 of 6" in said
    assert "completed; " in said
    assert "bytes" in said


def test_m6_m9_m10_a_file_checkpointer_takes_the_options_and_a_builder_uses_it(tmp_path: Path) -> None:
    keeper = FileCheckpointer(
        tmp_path / "checkpoints",
        auto_save=True,
        save_after_step=True,
        save_before_step=True,
        save_interval="5m",
        max_checkpoints=5,
        compress=True,
    )
    result = flow(tmp_path, keeper, fails=False).run()
    assert result
    assert [it.name for it in (tmp_path / "checkpoints").glob("workflow_*")] == [f"{result.run_id}.tar.gz"]


def test_m7_m25_a_memory_checkpointer_rehearses_recovery_in_tests(tmp_path: Path) -> None:
    keeper = MemoryCheckpointer()
    workflow = flow(tmp_path, keeper)
    assert not workflow.run()
    (tmp_path / "down").unlink()
    assert workflow.resume()
    assert (tmp_path / "ran.txt").read_text().split() == ["researcher", "analyzer", "3", "none"]
    assert not (tmp_path / ".checkpoints").exists()


def test_m8_a_store_of_anybody_and_a_database_keep_runs(tmp_path: Path) -> None:
    for keeper in (Checkpointer(MemoryStore()), SqliteCheckpointer(tmp_path / "c.db")):
        workflow = flow(tmp_path, keeper)
        assert not workflow.run()
        (tmp_path / "down").unlink()
        assert workflow.resume()


def test_m11_m12_a_run_takes_data_and_an_id(tmp_path: Path) -> None:
    keeper = FileCheckpointer(tmp_path / "checkpoints")
    assert flow(tmp_path, keeper, fails=False).run("monday", params={"TOPIC": "tides"})
    assert "tides" in (tmp_path / "ran.txt").read_text()
    assert keeper.latest("monday").run_name == "monday"


def test_m13_m14_m18_a_resume_takes_the_latest_or_a_chosen_checkpoint(tmp_path: Path) -> None:
    keeper = FileCheckpointer(tmp_path / "checkpoints")
    workflow = flow(tmp_path, keeper)
    failed = workflow.run(params={"TOPIC": "tides"})
    (tmp_path / "down").unlink()
    result = workflow.resume()
    assert (result["researcher"].status.value, result["analyzer"].status.value) == ("bypassed", "completed")
    assert "analyzer 3 tides" in (tmp_path / "ran.txt").read_text()  # values and parameters are those of the run
    first = next(it for it in keeper.list(failed.run_id) if it.completed_tasks == 1)
    assert workflow.resume(first.id)["analyzer"].status.value == "completed"


def test_m15_m16_checkpoints_are_listed_and_all_deleted(tmp_path: Path) -> None:
    for keeper in (FileCheckpointer(tmp_path / "checkpoints"), SqliteCheckpointer(tmp_path / "c.db")):
        flow(tmp_path, keeper).run("monday")
        assert keeper.list("monday")
        assert keeper.delete_all("monday")
        assert not keeper.list("monday")


def test_m18_the_way_that_was_taken_is_taken_again(tmp_path: Path) -> None:
    (tmp_path / "down").touch()
    workflow = (
        Workflow("routed", project=tmp_path, checkpointer=MemoryCheckpointer())
        .step("classify", "echo KIND=big >>$WORKFLOW_OUTPUT")
        .step("large", "test ! -e down")
        .step("tiny", "touch tiny")
        .route("classify", by="KIND", to={"big": "large", "small": "tiny"})
    )
    assert not workflow.run()
    (tmp_path / "down").unlink()
    result = workflow.resume()
    assert result
    assert result["tiny"].status.value in ("skipped", "bypassed")
    assert not (tmp_path / "tiny").exists()


def test_m21_no_checkpointer_configured(tmp_path: Path) -> None:
    with pytest.raises(NoCheckpointerError, match="No checkpointer configured"):
        flow(tmp_path, None).resume()


def test_m22_checkpoint_not_found_names_spelling_place_and_deletion(tmp_path: Path) -> None:
    keeper = SqliteCheckpointer(tmp_path / "c.db")
    flow(tmp_path, keeper).run("monday")
    with pytest.raises(CheckpointNotFoundError, match="Checkpoint not found") as caught:
        flow(tmp_path, keeper).resume("mondya")
    assert all(word in caught.value.help for word in ("spelling", "place", "deleted", "c.db"))


def test_m23_node_not_found_during_resume(tmp_path: Path) -> None:
    keeper = MemoryCheckpointer()
    flow(tmp_path, keeper).run()
    other = Workflow("my-workflow", project=tmp_path, checkpointer=keeper).step("analyzer", "true")
    with pytest.raises(StepNotFoundError, match=r"\(node\) not found during resume.*researcher"):
        other.resume()


def test_m24_what_a_program_keeps_can_be_looked_at_and_validated(tmp_path: Path) -> None:
    result = flow(tmp_path, FileCheckpointer(tmp_path / ".checkpoints"), fails=False).run()
    for verb in ("show", "validate"):
        done = run_program("checkpoint", verb, result.run_id, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert result.run_dir == str(tmp_path / ".checkpoints" / result.run_id)


def test_m20_m25_limits_hold_and_old_checkpoints_go(tmp_path: Path) -> None:
    keeper = SqliteCheckpointer(tmp_path / "c.db", max_checkpoints=2, save_before_step=True)
    assert flow(tmp_path, keeper, fails=False).run()
    assert len(keeper.list()) == 2
    assert keeper.latest().status == "completed"
