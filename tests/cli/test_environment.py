"""Parameters, environment files, where checkpoints lie, and what is shown: options and variables."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.support import assert_helped, document
from tests.conftest import Project, clean_env

ASK = "#| params: {REGION: eu}\necho $REGION >>ran.txt\n[ -e ok ]"


def test_a_parameter_has_a_default_and_can_be_given(project: Project) -> None:
    project.step(0, ASK)
    project.file("ok", "")
    assert project.run("-q").returncode == 0
    assert project.run("-q", "--param", "REGION=us=1 2").returncode == 0
    assert (project.path / "ran.txt").read_text() == "eu\nus=1 2\n"


def test_a_resume_remembers_the_parameters(project: Project) -> None:
    """F28, A23: mission variables."""
    project.step(0, ASK)
    project.run("-q", "--param", "REGION=us")
    project.file("ok", "")
    assert project.run("-q", "--resume").returncode == 0
    assert project.executions == ["us", "us"]


def test_a_resume_with_one_parameter_keeps_the_others(project: Project) -> None:
    project.step(0, "#| params: {A: '1', B: '2'}\necho $A$B >>ran.txt\n[ -e ok ]")
    project.run("-q", "--param", "A=x", "--param", "B=y")
    project.file("ok", "")
    assert project.run("-q", "--resume", "--param", "B=z").returncode == 0
    assert project.executions == ["xy", "xz"]


def test_an_environment_file_gives_variables_to_steps(project: Project) -> None:
    project.step(0, 'printf "%s|" "$A" "$B" "$C" >got.txt')
    project.file("a.env", "# a comment\n\nA=1 2\nB=$(touch owned)\n")
    project.file("b.env", "A=later wins\nC<<END\ntwo\nlines\nEND\n")
    result = project.run("-q", "--env-file", "a.env", "--env-file", "b.env")
    assert result.returncode == 0, result.stderr
    assert (project.path / "got.txt").read_text() == "later wins|$(touch owned)|two\nlines|"
    assert not (project.path / "owned").exists()


@pytest.mark.parametrize("text", ["no equals sign\n", "1A=x\n", "A<<END\nno end\n", "WORKFLOW_RUN_ID=x\n"])
def test_an_environment_file_that_cannot_be_read_is_refused(project: Project, text: str) -> None:
    project.steps(1)
    project.file("a.env", text)
    assert_helped(project.run("--env-file", "a.env"), 2, "a.env")
    assert not project.runs


@pytest.mark.parametrize("how", ["option", "CHECKPOINT_DIR", "WORKFLOW_CHECKPOINT_DIR", "definition"])
def test_checkpoints_can_lie_elsewhere(project: Project, how: str) -> None:
    """A17, D12, S37, S39: run, status, logs, resume, mark all look there."""
    if how == "definition":
        project.file(
            "workflow.yaml",
            "checkpoints: {directory: my runs}\nsteps:\n  - run: echo 00 >>ran.txt\n  - run: '[ -e ok ]'\n",
        )
    else:
        project.step(0)
        project.step(1, "[ -e ok ]")
    words = ["--checkpoint-dir", "my runs"] if how == "option" else []
    env = {how: "my runs"} if how.endswith("DIR") else None
    result = project.run("-q", *words, env=env)
    assert result.returncode == 1
    assert not (project.path / ".checkpoints").exists()
    run = next((project.path / "my runs").glob("workflow_*"))
    status = document(project.run("status", "--json", *words, env=env))
    assert status["run_id"] == run.name
    assert project.run("logs", *words, env=env).returncode == 0
    assert project.run("mark", run.name, "0", "--pending", *words, env=env).returncode == 0
    project.file("ok", "")
    # the command that status ends with needs no environment
    command = status["resume_command"].replace("workflow", f'"{sys.executable}" -m workflow', 1)
    resumed = subprocess.run(
        ["sh", "-c", command], cwd=project, env=clean_env(), capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert project.executions == ["00", "00"]


def test_the_option_wins_over_the_environment(project: Project) -> None:
    project.steps(1)
    assert project.run("-q", "--checkpoint-dir", "a", env={"CHECKPOINT_DIR": "b"}).returncode == 0
    assert (project.path / "a").is_dir()
    assert not (project.path / "b").exists()


def test_checkpoints_outside_the_project_know_their_project(project: Project) -> None:
    project.step(0)
    project.step(1, "[ -e ok ]")
    outside = project.path.with_name("outside")
    assert project.run("-q", "--checkpoint-dir", outside).returncode == 1
    project.file("ok", "")
    assert project.run("-q", "--resume", "--checkpoint-dir", outside).returncode == 0
    assert project.executions == ["00"]


SAYING = "echo out\necho err >&2"


def test_output_stream_group_and_quiet(project: Project) -> None:
    """S65: what steps print is shown as it comes, as a whole, or not at all; the log has it always."""
    project.step(0, SAYING)
    for mode in ("stream", "group"):
        said = project.run("--output", mode).stdout
        assert "out\nerr\n" in said
        assert "ok 00 s0" in said
    quiet = project.run("--output", "quiet")
    assert "err" not in quiet.stdout + quiet.stderr
    assert "ok 00 s0" in quiet.stdout
    for run in project.runs:
        assert (run / "logs/step_00.log").read_text() == "out\nerr\n"


def test_quiet_leaves_the_last_line_and_failures(project: Project) -> None:
    project.step(0, SAYING)
    said = project.run("-q")
    assert len(said.stdout.splitlines()) == 1
    assert not said.stderr
    project.step(1, "echo why\nexit 3")
    said = project.run("-q")
    assert "error: step 01 s1 failed" in said.stderr
    assert "| why" in said.stderr
    assert len(said.stdout.splitlines()) == 2


def test_verbose_says_why(project: Project) -> None:
    project.steps(1)
    assert "never-run" in project.run("-v").stdout
    assert "never-run" not in project.run().stdout


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "xterm"}])
def test_without_a_terminal_lines_are_plain(project: Project, env: dict[str, str]) -> None:
    project.step(0, SAYING)
    project.step(1, "exit 1")
    result = project.run(env=env)
    assert "\x1b" not in result.stdout + result.stderr
    assert "\r" not in result.stdout


def test_what_ascii_cannot_say_is_said_otherwise(project: Project) -> None:
    """No encoding of the terminal may end a run."""
    project.step(0, "echo 'ünï →'", name="ünï")
    for env in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        for words in ([], ["status"], ["plan"], ["lint"], ["status", "--json"], ["plan", "--only", "nö"]):
            result = project.run(*words, env=env)
            assert result.returncode == (2 if "--only" in words else 0), (words, result.stderr)
            assert "Traceback" not in result.stderr
            assert "bug" not in result.stderr


def test_wide_open_environment_does_not_leak_into_stored_files(project: Project) -> None:
    """A34: the environment of the caller is not stored."""
    project.steps(1)
    project.run("-q", env={"MY_API_TOKEN": "canary-4711"})
    for path in project.newest_run.rglob("*"):
        if path.is_file():
            assert b"canary-4711" not in path.read_bytes(), path
