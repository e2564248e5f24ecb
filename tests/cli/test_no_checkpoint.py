"""Runs of which nothing is kept: not a byte of the project changes, and no message promises a resume."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, assert_refused, end_orphans, events, tree, wait_for
from tests.conftest import Project
from workflow.definition.schemas import schema

OFF = {
    "flag": (["--no-checkpoint"], {}),
    "environment": ([], {"CHECKPOINT_ENABLED": "false"}),
    "longer variable": ([], {"CHECKPOINT_ENABLED": "true", "WORKFLOW_CHECKPOINT_ENABLED": "0"}),
    "policy": (["--policy", "off.yaml"], {}),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory for what is temporary."""
    path = tmp_path / "tmp"
    path.mkdir()
    return path


def quiet_steps(project: Project, last: str = ":") -> None:
    """Write steps that leave no file in the project."""
    project.step(0, '. "$WORKFLOW_LIB/step_execution.sh"; step_output V 7; echo "dir $WORKFLOW_RUN_DIR"')
    project.step(1, f'echo "V is $V"; mkdir -m 000 "$WORKFLOW_STATE/closed"; {last}')
    project.file("off.yaml", "checkpoints: {enabled: false}\n")


@pytest.mark.parametrize("how", list(OFF))
def test_nothing_is_written_in_the_project_and_nothing_is_left(project: Project, place: Path, how: str) -> None:
    quiet_steps(project)
    words, env = OFF[how]
    before = tree(project)
    result = project.run("run", *words, env={**env, "TMPDIR": str(place)})
    assert result.returncode == 0, result.stderr
    assert "V is 7" in result.stdout
    assert "nothing of this run is kept" in result.stdout
    assert f"dir {place}/" in result.stdout
    assert "logs:" not in result.stdout
    assert tree(project) == before
    assert os.listdir(place) == []
    assert project.run("status").returncode == 3


def test_the_definition_can_switch_it_off(project: Project, place: Path) -> None:
    project.file("workflow.yaml", "checkpoints: {enabled: false}\nsteps: [{run: 'true'}]\n")
    before = tree(project)
    assert project.run(env={"TMPDIR": str(place)}).returncode == 0
    assert tree(project) == before
    assert os.listdir(place) == []
    assert project.run(env={"CHECKPOINT_ENABLED": "true"}).returncode == 0
    assert len(project.runs) == 1


@pytest.mark.parametrize("output", ["stream", "quiet", "group"])
def test_a_failure_shows_the_end_of_its_log_and_no_way_to_resume(project: Project, place: Path, output: str) -> None:
    quiet_steps(project, "for i in 1 2 3; do echo line $i; done; exit 3")
    before = tree(project)
    result = project.run("run", "--no-checkpoint", "--output", output, env={"TMPDIR": str(place)})
    assert result.returncode == 1
    assert "step 01 s1 failed (attempt 1): exit code 3" in result.stderr
    assert "  | line 3" in result.stderr
    said = result.stdout + result.stderr
    assert "resume" not in said
    assert "log:" not in said
    assert tree(project) == before
    assert os.listdir(place) == []


def test_events_say_that_nothing_is_kept(project: Project, place: Path) -> None:
    quiet_steps(project, "exit 3")
    told = events(project.run("run", "--no-checkpoint", "--json", env={"TMPDIR": str(place)}))
    started = next(it for it in told if it["event"] == "run_started")
    assert started["is_kept"] is False
    assert told[-1]["event"] == "run_finished"
    assert told[-1]["resume_command"] == ""
    from jsonschema import Draft202012Validator

    for event in told:
        Draft202012Validator(schema("event")).validate(event)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda it: it.name)
def test_a_signal_leaves_nothing(project: Project, place: Path, number: signal.Signals) -> None:
    quiet_steps(project, f": >{place}/../here; sleep 60")
    before = tree(project)
    process = project.start("run", "--no-checkpoint", env={"TMPDIR": str(place)})
    wait_for((place.parent / "here").exists)
    assert len(os.listdir(place)) == 1
    assert os.stat(place / os.listdir(place)[0]).st_mode & 0o777 == 0o700
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert os.listdir(place) == []
    said = [(project.path / name).read_text() for name in ("stdout.txt", "stderr.txt")]
    assert "resume" not in "".join(said)
    after = tree(project)
    assert {name for name in after if name not in before} == {"stdout.txt", "stderr.txt"}


def test_signals_at_any_moment_leave_nothing(project: Project, place: Path) -> None:
    """From the first import to the last breath: TERM comes at another moment each time."""
    quiet_steps(project)
    took_s = 0.5
    for turn in range(12):
        began = time.monotonic()
        process = project.start("run", "--no-checkpoint", env={"TMPDIR": str(place)})
        time.sleep(took_s * turn / 11)
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
        assert code in (0, 143, -signal.SIGTERM), code
        if turn == 0:
            took_s = max(0.3, time.monotonic() - began + 0.4)
        assert os.listdir(place) == [], f"turn {turn}, exit {code}"


def test_what_a_kill_leaves_lies_in_the_temporary_directory(project: Project, place: Path) -> None:
    quiet_steps(project, f": >{place}/../here; sleep 60")
    before = tree(project)
    process = project.start("run", "--no-checkpoint", env={"TMPDIR": str(place)})
    wait_for((place.parent / "here").exists)
    process.kill()
    process.wait(10)
    end_orphans(project)
    (left,) = os.listdir(place)
    assert re.fullmatch(r"workflow-unkept-[0-9a-f]{12}", left)
    assert {name for name in tree(project) if name not in before} == {"stdout.txt", "stderr.txt"}


@pytest.mark.parametrize(
    "words", [["--resume"], ["run", "--resume"], ["resume"], ["plan", "--resume"], ["run", "--resume-last"]]
)
def test_a_resume_without_checkpoints_is_refused(project: Project, words: list[str]) -> None:
    project.file("workflow.yaml", "steps: [{run: exit 1}]\n")
    project.run()
    before = tree(project.path / ".checkpoints")
    assert_helped(project.run(*words, "--no-checkpoint"), 2, "--no-checkpoint", "cannot both be", "workflow run")
    result = project.run(*words, env={"CHECKPOINT_ENABLED": "off"})
    assert_helped(result, 2, "checkpoints are switched off (CHECKPOINT_ENABLED is false)", "switch them on")
    project.file("workflow.yaml", "checkpoints: {enabled: false}\nsteps: [{run: exit 1}]\n")
    assert_refused(project.run(*words), 2, "`enabled: false`, workflow.yaml:1")
    assert tree(project.path / ".checkpoints") == before


KEEPING = {
    "--metrics-interval": ["1"],
    "--archive": [],
    "--git": [],
    "--max-snapshots": ["3"],
    "--checkpoint-every": ["2"],
    "--checkpoint-interval": ["5m"],
    "--preset": ["balanced"],
}


@pytest.mark.parametrize("word", list(KEEPING))
def test_words_about_what_is_kept_are_refused_wherever_it_is_switched_off(project: Project, word: str) -> None:
    project.steps(1)
    project.file("off.yaml", "checkpoints: {enabled: false}\n")
    words = ["run", word, *KEEPING[word]]
    result = project.run(*words, env={"WORKFLOW_CHECKPOINT_ENABLED": "0"})
    assert_helped(result, 2, f"{word} has nothing to do", "WORKFLOW_CHECKPOINT_ENABLED is false")
    assert_helped(project.run(*words, "--policy", "off.yaml"), 2, f"{word} has nothing to do", "off.yaml:1")
    project.file("own.yaml", "checkpoints: {enabled: false}\nsteps: [{run: echo ran >>ran.txt}]\n")
    assert_helped(project.run(*words, "own.yaml"), 2, f"{word} has nothing to do", "own.yaml:1")
    assert_helped(project.run(*words, "--no-checkpoint"), 2, f"{word} has nothing to do", "--no-checkpoint")
    assert project.executions == []
    assert not project.runs


def test_words_that_want_nothing_kept_go_with_what_keeps_nothing(project: Project) -> None:
    project.file("workflow.yaml", "checkpoints: {enabled: false}\nsteps: [{run: ':'}]\n")
    words = ["--metrics-interval", "0", "--no-archive", "--checkpoint-every", "0", "--no-git"]
    assert project.run("run", *words).returncode == 0


def test_force_makes_a_new_run_whatever_there_is(project: Project) -> None:
    project.steps(1)
    project.run()
    result = project.run("run", "--resume", "--force", "--no-checkpoint")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["00", "00"]
    assert len(project.runs) == 1


def test_a_plan_without_checkpoints_is_a_plan_of_a_new_run(project: Project) -> None:
    project.steps(1)
    assert json.loads(project.run("plan", "--no-checkpoint", "--json").stdout)["run_id"] is None


@pytest.mark.parametrize("place", ["/proc", "/nope", "file"])
def test_a_temporary_directory_that_cannot_be_written_is_said_before_anything_runs(
    project: Project, place: str
) -> None:
    project.steps(1)
    project.file("file", "")
    result = project.run("run", "--no-checkpoint", env={"TMPDIR": place})
    assert_helped(result, 125, "needs a place for its logs", "set TMPDIR")
    assert project.executions == []
    assert not project.runs


def test_a_full_disk_does_not_promise_a_resume(project: Project, place: Path) -> None:
    project.steps(2)
    env = {"TMPDIR": str(place), "WORKFLOW_FAULT": "write:6:ENOSPC:forever"}
    result = project.run("run", "--no-checkpoint", env=env)
    assert result.returncode == 125
    assert "resume" not in result.stdout + result.stderr
    assert "start again: workflow run" in result.stderr
    assert os.listdir(place) == []


def test_a_question_that_nobody_can_answer_later_names_no_command(project: Project, place: Path) -> None:
    project.step(0, "#| approval: Sure?\n:")
    result = project.run("run", "--no-checkpoint", env={"TMPDIR": str(place)})
    assert result.returncode == 4
    assert "Sure?" in result.stdout
    assert "workflow approve" not in result.stdout + result.stderr
    assert os.listdir(place) == []
