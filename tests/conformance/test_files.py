"""The checkpoint directory keeps the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


def master(project: Project) -> dict[str, Any]:
    return json.loads((project.newest_run / "checkpoint.json").read_text())


def test_a1_a11_s11_f2_a_plain_run_marks_every_step(project: Project) -> None:
    project.steps(3)
    assert project.run().returncode == 0
    assert project.markers == [0, 1, 2]
    assert project.executions == ["00", "01", "02"]


def test_a2_a18_a20_a24_the_layout_is_as_promised(project: Project) -> None:
    project.steps(2)
    project.run()
    run = project.newest_run
    assert re.fullmatch(r"workflow_\d{8}_\d{6}(_\d+)?", run.name)
    assert (run.parent / "README.md").is_file()
    for name in ("step_00.complete", "step_01.complete", "checkpoint.json", "workflow.json", "steps.sh", "resume.sh"):
        assert (run / name).is_file(), name
    for name in ("step_00_state.json", "step_01_state.json"):
        json.loads((run / "state" / name).read_text())
    assert (run / "step_00.complete").read_text().startswith("STEP=0\nCOMPLETED_AT=")


def test_a3_a4_a5_a6_the_master_state_has_its_keys(project: Project) -> None:
    project.step(0)
    project.step(5, "exit 1")
    project.step(7)
    assert project.run().returncode == 1
    document = master(project)
    assert document["workflow_id"] == project.newest_run.name
    assert os.path.samefile(document["project_path"], project.path)
    assert INSTANT.match(document["started_at"])
    assert INSTANT.match(document["last_checkpoint"])
    assert document["completed_steps"] == [0]
    assert document["total_steps"] == 3
    assert document["current_step"] == 5
    assert set(document["execution_mode"]) == {"auto", "smart_execution", "parallel", "dry_run"}
    assert set(document["environment"]) >= {"shell", "bash_version", "git_available", "copilot_available"}
    assert set(document["metadata"]) == {"user", "hostname", "pid"}


def test_a7_the_marker_can_be_sourced_by_a_shell(project: Project) -> None:
    project.step(1, name="odd $(touch pwned) 'name'")
    project.run()
    marker = project.newest_run / "step_01.complete"
    asked = 'set -eu; . "$1"; echo "$STEP $EXIT_CODE $COMPLETED_AT $DURATION_SECONDS"'
    said = subprocess.run(
        ["sh", "-c", asked, "sh", marker], capture_output=True, text=True, check=True, cwd=project.path
    )
    step, code, at, duration = said.stdout.split()
    assert (step, code) == ("1", "0")
    assert INSTANT.match(at)
    assert duration.isdigit()
    assert not (project.path / "pwned").exists()


def test_a8_the_step_state_has_its_keys(project: Project) -> None:
    project.step(0, '#| outputs: made.txt\necho x >made.txt\necho tokens_used=7 >>"$WORKFLOW_OUTPUT"')
    project.run()
    state = json.loads((project.newest_run / "state/step_00_state.json").read_text())
    assert state["step"] == 0
    assert state["name"] == "s0"
    assert state["status"] == "completed"
    assert state["exit_code"] == 0
    assert INSTANT.match(state["started_at"])
    assert INSTANT.match(state["completed_at"])
    assert state["duration_seconds"] >= 0
    assert state["errors"] == []
    assert state["warnings"] == []
    assert state["outputs"]["tokens_used"] == "7"
    assert [os.path.basename(path) for path in state["outputs"]["files_modified"]] == ["made.txt"]


@pytest.mark.parametrize("words", [("--resume",), ("resume",), ("run", "--resume-last"), ("run", "--resume")])
def test_a12_s2_s3_s12_s14_f24_f26_resume_carries_on_the_newest(project: Project, words: tuple[str, ...]) -> None:
    project.steps(4)
    project.step(2, "echo 02 >>ran.txt; test -e mended")
    assert project.run().returncode == 1
    project.file("mended", "")
    assert project.run(*words).returncode == 0
    assert project.executions == ["00", "01", "02", "02", "03"]
    assert len(project.runs) == 1


def test_a13_s13_f18_resume_carries_on_the_run_that_is_named(project: Project) -> None:
    project.step(0, "echo 00 >>ran.txt; test -e mended")
    project.run()
    project.run()
    first, second = project.runs
    project.file("mended", "")
    assert project.run("--resume", first.name).returncode == 0
    assert (first / "step_00.complete").exists()
    assert not (second / "step_00.complete").exists()
    assert project.run("resume", "--mission", second.name).returncode == 0
    assert (second / "step_00.complete").exists()


def test_a14_s4_the_checkpoint_status_tells_progress_and_how_to_go_on(project: Project) -> None:
    project.step(0)
    project.step(1, "echo half a result; exit 9")
    project.run()
    said = project.run("--checkpoint-status").stdout
    assert "50%" in said
    assert f"workflow resume {project.newest_run.name}" in said
    assert "half a result" in project.run("logs", "1").stdout


GROUP = """steps:
  - {name: first, run: echo first >>ran.txt}
  - name: pair
    parallel:
      - {name: left, run: 'while [ ! -e met ]; do [ ! -e right ] || touch met; touch left; sleep 0.02; done'}
      - {name: right, run: 'while [ ! -e met ]; do [ ! -e left ] || touch met; touch right; sleep 0.02; done'}
  - {name: last, run: cp "$WORKFLOW_RUN_DIR/checkpoint.json" seen.json}
"""


def test_a9_groups_and_where_they_stand_are_in_the_master_state(project: Project) -> None:
    """Each member waits for the other: one after the other would never end."""
    project.file("workflow.yaml", GROUP)
    assert project.run("-j", "2", timeout=30).returncode == 0
    told = master(project)["parallel_execution"]
    assert told == {"enabled": True, "groups": [{"name": "pair", "steps": [1, 2], "status": "completed"}]}
    assert master(project)["execution_mode"]["parallel"] is True


def test_a9_a_group_that_did_not_end_well_is_pending(project: Project) -> None:
    project.file("workflow.yaml", GROUP.replace("touch right;", "exit 3;"))
    assert project.run("-j", "2", timeout=30).returncode == 1
    assert master(project)["parallel_execution"]["groups"][0]["status"] == "pending"


def test_f25_locks_of_what_is_left_to_do_are_named_and_taken_again_on_resume(project: Project) -> None:
    held = 'flock -n 7 7<"$XDG_STATE_HOME/workflow/locks/db.lock" && exit 9'
    text = f"steps:\n  - name: load\n    lock: db\n    run: |\n      ! {{ {held}; }}\n      [ -e mended ]\n"
    project.file("workflow.yaml", text)
    state = {"XDG_STATE_HOME": str(project.path / "state-home")}
    assert project.run(env=state).returncode == 1
    assert master(project)["recovery_context"]["locks_to_restore"] == ["db"]
    project.file("mended", "")
    assert project.run("resume", env=state).returncode == 0
    assert master(project)["recovery_context"]["locks_to_restore"] == []


def test_a15_every_mode_works_and_is_recorded(project: Project) -> None:
    project.steps(1)
    assert project.run("run", "--dry-run").returncode == 0
    assert project.runs == []
    assert project.run("run", "--parallel").returncode == 0
    assert project.run("run", "--no-parallel").returncode == 0
    assert project.run("run", "--smart").returncode == 0
    assert master(project)["execution_mode"]["smart_execution"] is True
    assert project.run("run", "--auto").returncode == 0
    assert master(project)["execution_mode"]["auto"] is True


def test_a16_a_run_removed_by_hand_while_it_goes_on_ends_with_a_clear_error(project: Project) -> None:
    project.step(0, "until rm -rf .checkpoints/workflow_*; do :; done")
    project.step(1)
    ended = project.run()
    assert ended.returncode == 125
    assert "help: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert project.run().returncode in (0, 125)


def test_a16_old_runs_are_cleared_with_find(project: Project) -> None:
    project.steps(1)
    project.run()
    old = project.newest_run
    long_ago = time.time() - 8 * 86400
    os.utime(old, (long_ago, long_ago))
    find = "find .checkpoints/ -name 'workflow_*' -mtime +7 -exec rm -rf {} +"
    subprocess.run(["sh", "-c", find], cwd=project.path, check=True)
    assert project.runs == []
    assert project.run("--resume").returncode == 0


def test_a19_the_master_state_is_updated_before_and_after_a_step(project: Project) -> None:
    project.step(0, "cp .checkpoints/workflow_*/checkpoint.json before.json")
    project.step(1, "sleep 0.5; cp .checkpoints/workflow_*/checkpoint.json after.json")
    assert project.run().returncode == 0
    before = json.loads((project.path / "before.json").read_text())
    after = json.loads((project.path / "after.json").read_text())
    assert (before["current_step"], before["completed_steps"]) == (0, [])
    assert (after["current_step"], after["completed_steps"]) == (1, [0])
    assert after["status"] == "in_progress"
    assert master(project)["status"] == "completed"


def test_a21_a_summary_ends_the_run(project: Project) -> None:
    project.steps(3)
    assert "3 completed" in project.run().stdout.splitlines()[-1]


def test_a23_m18_values_and_environment_are_the_same_after_a_resume(project: Project) -> None:
    project.step(
        0,
        "printf 'REGION=eu west\\nTEXT<<E\\none\\ntwo $(x)\\nE\\n' >>\"$WORKFLOW_OUTPUT\"\n"
        'echo MODE=fast >>"$WORKFLOW_ENV"',
    )
    project.step(1, "test -e mended")
    project.step(2, 'printf "%s|%s|%s" "$REGION" "$TEXT" "$MODE" >seen')
    project.run()
    project.file("mended", "")
    assert project.run("--resume").returncode == 0
    assert (project.path / "seen").read_text() == "eu west|one\ntwo $(x)|fast"
    assert master(project)["recovery_context"]["environment"]["shared_state"]["REGION"] == "eu west"


def test_a25_no_temporary_file_is_left_by_a_run(project: Project) -> None:
    project.steps(3)
    project.run()
    assert [path for path in project.newest_run.rglob("*") if ".tmp-" in path.name] == []


def test_a26_a_second_runner_of_the_same_run_is_turned_away(project: Project) -> None:
    project.step(0, "echo >started; while [ ! -e go ]; do sleep 0.05; done")
    runner = project.start("run")
    wait_for(project.path / "started")
    second = project.run("--resume")
    assert second.returncode == 75
    assert str(runner.pid) in second.stderr
    project.file("go", "")
    assert runner.wait(20) == 0


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a27_modes_are_0755_and_0644_and_never_wider(project: Project, umask: int) -> None:
    project.step(0, 'umask >seen; echo x; echo A=1 >>"$WORKFLOW_OUTPUT"')
    before = os.umask(umask)
    try:
        assert project.run().returncode == 0
    finally:
        os.umask(before)
    assert int((project.path / "seen").read_text(), 8) == umask
    for path in [project.newest_run, *project.newest_run.rglob("*")]:
        allowed = (0o755 if path.is_dir() or path.name == "resume.sh" else 0o644) & ~(umask & 0o077)
        mode = stat.S_IMODE(path.stat().st_mode)
        # What the step itself appends to is made with its own umask.
        if not path.name.endswith((".output", ".env")):
            assert mode & ~allowed == 0, f"{path}: {mode:o}"


@pytest.mark.parametrize("shell", ["dash", "busybox sh", "bash --posix", "bash"])
def test_a28_a29_the_run_carries_on_in_plain_shell(project: Project, shell: str) -> None:
    words = shell.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    project.steps(3)
    project.step(1, "echo 01 >>ran.txt; test -e mended")
    project.run()
    project.file("mended", "")
    subprocess.run([*words, project.newest_run / "resume.sh"], check=True, capture_output=True)
    assert project.markers == [0, 1, 2]
    assert project.executions == ["00", "01", "01", "02"]
    assert project.run("resume").returncode == 0
    assert project.executions == ["00", "01", "01", "02"]


def test_a30_m22_a_run_that_is_not_there_lists_those_that_are(project: Project) -> None:
    project.steps(1)
    project.run()
    ended = project.run("--resume", "workflow_20200101_000000")
    assert ended.returncode == 3
    assert project.newest_run.name in ended.stderr


def test_a31_a_damaged_marker_is_kept_aside_and_its_step_runs_again(project: Project) -> None:
    project.steps(2)
    project.run()
    marker = project.newest_run / "step_00.complete"
    marker.write_bytes(marker.read_bytes()[:-20])
    ended = project.run("resume")
    assert ended.returncode == 0
    assert "step_00.complete.damaged" in ended.stdout + ended.stderr
    assert project.executions == ["00", "01", "00"]


def wait_for(path: Path, limit_s: float = 20.0) -> None:
    give_up_at = time.monotonic() + limit_s
    while not path.exists():
        assert time.monotonic() < give_up_at, f"{path} did not appear"
        time.sleep(0.02)
