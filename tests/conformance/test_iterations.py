"""What long loops were promised: copies of the prompt, states and metrics, bounds, presets, the same command again."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from workflow.checkpoint import records

LOOP = """\
steps:
- name: loop
  run: |
    echo "round $WORKFLOW_ATTEMPT" >>PROMPT.md
    echo cost_incurred=0.25 >>"$WORKFLOW_OUTPUT"
    echo tokens_used=1000 >>"$WORKFLOW_OUTPUT"
  archive: PROMPT.md
  repeat: {max_iterations: 6}
"""


@pytest.fixture
def loop(project: Project) -> Project:
    project.file("workflow.yaml", LOOP)
    project.file("PROMPT.md", "task\n")
    return project


def copies(project: Project, stem: str) -> list[Path]:
    """Return the copies of a file in the newest run, oldest first."""
    known = [json.loads(line)["name"] for line in (project.newest_run / "archive/index.jsonl").read_text().splitlines()]
    assert all(re.fullmatch(r"\w+_\d{8}_\d{6}(?:_\d+)?\.\w+", name) for name in known)
    return [project.newest_run / "archive" / name for name in known if name.startswith(stem)]


def test_r6_the_definition_and_the_prompt_are_archived_by_default(loop: Project) -> None:
    assert loop.run("run").returncode == 0
    assert [path.read_text().count("round") for path in copies(loop, "PROMPT")] == list(range(7))
    assert [path.read_text() for path in copies(loop, "workflow")] == [LOOP]


def test_r6_the_sources_of_steps_are_archived_by_default(project: Project) -> None:
    project.steps(3)
    assert project.run("run").returncode == 0
    assert [path.read_bytes() for path in copies(project, "step_01")] == [
        (project.path / "steps/step_01_s1.sh").read_bytes()
    ]


def test_r7_no_archive_keeps_none(loop: Project) -> None:
    assert loop.run("run", "--no-archive").returncode == 0
    assert not (loop.newest_run / "archive").exists()


def test_r8_r9_r15_r16_states_and_metrics_are_written_and_read_as_json(loop: Project) -> None:
    assert loop.run("run", "--metrics-interval", "2").returncode == 0
    states = sorted((loop.newest_run / "metrics").glob("state_*.json"), key=lambda path: path.stat().st_mtime_ns)
    first, last = (json.loads(path.read_text()) for path in (states[0], states[-1]))
    assert {"iteration", "agent", "start_time", "tokens_used", "cost_incurred", "status"} <= first.keys()
    assert (first["iteration"], first["tokens_used"], first["cost_incurred"]) == (2, 2000, 0.5)
    assert (last["iteration"], last["tokens_used"], last["cost_incurred"]) == (6, 6000, 1.5)
    assert len(list((loop.newest_run / "metrics").glob("metrics_*.json"))) == len(states) >= 3
    for name in ("snapshots", "archive", "metrics", "logs"):
        assert any((loop.newest_run / name).iterdir())


def test_r10_iterations_are_bounded_from_the_command_line(loop: Project) -> None:
    assert loop.run("run", "--max-iterations", "2", "--verbose").returncode == 0
    assert (loop.path / "PROMPT.md").read_text().count("round") == 2


@pytest.mark.parametrize(
    ("preset", "autos", "states", "is_archived"),
    [("aggressive", 4, 4, True), ("balanced", 0, 1, True), ("minimal", 0, 0, False)],
)
def test_r11_r24_presets_say_how_much_is_kept(
    project: Project, preset: str, autos: int, states: int, is_archived: bool
) -> None:
    project.steps(4)
    project.step(4, "exit 1")
    result = project.run("run", "--preset", preset)
    assert result.returncode == 1
    run = project.newest_run
    assert len(list((run / "snapshots").glob("*_auto.json"))) == autos
    assert len(list((run / "metrics").glob("state_*.json"))) >= states
    assert (run / "metrics").exists() is bool(states)
    assert (run / "archive").exists() is is_archived
    assert ("never-run" in result.stdout) is (preset == "aggressive")


def test_r12_r26_the_same_command_after_a_kill_carries_on_by_itself(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "checkpoints: {resume: auto}\n" + LOOP.replace("    echo", "    sleep 0.2\n    echo", 1),
    )
    process = project.start("run")
    while not (project.path / "PROMPT.md").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    result = project.run("run")
    assert result.returncode == 0, result.stderr
    assert len(project.runs) == 1
    assert (project.path / "PROMPT.md").read_text().count("round") == 6


def test_r14_r29_an_archived_prompt_is_listed_and_put_back_and_a_damaged_one_names_an_earlier(loop: Project) -> None:
    assert loop.run("run").returncode == 0
    assert loop.run("checkpoint", "restore", "--archive").stdout.count("PROMPT.md") == 7
    last, before = copies(loop, "PROMPT")[-1], copies(loop, "PROMPT")[-2]
    last.write_bytes(last.read_bytes()[:-3])
    (loop.path / "PROMPT.md").unlink()
    damaged = loop.run("checkpoint", "restore", "--archive", "PROMPT.md")
    assert damaged.returncode == 3
    assert before.name in damaged.stderr
    assert loop.run("checkpoint", "restore", "--archive", before.name).returncode == 0
    assert (loop.path / "PROMPT.md").read_text().count("round") == 5
    # By hand it is a copy like any other.
    shutil.copy(copies(loop, "PROMPT")[0], loop.path / "PROMPT.md")
    assert loop.run("run").returncode == 0


def test_r17_r18_copies_and_metrics_may_be_removed_by_hand(loop: Project) -> None:
    assert loop.run("run", "--metrics-interval", "1").returncode == 0
    for name in ("archive", "metrics"):
        for path in sorted((loop.newest_run / name).iterdir())[1:]:
            path.unlink()
    for words in (("status",), ("metrics",), ("checkpoint", "restore", "--archive"), ("checkpoint", "validate")):
        assert loop.run(*words).returncode == 0, words
    assert loop.run("resume", loop.newest_run.name).returncode == 0


def test_r30_every_state_is_looked_at_with_a_tick_or_a_cross(loop: Project) -> None:
    assert loop.run("run", "--metrics-interval", "1").returncode == 0
    paths = sorted((loop.newest_run / "metrics").iterdir())
    for path in paths:
        records.decode_document(path.read_bytes())
    whole = loop.run("checkpoint", "validate", "-v")
    assert whole.returncode == 0
    assert all(path.name in whole.stdout for path in paths)
    paths[0].write_bytes(paths[0].read_bytes()[:50])
    damaged = loop.run("checkpoint", "validate", "-v")
    assert damaged.returncode == 3
    assert paths[0].name in damaged.stdout
    assert loop.run("checkpoint", "repair").returncode == 0
    assert loop.run("checkpoint", "validate").returncode == 0


def test_r31_m19_progress_history_room_and_the_cost_of_recording_are_told(project: Project) -> None:
    for number in range(4):
        project.step(number, "sleep 0.2")
    assert project.run("run", "--checkpoint-every", "1", "--metrics-interval", "10").returncode == 0
    told = json.loads(project.run("metrics", "--json").stdout)
    assert told["progress_percent"] == 100
    assert told["snapshots"] == len(json.loads(project.run("checkpoint", "list", told["run_id"], "--json").stdout))
    assert told["storage_bytes"] > 0
    assert 0 < told["recording"]["overhead_percent"] < 50


def test_r33_a_run_is_bounded_in_cost_and_goes_on_when_the_bound_is_raised(loop: Project) -> None:
    loop.file("workflow.yaml", "limits: {cost: 1.0}\n" + LOOP)
    stopped = loop.run("run")
    assert stopped.returncode == 4
    assert "limit of cost" in stopped.stderr
    assert (loop.path / "PROMPT.md").read_text().count("round") == 4
    loop.file("workflow.yaml", LOOP)
    assert loop.run("resume").returncode == 0
    assert (loop.path / "PROMPT.md").read_text().count("round") == 6
