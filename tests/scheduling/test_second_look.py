"""What a second look at the scheduler found: each of these once went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Project
from workflow.checkpoint import commits, store
from workflow.checkpoint.durable import Disk, Faults
from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.records import StepRecord
from workflow.execution.committer import CommitFailed, Committed, Committer
from workflow.model import Attempt, Reason, Source, Status, Step

APPROVAL = """steps:
  - {name: deploy, run: echo deployed >>ran.txt, approval: "Now?"}
"""
LOOP = """steps:
  - {name: loop, run: echo round >>ran.txt, repeat: {max_iterations: 2}}
"""


@pytest.mark.parametrize("words", [("run", "--force"), ("run", "--auto")])
def test_neither_force_nor_auto_is_a_persons_yes(project: Project, words: tuple[str, ...]) -> None:
    project.file("workflow.yaml", APPROVAL)
    assert project.run(*words).returncode == 4
    assert project.run("resume", "--force").returncode == 4
    assert project.executions == []
    assert not (project.newest_run / "state/step_00.approval").exists()


def test_a_damaged_answer_is_none_and_said_so(project: Project) -> None:
    project.file("workflow.yaml", APPROVAL)
    project.run()
    run = project.newest_run
    assert project.run("approve", run.name, "deploy").returncode == 0
    answer = run / "state/step_00.approval"
    answer.write_bytes(answer.read_bytes().replace(b"BY=", b"BY=x"))
    ended = project.run("resume")
    assert ended.returncode == 4
    assert "approval of step 00 deploy does not count" in ended.stderr
    answer.unlink()
    answer.mkdir()
    assert project.run("resume").returncode == 4


def test_a_condition_that_runs_out_of_time_fails_its_step_and_is_not_tried_again(project: Project) -> None:
    project.file("workflow.yaml", "steps:\n  - {name: a, if: sleep 30, timeout: 0.3, retries: 2, run: echo a}\n")
    ended = project.run(timeout=20)
    assert ended.returncode == 1
    assert "bug" not in ended.stderr
    state = json.loads((project.newest_run / "state/step_00_state.json").read_text())
    assert state["status"] == "failed"
    assert state["failure"]["class"] == "condition"
    assert "ran out of time" in state["failure"]["message"]


def test_a_loop_that_a_person_marks_pending_runs_from_its_first_round(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    project.run()
    run_id = project.newest_run.name
    assert project.run("mark", run_id, "loop", "--pending").returncode == 0
    assert project.run("resume", run_id).returncode == 0
    assert project.executions == ["round"] * 4


def test_rounds_of_a_step_that_had_this_number_before_are_not_those_of_another(project: Project) -> None:
    project.file("workflow.yaml", LOOP)
    project.run()
    run_id = project.newest_run.name
    other = LOOP.replace("name: loop", "name: other").replace("echo round", "echo other")
    project.file("workflow.yaml", other + LOOP.removeprefix("steps:\n"))
    assert project.run("resume", run_id).returncode == 0
    assert project.executions == ["round", "round", "other", "other"]


def test_a_loop_that_begins_anew_never_leaves_rounds_without_its_marker(project: Project) -> None:
    """Killed at any removal: rounds without a marker would pass for those of a loop that was killed."""
    project.file("workflow.yaml", LOOP)
    project.run()
    run = project.newest_run
    deaths = 0
    for at in range(1, 5):
        ended = project.run("resume", run.name, "--from-step", "loop", env={"WORKFLOW_FAULT": f"unlink:{at}:die:after"})
        deaths += ended.returncode == -9
        if not (run / "step_00.complete").exists():
            assert list(run.glob("state/*.iteration_*")) == []
            break
    assert deaths


def record(number: int, *files: Path) -> StepRecord:
    step = Step(number, f"s{number}", Source("w"), text=":")
    attempts = (Attempt(1, 1, 1.0, 2.0, 0),)
    return StepRecord(
        step, Status.SUCCEEDED, attempts, Reason("never-run"), "blake3:0", {}, {}, {}, tuple(map(str, files))
    )


def test_an_output_that_the_disk_refused_once_is_not_asked_again_in_a_commit_of_many(tmp_path: Path) -> None:
    """Cases 5 and 6: kernels tell of a failed write-back once; the second fsync would lie."""
    outputs = [tmp_path / name for name in ("one", "two")]
    for path in outputs:
        path.write_text("made")
    disk = Disk(faults=Faults.parse("fsync:1:EIO"))
    root = CheckpointRoot(str(tmp_path / ".checkpoints"))
    Disk().make_directories(root.path)
    layout = store.create_run(root, Disk(), 0.0)
    answers: list[object] = []
    committer = Committer(disk, layout, 1, "full", answers.append)
    committer._commit([record(0, outputs[0]), record(1, outputs[1])])
    committer.close()
    assert [type(it) for it in answers] == [CommitFailed, Committed]
    assert not (Path(layout.path) / "step_00.complete").exists()
    assert commits.iterations_done(layout, 0, "s0") == 0
