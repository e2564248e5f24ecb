"""When a run makes snapshots, and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.support import assert_helped, document, hanging_step, kill, start_until, wait_for
from tests.conftest import Project, clean_env
from tests.keeping.snapshot_support import named, snapshot, triggers, words
from workflow.checkpoint import store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.master import MasterFacts, MasterWriter
from workflow.definition import loader
from workflow.execution.board import Board
from workflow.execution.in_hand import RUN, InHand
from workflow.execution.snapshotting import Snapshotting
from workflow.model import Attempt, Reason, Status
from workflow.planning.record import nothing_recorded

MARK = "[CHECKPOINT]"
LIBRARY = '. "$WORKFLOW_LIB/step_execution.sh"'


def test_a_plain_run_has_one_at_its_end(project: Project) -> None:
    project.steps(3)
    assert project.run("run").returncode == 0
    assert triggers(project) == ["completion"]
    last = snapshot(project, 1)
    assert (last["status"], last["completed"], last["trigger"]) == ("completed", ["00", "01", "02"], "completion")
    task = last["tasks"]["01"]
    state = json.loads((project.newest_run / "state/step_01_state.json").read_text())
    assert (task["name"], task["status"], task["exit_code"], task["epoch"]) == ("s1", "completed", 0, 1)
    assert (task["started_at"], task["completed_at"]) == (state["started_at"], state["completed_at"])
    assert task["duration_ms"] == round(1000 * state["duration_seconds"])
    assert task["fingerprint"] == state["fingerprint"]


def test_every_snapshot_holds_against_its_schema(project: Project) -> None:
    project.step(0, f"{LIBRARY}\nstep_checkpoint hello\nstep_output A 1")
    project.step(1, "exit 1")
    project.run("run", "--checkpoint-every", "1")
    project.run("checkpoint", "create")
    schema = document(project.run("schema", "snapshot"))
    jsonschema.Draft202012Validator.check_schema(schema)
    files = sorted((project.newest_run / "snapshots").iterdir())
    assert len(files) == 4
    for path in files:
        jsonschema.validate(json.loads(path.read_text()), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("every", "autos"), [("1", 7), ("2", 3), ("7", 1), ("8", 0), ("0", 0)])
def test_after_every_so_many_steps(project: Project, every: str, autos: int) -> None:
    project.steps(7)
    assert project.run("run", "--checkpoint-every", every).returncode == 0
    assert triggers(project) == ["auto"] * autos + ["completion"]
    for number in range(1, autos + 1):
        seen = snapshot(project, number)
        assert len(seen["completed"]) >= number * int(every)
        assert seen["status"] == "in_progress"


def test_the_definition_says_how_often_and_the_command_line_wins(project: Project) -> None:
    steps = "".join(f"  - name: s{number}\n    run: 'true'\n" for number in range(4))
    project.file("workflow.yaml", f"checkpoints:\n  task_interval: 2\n  max_snapshots: 2\nsteps:\n{steps}")
    assert project.run("run").returncode == 0
    assert [path.name for path in sorted((project.newest_run / "snapshots").iterdir())] == [
        "0002_auto.json",
        "0003_completion.json",
    ]
    assert project.run("run", "--checkpoint-every", "0", "--max", "7").returncode == 0
    assert triggers(project) == ["completion"]


def test_the_moment_between_the_end_of_a_step_and_its_record_is_no_news(tmp_path: Path) -> None:
    """Nobody has it in hand any more and it counts as running still: another snapshot would say the same."""
    (tmp_path / "workflow.yaml").write_text("steps:\n  - run: 'true'\n  - run: 'true'\n")
    workflow = loader.load(str(tmp_path), None)
    disk = Disk()
    root = CheckpointRoot(str(tmp_path / ".checkpoints"))
    store.prepare_root(root, disk, b"")
    layout = store.create_run(root, disk, 0.0)
    recorded = nothing_recorded(workflow)
    facts = MasterFacts(
        *(layout, workflow),
        epoch=1, plan_hash="", started_at=0.0, environment={}, user="", is_auto=False, variables={}, values={},
    )  # fmt: skip
    making = Snapshotting(layout, disk, workflow, recorded, MasterWriter(disk, layout, facts), epoch=1, now=0.0)
    first, second = (step.number for step in workflow.steps)
    nobody: Any = None
    board = Board({first: Status.RUNNING, second: Status.PENDING}, nobody, nobody, 1)
    hand = InHand(workflow.steps[0], Attempt(1, 1, 0.0), Reason("never-run"), RUN, 0, 1, 0.0)

    def is_due_at(now: float, running: list[int]) -> bool:
        board.in_hand = dict.fromkeys(running, hand)
        making.on_tick(now, running)
        is_due = making.is_due
        making.make(board)
        return is_due

    assert is_due_at(301.0, [first])
    assert not is_due_at(602.0, [first])
    assert not is_due_at(903.0, [])
    assert is_due_at(1204.0, [second])
    disk.close()


def test_by_the_clock_where_anything_happened(project: Project) -> None:
    project.step(0)
    project.step(1, "sleep 1.5")
    assert project.run("run", "--checkpoint-interval", "0.3s").returncode == 0
    # Once it is told that step 01 runs, the next ones would say the same, so there are none; but the clock may strike
    # once more between the end of step 01 and that of the run.
    made = triggers(project)
    assert made in (["auto", "completion"], ["auto", "auto", "completion"])
    autos = [words(snapshot(project, number)) for number in range(1, len(made))]
    assert autos.count({"00": "completed", "01": "running"}) == 1
    assert all(autos.count(one) == 1 for one in autos)


@pytest.mark.parametrize(
    "words_",
    [
        ["--checkpoint-every", "x"],
        ["--checkpoint-every", "-1"],
        ["--checkpoint-interval", "soon"],
        ["--checkpoint-interval", "-5m"],
        ["--checkpoint-interval", ""],
        ["--max-snapshots", "0"],
        ["--max", "1e9"],
    ],
)
def test_nonsense_is_refused_before_anything_runs(project: Project, words_: list[str]) -> None:
    project.steps(1)
    assert_helped(project.run("run", *words_), 2, words_[0] if words_[0] != "--max" else "--max-snapshots")
    assert project.runs == []


@pytest.mark.parametrize("text", ["5m", "90s", "1h30m", "7", "0", "0s"])
def test_an_interval_is_a_duration_or_a_number_of_steps(project: Project, text: str) -> None:
    project.steps(1)
    assert project.run("run", "--checkpoint-interval", text).returncode == 0
    stored = json.loads((project.newest_run / "workflow.json").read_text())
    seconds = {"5m": 300, "90s": 90, "1h30m": 5400, "7": 300, "0": 0, "0s": 0}[text]
    said = stored["definition"].get("checkpoints", {})
    assert said.get("interval_minutes", 5) * 60 == seconds
    assert said.get("task_interval", 0) == (7 if text == "7" else 0)


def test_a_failure_makes_one_that_tells_what_it_stopped(project: Project) -> None:
    project.steps(3)
    project.step(1, "exit 7")
    assert project.run("run").returncode == 1
    assert triggers(project) == ["error"]
    seen = snapshot(project, 1)
    assert words(seen) == {"00": "completed", "01": "failed", "02": "blocked"}
    assert (seen["status"], seen["tasks"]["01"]["exit_code"], seen["failed"]) == ("failed", 7, ["01"])


def test_each_failure_that_blocks_makes_one_and_a_tolerated_one_makes_none(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "steps:\n"
        "  - {name: a, run: exit 1, needs: []}\n"
        "  - {name: b, run: exit 1, needs: [], continue_on_error: true}\n"
        "  - {name: c, run: sleep 0.3; exit 1, needs: []}\n"
        "  - {name: d, run: 'true', needs: [a]}\n",
    )
    assert project.run("run", "--keep-going", "-j", "4").returncode == 1
    assert triggers(project) == ["error", "error"]
    assert words(snapshot(project, 2)) == {"00": "failed", "01": "failed", "02": "failed", "03": "blocked"}


def test_a_failure_beside_others_tells_how_they_ended(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "steps:\n  - parallel:\n"
        "      - {name: bad, run: sleep 0.2; exit 1}\n      - {name: slow, run: sleep 60}\n"
        "  - {name: next, run: 'true'}\n",
    )
    assert project.run("run", "-j", "2", timeout=30).returncode == 1
    assert triggers(project) == ["error"]
    assert list(words(snapshot(project, 1)).values()) == ["failed", "interrupted", "blocked"]


def test_a_step_that_succeeds_after_a_retry_makes_none(project: Project) -> None:
    project.step(0, "#| retries: 1\n[ -e again ] || { : >again; exit 1; }")
    assert project.run("run").returncode == 0
    assert triggers(project) == ["completion"]


def test_a_run_that_pauses_has_one_too(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert triggers(project) == ["auto"]
    assert snapshot(project, 1)["status"] == "paused"
    assert words(snapshot(project, 1)) == {"00": "completed", "01": "interrupted"}


def test_a_resume_that_finds_nothing_to_do_makes_none(project: Project) -> None:
    project.steps(2)
    project.run("run")
    assert project.run("resume").returncode == 0
    assert triggers(project) == ["completion"]


def test_a_resume_tells_of_what_was_complete_before(project: Project) -> None:
    """Also where the run was killed before it made any snapshot, and where the last snapshot is damaged."""
    project.step(0, f"{LIBRARY}\nstep_output A 1\necho x >out", name="a")
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    kill(process)
    project.file("go", "")
    assert project.run("resume").returncode == 0
    assert triggers(project) == ["completion"]
    first = snapshot(project, 1)
    assert words(first) == {"00": "completed", "01": "completed"}
    state = json.loads((project.newest_run / "state/step_00_state.json").read_text())
    assert first["tasks"]["00"]["started_at"] == state["started_at"]
    assert first["tasks"]["00"]["output_hash"].startswith("blake3:")
    (project.newest_run / "snapshots/0001_completion.json").write_text("{}")
    assert project.run("resume", "--from-step", "1").returncode == 0
    again = snapshot(project, 2)
    assert again["tasks"]["00"] == first["tasks"]["00"]
    assert (again["tasks"]["01"]["epoch"], again["epoch"]) == (3, 3)


def test_a_step_asks_for_one_and_goes_on(project: Project) -> None:
    project.step(0, f"{LIBRARY}\nstep_checkpoint before the big one\n: >asked\nuntil [ -e go ]; do sleep 0.05; done")
    process = start_until(project, "asked", "run", "--json")
    wait_for((project.newest_run / "snapshots/0001_manual.json").exists)
    assert words(snapshot(project, 1)) == {"00": "running"}
    project.file("go", "")
    assert process.wait(20) == 0
    assert named(project) == [("manual", "before the big one"), ("completion", "")]
    told = [json.loads(line) for line in (project.path / "stdout.txt").read_text().splitlines()]
    made = [event["message"] for event in told if event["event"] == "notice"]
    assert made == [f"snapshot {project.newest_run.name}@1 made (before the big one)"]


@pytest.mark.parametrize("body", ["exit 0", "exit 3", "kill -9 $$"])
def test_what_a_step_asked_counts_however_it_ends(project: Project, body: str) -> None:
    project.step(0, f"{LIBRARY}\nstep_checkpoint one\nstep_checkpoint two\n{body}")
    project.run("run")
    # It asked while it ran, and that is what its snapshots say, whenever they were made.
    assert words(snapshot(project, 1)) == words(snapshot(project, 2)) == {"00": "running"}
    last = "completion" if body == "exit 0" else "error"
    assert named(project) == [("manual", "one"), ("manual", "two"), (last, "")]


def test_a_step_that_is_tried_again_asks_again(project: Project) -> None:
    project.step(0, f"#| retries: 1\n{LIBRARY}\nstep_checkpoint try\n[ -e again ] || {{ : >again; exit 1; }}")
    assert project.run("run").returncode == 0
    assert named(project) == [("manual", "try"), ("manual", "try"), ("completion", "")]


def test_each_iteration_of_a_step_may_ask(project: Project) -> None:
    project.step(0, f"#| repeat: {{max_iterations: 3}}\n{LIBRARY}\nstep_checkpoint round $WORKFLOW_ITERATION")
    assert project.run("run").returncode == 0
    assert [name for _, name in named(project)] == ["round 1", "round 2", "round 3", ""]
    assert snapshot(project, 2)["tasks"]["00"]["iterations"] == 1


@pytest.mark.parametrize(
    "body",
    [
        f"echo '{MARK}'",
        f"printf 'so far so good {MARK}, on we go'",
        f"echo '{MARK} {MARK}' >&2",
        f"printf '[CHECK'; sleep 0.35; printf 'POINT]'; sleep 0.25; echo ' {MARK}'",
        f"head -c 3000000 /dev/zero | tr '\\0' x; echo '{MARK}'; head -c 3000000 /dev/zero",
    ],
)
def test_a_line_with_the_mark_makes_one(project: Project, body: str) -> None:
    project.step(0, body)
    project.step(1, "echo '[CHECKPOINT'; echo 'checkpoint]'")
    assert project.run("run", "-q").returncode == 0
    assert named(project) == [("manual", "[CHECKPOINT] in step 00 s0"), ("completion", "")]


def test_lines_of_an_earlier_attempt_do_not_count_again(project: Project) -> None:
    project.step(0, f"#| retries: 1\n[ -e again ] || {{ : >again; echo '{MARK}'; exit 1; }}")
    project.step(1, "exit 1")
    project.run("run")
    project.step(1, "exit 0")
    assert project.run("resume").returncode == 0
    assert [trigger for trigger, _ in named(project)] == ["manual", "error", "completion"]


def test_a_step_that_prints_nothing_but_marks_does_not_drown_the_run(project: Project) -> None:
    project.step(0, f"yes '{MARK}' | head -n 400000")
    assert project.run("run", "-q").returncode == 0
    assert 2 <= len(triggers(project)) < 40


def test_a_snapshot_that_cannot_be_written_is_a_warning_and_said_once(project: Project) -> None:
    project.step(0, ': >"$WORKFLOW_RUN_DIR/snapshots"')
    for number in range(1, 4):
        project.step(number)
    result = project.run("run", "--checkpoint-every", "1")
    assert result.returncode == 0
    assert project.executions == ["01", "02", "03"]
    assert result.stderr.count("no snapshot was made") == 1


def test_nothing_is_followed_out_of_the_run(project: Project) -> None:
    project.step(0, 'mkdir away; ln -s "$WORKFLOW_PROJECT/away" "$WORKFLOW_RUN_DIR/snapshots"')
    result = project.run("run")
    assert result.returncode == 0
    assert "no snapshot was made" in result.stderr
    assert os.listdir(project.path / "away") == []


def test_a_private_run_has_private_snapshots(project: Project) -> None:
    project.file("workflow.yaml", "checkpoints: {private: true}\nsteps:\n  - run: 'true'\n")
    project.run("run")
    project.run("checkpoint", "create")
    directory = project.newest_run / "snapshots"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert triggers(project) == ["completion", "manual"]


def test_without_python_a_step_that_asks_goes_on(project: Project) -> None:
    project.step(0, "[ -e mended ]")
    project.step(1, f"set -e\n{LIBRARY}\nstep_checkpoint nobody hears\necho '{MARK}'\necho 01 >>ran.txt")
    assert project.run("run").returncode == 1
    run = project.newest_run
    project.file("mended", "")
    done = subprocess.run(["sh", str(run / "resume.sh")], cwd=project.path, env=clean_env(), check=False)
    assert (done.returncode, project.executions, project.markers) == (0, ["01"], [0, 1])
    assert (run / "state/step_01.events").read_text() == "checkpoint nobody hears\n"
    assert triggers(project) == ["error"]
    # The next resume finds that everything is done, and has it on record.
    assert project.run("resume").returncode == 0
    assert triggers(project) == ["error", "completion"]
