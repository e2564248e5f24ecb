"""Hooks as users see them: what they are told, in which order, and that none of them can harm the run."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import wait_for
from tests.conftest import ROOT, Project
from tests.processes.support import Mark, marked


@pytest.fixture
def mark() -> Iterator[Mark]:
    with marked() as one:
        yield one


def define(project: Project, hooks: dict[str, Any], *steps: str, **words: Any) -> None:
    document = {"hooks": hooks, "steps": [{"run": step} for step in steps or ("echo 00 >>ran.txt",)], **words}
    project.file("workflow.json", json.dumps(document))


def go(project: Project, *args: str, **options: Any) -> tuple[int, str]:
    done = project.run("run", "workflow.json", *args, **options)
    return done.returncode, done.stdout + done.stderr


def log_of(project: Project) -> str:
    return (project.newest_run / "logs/hooks.log").read_text(errors="surrogateescape")


def lines(project: Project, name: str) -> list[str]:
    path = project.path / name
    return path.read_text().splitlines() if path.exists() else []


def told(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(project, "told.jsonl")]


SAY = 'echo "$WORKFLOW_HOOK $WORKFLOW_STEP $WORKFLOW_RUN_STATUS" >>told.txt'
ALL = ("run_start", "step_start", "step_complete", "step_failed", "checkpoint", "run_complete", "run_failed")


def test_hooks_are_run_in_the_order_of_what_happened(project: Project) -> None:
    define(project, dict.fromkeys((*ALL, "run_paused"), SAY), "true", "true")
    assert go(project)[0] == 0
    assert [line.strip() for line in lines(project, "told.txt")] == [
        "run_start",
        "step_start 00",
        "step_complete 00",
        "step_start 01",
        "step_complete 01",
        "checkpoint",
        "run_complete  completed",
    ]


def test_a_failure_is_told_with_its_step_and_what_failed(project: Project) -> None:
    hook = 'cat >>told.jsonl; printf \'%s|\' "$WORKFLOW_EXIT_CODE" "$WORKFLOW_FAILURE" >>env.txt'
    define(project, {"step_failed": hook, "run_failed": hook, "run_complete": hook}, "true", "exit 7")
    assert go(project)[0] == 1
    step, run = told(project)
    assert (step["event"], step["step"], step["step_name"], step["exit_code"]) == ("step_failed", 1, "step_01", 7)
    assert step["step_status"] == "failed"
    assert step["attempt"] == 1
    assert step["failure"]["kind"] == "exit"
    assert Path(step["step_log"]).is_file()
    assert step["run_id"] == project.newest_run.name
    assert (run["event"], run["run_status"], run["exit_code"]) == ("run_failed", "failed", 1)
    assert run["resume_command"] == f"workflow resume {project.newest_run.name}"
    exit_code, failure, end, *_ = (project.path / "env.txt").read_text().split("|")
    assert (exit_code, end) == ("7", "1")
    assert failure


def test_a_step_that_is_tried_again_is_failed_once_at_the_end(project: Project) -> None:
    define(project, {"step_start": SAY, "step_failed": SAY})
    document = json.loads((project.path / "workflow.json").read_text())
    document["steps"] = [{"run": "exit 1", "retries": 2}]
    project.file("workflow.json", json.dumps(document))
    assert go(project)[0] == 1
    assert [it.split()[0] for it in lines(project, "told.txt")] == ["step_start"] * 3 + ["step_failed"]


def test_a_snapshot_is_told_with_its_file_so_that_it_can_be_copied(project: Project) -> None:
    copy = 'cp "$WORKFLOW_CHECKPOINT_FILE" copied.json; echo "$WORKFLOW_CHECKPOINT $WORKFLOW_CHECKPOINT_NUMBER" >>n.txt'
    define(project, {"checkpoint": copy}, "true", "true", "true")
    assert go(project, "--checkpoint-every", "1")[0] == 0
    run_id = project.newest_run.name
    assert lines(project, "n.txt") == [f"{run_id}@{number} {number}" for number in (1, 2, 3, 4)]
    assert json.loads((project.path / "copied.json").read_text())["trigger"] == "completion"


def test_a_paused_run_and_its_resume_are_told_apart(project: Project) -> None:
    hooks = dict.fromkeys((*ALL, "run_paused"), 'echo "$WORKFLOW_HOOK $WORKFLOW_RESUMED" >>told.txt')
    define(project, hooks, "true", "true")
    assert go(project, "--until", "0")[0] == 0
    assert lines(project, "told.txt")[-1] == "run_paused 0"
    assert project.run("resume").returncode == 0
    assert lines(project, "told.txt")[-1] == "run_complete 1"
    assert "run_start 1" in lines(project, "told.txt")
    assert project.markers == [0, 1]


def test_changing_hooks_runs_no_step_again(project: Project) -> None:
    define(project, {"run_start": "true"}, "echo 00 >>ran.txt", "echo 01 >>ran.txt; test -e go")
    assert go(project)[0] == 1
    before = json.loads((project.newest_run / "workflow.json").read_text())["plan_hash"]
    project.file("go", "")
    define(project, {"run_start": SAY}, "echo 00 >>ran.txt", "echo 01 >>ran.txt; test -e go")
    resumed = project.run("resume")
    assert resumed.returncode == 0
    assert "changed" not in resumed.stderr
    assert project.executions == ["00", "01", "01"]
    assert lines(project, "told.txt")
    assert json.loads((project.newest_run / "workflow.json").read_text())["plan_hash"] == before


def test_what_a_hook_is_does_not_stand_in_the_records(project: Project) -> None:
    define(project, {"run_complete": ": hunter2; echo said"})
    assert go(project)[0] == 0
    assert "said" in log_of(project)
    copies = project.newest_run / "archive"  # of the definition as it is in the project, hooks and all
    for path in set(project.newest_run.rglob("*")) - set(copies.rglob("*")):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


# ---------------------------------------------------------------- hooks that fail


def test_a_hook_that_fails_is_a_warning_with_its_code_and_last_words(project: Project) -> None:
    define(project, {"step_complete": "echo first; echo no route >&2; exit 3"})
    code, said = go(project)
    assert code == 0
    assert project.markers == [0]
    assert "warning: hook step_complete (workflow.json:1) ended with exit code 3: no route" in said
    assert "first\nno route\n" in log_of(project)


def test_a_hook_that_fails_at_every_step_is_not_told_at_every_step(project: Project) -> None:
    define(project, {"step_complete": "exit 3"}, *["true"] * 6)
    code, said = go(project)
    assert code == 0
    assert said.count("warning: hook") == 3
    assert "only " in said
    assert log_of(project).count("exit code 3") == 6


@pytest.mark.parametrize("command", ["no-such-program-at-all", "./not-executable", "exit 1", "kill -9 $$", "exit 255"])
def test_a_hook_that_cannot_run_harms_nothing(project: Project, command: str) -> None:
    project.script("not-executable", "echo\n", executable=False)
    define(project, {"step_start": command, "run_complete": command})
    code, said = go(project)
    assert code == 0
    assert project.markers == [0]
    assert said.count("warning: hook") == 2


def test_a_hook_that_hangs_is_killed_with_all_it_started_at_its_limit(project: Project, mark: Mark) -> None:
    command = f"trap '' TERM INT; {mark.command} & {mark.command}"
    define(project, {"run_start": {"run": command, "timeout": 0.5}})
    started = time.monotonic()
    code, said = go(project)
    assert code == 0
    assert time.monotonic() - started < 8
    assert project.markers == [0]
    assert "ran out of time (limit 0.5s)" in said
    mark.wait_none()


def test_a_hook_that_hangs_does_not_hold_the_steps_up(project: Project, mark: Mark) -> None:
    define(project, {"run_start": {"run": mark.command, "timeout": 4}}, "date +%s.%N >ran.txt")
    started = time.time()
    code, _ = go(project)
    assert code == 0
    assert float((project.path / "ran.txt").read_text()) - started < 3


def test_a_hook_that_floods_is_kept_short(project: Project) -> None:
    define(project, {"run_start": {"run": "echo begin; yes | head -c 50000000; echo end"}})
    assert go(project)[0] == 0
    log = log_of(project)
    assert len(log) < 70_000
    assert "begin" in log
    assert log.rstrip().endswith("end")
    assert "bytes left out" in log


def test_the_log_of_hooks_is_bounded(project: Project) -> None:
    define(project, {"step_complete": "yes | head -c 60000"}, *["true"] * 40)
    assert go(project)[0] == 0
    logs = project.newest_run / "logs"
    assert (logs / "hooks.log.1").exists()
    assert sum(it.stat().st_size for it in logs.glob("hooks.log*")) < 2_400_000


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(project: Project, mark: Mark) -> None:
    define(project, {"run_complete": f"setsid {mark.command} & sleep 0.3; echo started"})
    started = time.monotonic()
    code, said = go(project)
    assert code == 0
    assert "warning" not in said
    assert time.monotonic() - started < 8
    assert mark.alive()  # in a session of its own, which a hook may begin


def test_what_a_hook_leaves_in_the_background_ends_with_it(project: Project, mark: Mark) -> None:
    define(project, {"run_complete": f"{mark.command} & echo started"})
    assert go(project)[0] == 0
    mark.wait_none()


def test_a_hook_that_kills_its_parent_harms_nothing(project: Project, mark: Mark) -> None:
    define(project, {"run_start": f"kill -9 $PPID; {mark.command}"})
    code, said = go(project)
    assert code == 0
    assert project.markers == [0]
    assert "was killed" in said
    mark.wait_none()


def test_a_hook_that_kills_the_group_and_closes_its_descriptors_harms_nothing(project: Project) -> None:
    define(project, {"run_start": "exec 0<&- 1>&- 2>&- 3>&-; kill -9 0"})
    code, said = go(project)
    assert code == 0
    assert project.markers == [0]
    assert "was killed" in said


def test_a_hook_reads_no_terminal_and_need_not_read_what_it_is_told(project: Project) -> None:
    define(project, {"run_start": "exec <&-; sleep 0.1", "run_complete": "cat </dev/tty"})
    code, said = go(project)
    assert code == 0
    assert said.count("warning: hook run_complete") == 1
    assert "run_start" not in said


def test_a_hook_that_removes_the_run_does_not_leave_a_traceback(project: Project) -> None:
    define(project, {"run_complete": 'rm -rf "$WORKFLOW_RUN_DIR"'})
    done = project.run("run", "workflow.json")
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- hooks that are required


def required(command: str, **more: Any) -> dict[str, Any]:
    return {"run": command, "required": True, **more}


def test_a_required_hook_that_fails_at_the_start_stops_before_any_step(project: Project) -> None:
    define(project, {"run_start": required("echo not now; exit 4"), "run_failed": SAY})
    code, said = go(project)
    assert code == 1
    assert project.executions == []
    assert project.markers == []
    assert "error: the required hook run_start (workflow.json:1) ended with exit code 4: not now" in said
    assert "to go on: workflow resume workflow_" in said
    assert lines(project, "told.txt")
    define(project, {"run_start": required("true")})
    assert project.run("resume").returncode == 0
    assert project.executions == ["00"]


def test_a_required_hook_before_a_step_stops_before_that_step(project: Project) -> None:
    gate = required('test "$WORKFLOW_STEP" != 01')
    define(project, {"step_start": gate}, "echo 00 >>ran.txt", "echo 01 >>ran.txt", "echo 02 >>ran.txt")
    code, said = go(project)
    assert code == 1
    assert project.executions == ["00"]
    assert project.markers == [0]
    assert "required hook step_start" in said
    define(project, {"step_start": required("true")}, *[f"echo 0{n} >>ran.txt" for n in range(3)])
    assert project.run("resume").returncode == 0
    assert project.executions == ["00", "01", "02"]


def test_a_required_hook_is_asked_before_every_attempt_and_after_the_condition(project: Project) -> None:
    define(project, {"step_start": required('echo "$WORKFLOW_STEP $WORKFLOW_ATTEMPT" >>asked.txt')})
    document = json.loads((project.path / "workflow.json").read_text())
    document["steps"] = [
        {"run": 'test "$WORKFLOW_ATTEMPT" = 2', "retries": 1},
        {"run": "true", "if": "false"},
        {"run": "true", "if": "true"},
        {"run": "true", "repeat": {"max_iterations": 2}},
        {"parallel": [{"run": "true", "lock": f"hooks-{os.getpid()}"}, {"run": "true"}]},
    ]
    project.file("workflow.json", json.dumps(document))
    code, said = go(project)
    assert code == 0, said
    asked = lines(project, "asked.txt")
    assert asked[:4] == ["00 1", "00 2", "02 1", "03 1"]
    assert sorted(asked[4:]) == ["04 1", "05 1"]


@pytest.mark.parametrize(("event", "done"), [("step_complete", [0]), ("checkpoint", [0, 1]), ("run_complete", [0, 1])])
def test_a_required_hook_that_fails_later_fails_the_run_and_markers_stay_true(
    project: Project, event: str, done: list[int]
) -> None:
    define(project, {event: required("exit 9")}, "echo 00 >>ran.txt; sleep 0.1", "sleep 1; echo 01 >>ran.txt")
    code, said = go(project)
    assert code == 1
    assert f"error: the required hook {event} (workflow.json:1) ended with exit code 9" in said
    assert project.markers == done
    define(project, {}, "echo 00 >>ran.txt; sleep 0.1", "sleep 1; echo 01 >>ran.txt")
    if done == [0]:
        assert project.run("resume").returncode == 0
    assert project.executions == ["00", "01"]


def test_a_required_hook_that_fails_keeps_a_completed_run_from_being_packed_or_removed(project: Project) -> None:
    settings = {"compress": True, "retention": {"keep_completed": False}}
    define(project, {"run_complete": required("false")}, checkpoints=settings)
    assert go(project)[0] == 1
    assert project.newest_run.is_dir()


def test_hooks_at_the_end_run_before_the_run_is_packed(project: Project) -> None:
    define(project, {"run_complete": 'test -e "$WORKFLOW_RUN_DIR/step_00.complete"'}, checkpoints={"compress": True})
    code, said = go(project)
    assert code == 0
    assert "warning" not in said
    assert not project.runs


# ---------------------------------------------------------------- signals and crashes


def test_an_interrupt_ends_a_hook_that_stands_before_a_step(project: Project, mark: Mark) -> None:
    define(project, {"step_start": required(mark.command), "run_paused": SAY})
    process = project.start("run", "workflow.json")
    mark.wait_alive(1)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) == 130
    assert project.executions == []
    assert lines(project, "told.txt")
    mark.wait_none()


def test_a_second_interrupt_ends_the_hooks_at_the_end(project: Project, mark: Mark) -> None:
    define(project, {"run_paused": mark.command}, "sleep 20")
    process = project.start("run", "workflow.json")
    wait_for(lambda: bool(project.runs) and (project.newest_run / "logs/step_00.log").exists())
    os.kill(process.pid, signal.SIGINT)
    mark.wait_alive(1)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) == 130
    mark.wait_none()


def test_a_hook_ends_at_its_limit_when_the_runner_was_killed(project: Project, mark: Mark) -> None:
    define(project, {"run_start": {"run": f"trap '' TERM; {mark.command}", "timeout": 1}}, "sleep 0.2")
    process = project.start("run", "workflow.json")
    mark.wait_alive(1)
    process.kill()
    process.wait(5)
    assert mark.alive()
    mark.wait_none(8.0)
    define(project, {})
    assert go(project, "--resume")[0] == 0


def test_a_hook_that_outlived_its_runner_is_not_taken_for_a_step(project: Project, mark: Mark) -> None:
    define(project, {"step_complete": {"run": mark.command, "timeout": 20}}, "true", "sleep 20")
    process = project.start("run", "workflow.json")
    mark.wait_alive(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)
    define(project, {}, "true", "true")
    started = time.monotonic()
    assert go(project, "--resume", "--end-running")[0] == 0
    assert time.monotonic() - started < 10
    assert mark.alive()


def test_steps_of_a_run_that_a_hook_starts_are_ended_as_ever(project: Project, tmp_path: Path, mark: Mark) -> None:
    inner = tmp_path / "inner"
    (inner / "steps").mkdir(parents=True)
    (inner / "steps/step_00_hang.sh").write_text(f"#| timeout: 0.5s\nsetsid {mark.command}\n")
    command = f"cd {inner} && PYTHONPATH={ROOT} {sys.executable} -m workflow; echo inner $? >&2"
    define(project, {"run_complete": command})
    assert go(project)[0] == 0
    assert "inner 124" in log_of(project)
    mark.wait_none()


def test_nothing_of_hooks_is_loaded_without_any(project: Project) -> None:
    project.steps(1)
    done = project.run("run", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert "workflow.execution.course" in done.stderr
    assert "workflow.execution.hooks" not in done.stderr
    assert "hook_process" not in done.stderr
