"""`workflow run`: what runs, in which order, and what is there afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from tests.cli.support import assert_refused
from tests.conftest import Project, clean_env


def test_steps_run_in_order_of_their_numbers_and_leave_markers(project: Project) -> None:
    """A1, A2, A7, A18, A20: step 10 comes after step 9, not after step 1."""
    for number in (10, 9, 1, 0, 100):
        project.step(number)
    result = project.run("run")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["00", "01", "09", "10", "100"]
    assert project.markers == [0, 1, 9, 10, 100]
    run = project.newest_run
    assert (project.path / ".checkpoints/README.md").exists()
    first = (run / "step_00.complete").read_text().splitlines()
    assert [line.partition("=")[0] for line in first[:4]] == ["STEP", "COMPLETED_AT", "DURATION_SECONDS", "EXIT_CODE"]
    assert (run / "state/step_00_state.json").exists()
    assert (run / "state/step_100_state.json").exists()


def test_a_marker_can_be_sourced_by_a_shell(project: Project) -> None:
    """A7: nothing in it means anything to the shell; odd characters of the name stand as %XX."""
    project.step(1, name="it's $(here)")
    assert project.run().returncode == 0
    script = f'. "{project.newest_run}/step_01.complete" && echo "$STEP:$EXIT_CODE:$STEP_NAME"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "1:0:it%27s%20%24%28here%29\n"


def test_checkpoint_json_tells_what_the_original_layout_tells(project: Project) -> None:
    """A3, A4, A5, A6, A19, S8, S9."""
    project.steps(2)
    project.run()
    master = json.loads((project.newest_run / "checkpoint.json").read_text())
    assert master["completed_steps"] == [0, 1]
    assert master["total_steps"] == 2
    assert master["workflow_id"] == project.newest_run.name
    assert master["project_path"] == str(project.path)
    assert master["last_checkpoint"].endswith("Z")
    assert master["execution_mode"] == {
        "auto": False,
        "smart_execution": False,
        "parallel": False,
        "dry_run": False,
    }
    assert set(master["metadata"]) >= {"user", "hostname", "pid"}
    assert set(master["environment"]) >= {"shell", "bash_version", "git_available", "copilot_available"}
    assert master["status"] == "completed"
    assert (master["completed"], master["pending"], master["failed"]) == (["00", "01"], [], [])


def test_a_failed_step_stops_the_run_and_says_all_there_is_to_say(project: Project) -> None:
    """Exit 1: number, name, attempt, exit code, the end of the log, its path, and the command that resumes."""
    project.step(0)
    project.step(1, "seq 1 30\necho 'no such table' >&2\nexit 7", name="load")
    project.step(2)
    result = project.run("run")
    assert result.returncode == 1
    assert project.executions == ["00"]
    assert project.markers == [0]
    message = result.stderr
    run = project.newest_run
    for words in (
        "error: step 01 load failed (attempt 1): exit code 7",
        "| no such table",
        "| 22",
        f"log: {run}/logs/step_01.log",
        f"help: workflow resume {run.name}",
    ):
        assert words in message
    assert "| 21" not in message  # ten lines, no more
    assert "Traceback" not in message
    # the last line of all is the command that resumes
    assert result.stdout.splitlines()[-1] == f"help: workflow resume {run.name}"


def test_the_command_that_resumes_is_the_one_that_works(project: Project) -> None:
    """Copied from the last line, with a checkpoint directory that needs quotes."""
    project.step(0)
    project.step(1, "[ -e ok ] || exit 1\necho 01 >>ran.txt")
    result = project.run("run", "--checkpoint-dir", "check points")
    line = result.stdout.splitlines()[-1]
    assert line.startswith("help: workflow resume ")
    assert line.removeprefix("help: ") in result.stderr
    project.file("ok", "")
    command = line.removeprefix("help: ").replace("workflow", f'"{sys.executable}" -m workflow', 1)
    again = subprocess.run(
        ["sh", "-c", command], cwd=project, env=clean_env(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert project.executions == ["00", "01"]


def test_a_second_start_in_the_same_second_gets_a_directory_of_its_own(project: Project) -> None:
    """RELIABILITY 20, D7."""
    project.steps(1)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "workflow", "run"],
            cwd=project,
            env=clean_env(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(5)
    ]
    for process in started:
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
    assert len(project.runs) == 5
    assert project.executions == ["00"] * 5
    for run in project.runs:
        assert (run / "step_00.complete").exists()


def test_a_new_run_is_one_whatever_there_is(project: Project) -> None:
    """S20, D2: `run` begins anew, with --force also beside --resume."""
    project.steps(1)
    for number, words in enumerate((["run"], ["run"], ["run", "--resume", "--force"], ["run", "--force"]), start=1):
        assert project.run(*words).returncode == 0
        assert len(project.runs) == number
    assert project.executions == ["00"] * 4


def test_workflow_yaml_is_preferred_and_a_source_can_be_named(project: Project) -> None:
    project.step(0, "echo steps >>ran.txt")
    project.file("workflow.yaml", "steps:\n  - run: echo yaml >>ran.txt\n")
    project.file("other.yaml", "steps:\n  - run: echo other >>ran.txt\n")
    for words in ([], ["run", "steps"], ["run", "other.yaml"], ["--plan", "other.yaml"]):
        result = project.run(*words)
        assert result.returncode == 0, result.stderr
    assert project.executions == ["yaml", "steps", "other", "other"]


def test_values_a_step_publishes_reach_later_steps_and_a_resume(project: Project) -> None:
    """A1, A23: variables persist; across the resume they come from the record, not from a second execution."""
    project.step(0, '. "$WORKFLOW_LIB/step_execution.sh"\nstep_output TOKEN "a b\nc\'\\$(x)"\necho 00 >>ran.txt')
    project.step(1, "[ -e ok ] || exit 1")
    project.step(2, 'printf "%s" "$TOKEN" >got.txt')
    assert project.run().returncode == 1
    project.file("ok", "")
    assert project.run("resume").returncode == 0
    assert (project.path / "got.txt").read_text() == "a b\nc'$(x)"
    assert project.executions == ["00"]


def test_modes_of_files_and_directories_follow_no_umask(project: Project) -> None:
    """RELIABILITY 80, A27, D4: umask 000 does not widen them, umask 077 narrows them."""
    project.step(0, 'echo "A=1" >>"$WORKFLOW_OUTPUT"; echo "B=1" >>"$WORKFLOW_ENV"; echo said >>"$WORKFLOW_SUMMARY"')
    for umask in ("000", "022", "077"):
        shutil.rmtree(project.path / ".checkpoints", ignore_errors=True)
        line = f'umask {umask}; exec "{sys.executable}" -m workflow -q'
        subprocess.run(["sh", "-c", line], cwd=project, env=clean_env(), capture_output=True, check=True)
        for folder, directories, files in os.walk(project.path / ".checkpoints"):
            for name in (".", *directories, *files):
                path = os.path.join(folder, name)
                mode = os.stat(path).st_mode & 0o777
                widest = 0o755 if os.path.isdir(path) else 0o644
                assert mode & ~widest == 0, (umask, path, oct(mode))


def test_a_private_run_is_for_its_owner_alone(project: Project) -> None:
    """RELIABILITY 80, A34, D4."""
    project.file("workflow.yaml", "checkpoints: {private: true}\nsteps:\n  - run: echo said\n")
    line = f'umask 000; exec "{sys.executable}" -m workflow -q'
    subprocess.run(["sh", "-c", line], cwd=project, env=clean_env(), capture_output=True, check=True)
    for folder, directories, files in os.walk(project.newest_run):
        for name in (".", *directories, *files):
            path = os.path.join(folder, name)
            mode = os.stat(path).st_mode & 0o777
            assert mode == (0o700 if os.path.isdir(path) else 0o600), (path, oct(mode))


def test_a_step_sees_the_umask_of_the_user_not_ours(project: Project) -> None:
    project.step(0, "umask >umask.txt; : >made.txt")
    line = f'umask 007; exec "{sys.executable}" -m workflow -q'
    subprocess.run(["sh", "-c", line], cwd=project, env=clean_env(), capture_output=True, check=True)
    assert (project.path / "umask.txt").read_text().strip() == "0007"
    assert (project.path / "made.txt").stat().st_mode & 0o777 == 0o660


def test_a_directory_that_was_removed_is_said_to_be(project: Project) -> None:
    line = f'mkdir gone && cd gone && rmdir ../gone && exec "{sys.executable}" -m workflow run'
    result = subprocess.run(
        ["sh", "-c", line], cwd=project, env=clean_env(), capture_output=True, text=True, check=False
    )
    assert_refused(result, 2, "removed")
