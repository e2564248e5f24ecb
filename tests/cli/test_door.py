"""The door: which command was meant, and what is said when none was."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.cli.support import assert_helped, assert_refused, document, tree
from tests.conftest import Project, clean_env
from workflow.cli.checkpoint import VERBS
from workflow.cli.main import COMMANDS, LATER
from workflow.cli.running import LATER_OPTIONS


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_told_in_an_empty_directory(project: Project, word: str) -> None:
    result = project.run(word)
    assert result.returncode == 0
    assert re.fullmatch(r"workflow \d+\.\d+\.\d+\S*\n", result.stdout)
    assert not list(project.path.iterdir())


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_names_every_command_and_exit_code(project: Project, word: str) -> None:
    result = project.run(word)
    assert result.returncode == 0
    for command in COMMANDS:
        assert f"workflow {command}" in result.stdout
    for code in ("75", "124", "125", "130"):
        assert code in result.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_of_its_own(project: Project, command: str) -> None:
    result = project.run(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: workflow {command}")
    assert not result.stderr


def test_bare_workflow_means_run(project: Project) -> None:
    """A11."""
    project.steps(2)
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert project.markers == [0, 1]


def test_bare_options_mean_run(project: Project) -> None:
    project.steps(3)
    assert project.run("-q", "--until", "1").returncode == 0
    assert project.markers == [0, 1]


@pytest.mark.parametrize(
    "words",
    [
        ["--checkpoint-status"],
        ["run", "--checkpoint-status"],
        ["--json", "--checkpoint-status"],
        ["--checkpoint-status", "--json"],
        ["--checkpoint-dir", ".checkpoints", "--checkpoint-status", "--json"],
    ],
)
def test_checkpoint_status_is_status_wherever_it_stands(project: Project, words: list[str]) -> None:
    """A14."""
    project.steps(1)
    project.run()
    before = tree(project)
    result = project.run(*words)
    assert result.returncode == 0, result.stderr
    if "--json" in words:
        assert document(result)["status"] == "completed"
    else:
        assert "completed" in result.stdout
    assert tree(project) == before


WRONG = {
    "unknown command": (["foo"], 2, ["foo"]),
    "command nearly right": (["stats"], 2, ["stats", "workflow status"]),
    "a directory as the command": (["steps"], 2, ["steps", "workflow run steps"]),
    "unknown option": (["--foo"], 2, ["--foo"]),
    "option nearly right": (["run", "--dry-rum"], 2, ["--dry-rum", "--dry-run"]),
    "number of the wrong type": (["run", "--jobs", "two"], 2, ["--jobs", "two"]),
    "choice that is none": (["run", "--output", "foo"], 2, ["foo", "stream", "group", "quiet"]),
    "option without its value": (["run", "--until"], 2, ["--until"]),
    "one argument too many": (["run", "steps", "more"], 2, ["more"]),
    "more jobs than there can be": (["-j", "513"], 2, ["--jobs", "512"]),
    "an executor there is not": (["--executor", "slurm"], 2, ["--executor"]),
    "no such source": (["run", "nothere"], 2, ["nothere"]),
    "a source that is no definition": (["run", "/dev/null"], 2, ["/dev/null"]),
    "no such step (until)": (["--until", "77"], 2, ["77", "00 s0"]),
    "no such step (only)": (["--only", "nope"], 2, ["nope"]),
    "no such step (from)": (["--from-step", "s9"], 2, ["s9"]),
    "the end before the beginning": (["--from-step", "1", "--until", "0"], 2, ["--from-step", "--until"]),
    "param without a value": (["--param", "x"], 2, ["x", "NAME=VALUE"]),
    "param nobody declares": (["--param", "A=1"], 2, ["A"]),
    "env file that is not there": (["--env-file", "nope"], 2, ["nope"]),
    "mark without a word": (["mark", "workflow_20200101_000000", "1"], 2, ["--done", "--pending"]),
    "mark without a run": (["mark"], 2, ["RUN"]),
    "mark both": (["mark", "workflow_20200101_000000", "1", "--done", "--pending"], 2, ["--done"]),
    "files of a snapshot where there is no git": (["checkpoint", "restore", "x@1"], 2, ["not a git repository"]),
    "unknown schema": (["schema", "foo"], 2, ["foo", "status"]),
    "schema nearly right": (["schema", "stats"], 2, ["stats", "status"]),
    "no runs yet: status": (["status"], 3, ["workflow run"]),
    "no runs yet: logs": (["logs"], 3, ["workflow run"]),
    "no runs yet: resume": (["resume"], 3, ["workflow run"]),
    "no such run: status": (["status", "workflow_20200101_000000"], 3, ["workflow_20200101_000000"]),
    "no such run: logs": (["logs", "workflow_20200101_000000"], 3, ["workflow_20200101_000000"]),
    "no such run: resume": (["resume", "nonsense"], 3, ["nonsense"]),
    "no such run: mark": (["mark", "nonsense", "1", "--done"], 3, ["nonsense"]),
    "three names for logs": (["logs", "a", "b", "c"], 2, ["logs"]),
    "two ways to name the source": (["run", "steps", "--plan", "other.yaml"], 2, ["--plan"]),
    "source and run id swapped": (["resume", "steps"], 3, ["steps"]),
    "failed ones both ways": (["--retry-failed", "--skip-failed"], 2, ["--retry-failed", "--skip-failed"]),
    "a word on a run before, of a new one": (["--validate"], 2, ["--validate", "workflow run --resume --validate"]),
    "failed ones of a new one": (["--retry-failed"], 2, ["--retry-failed", "workflow run --resume --retry-failed"]),
    "trust in a new one": (["--trust"], 2, ["--trust"]),
    "snapshots of what is not kept": (["--no-checkpoint", "--checkpoint-every", "2"], 2, ["--checkpoint-every"]),
    "metrics of what is not kept": (["--no-checkpoint", "--metrics-interval", "2"], 2, ["--metrics-interval"]),
    "copies in what is not kept": (["--no-checkpoint", "--archive"], 2, ["--archive"]),
    "git with what is not kept": (["--no-checkpoint", "--git"], 2, ["--git"]),
    "a preset of what is not kept": (["--no-checkpoint", "--preset", "minimal"], 2, ["--preset"]),
    "an empty step": (["--until", ""], 2, ["step"]),
    "an empty run": (["resume", ""], 3, ["run"]),
    "an empty source": (["run", ""], 2, []),
    "a newline in a run id": (["status", "work\nflow"], 3, ["work\\nflow"]),
    "a step number no machine has": (["--only", "9" * 5000], 2, []),
    "digits of another script": (["--only", "²"], 2, ["²"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_words_are_refused_with_the_next_command(project: Project, case: str) -> None:
    """Nothing is run, nothing is written, and the last line says what to do."""
    words, exit_code, expected = WRONG[case]
    project.steps(2)
    before = tree(project)
    assert_helped(project.run(*words), exit_code, *expected)
    assert tree(project) == before


@pytest.mark.parametrize("name", sorted(LATER_OPTIONS))
def test_options_of_later_are_refused_and_never_ignored(project: Project, name: str) -> None:
    words, is_flag = LATER_OPTIONS[name]
    project.steps(1)
    assert_helped(project.run(words[-1], *([] if is_flag else ["5"])), 2, words[-1], "not available")
    assert not project.runs


def test_options_that_ask_for_what_is_done_anyway_are_taken(project: Project) -> None:
    project.steps(1)
    assert project.run("-j", "1", "--executor", "local").returncode == 0


@pytest.mark.parametrize("command", LATER)
def test_commands_of_later_say_so(project: Project, command: str) -> None:
    assert_helped(project.run(command), 2, command, "not available")


def test_a_bug_says_that_it_is_one_and_shows_no_traceback(project: Project) -> None:
    """Exit 70; --debug shows where."""
    code = (
        "import sys\nfrom workflow.cli import main\n"
        "def broken(words): raise ZeroDivisionError('half')\n"
        "main._dispatch = broken\nmain.main(sys.argv[1:])"
    )
    import sys

    from tests.conftest import clean_env

    for words, shown in (([], False), (["--debug"], True)):
        result = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=project,
            env=clean_env(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 70
        assert "this is a bug in workflow" in result.stderr
        assert ("Traceback" in result.stderr) is shown


def test_debug_shows_where_a_refusal_comes_from(project: Project) -> None:
    plain = project.run("run")
    assert_refused(plain, 2)
    assert "Traceback" in project.run("run", "--debug").stderr


def test_a_reader_that_goes_away_is_no_error_of_ours(project: Project) -> None:
    """`workflow lint | head -0`, `workflow plan | true`: no traceback, no noise."""
    import sys

    from tests.conftest import clean_env

    project.steps(3)
    for command in ("plan", "lint", "schema workflow", "run", "status", "logs"):
        line = f'{{ "{sys.executable}" -m workflow {command}; }} | true'
        result = subprocess.run(
            ["sh", "-c", line], cwd=project, env=clean_env(), capture_output=True, text=True, check=False
        )
        assert not result.stderr, (command, result.stderr)


def test_the_verbs_of_checkpoint_are_each_told_in_one_line(project: Project) -> None:
    result = project.run("checkpoint", "--help")
    assert result.returncode == 0
    commands = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == list(VERBS)
    assert not [line for line in commands if line.endswith("...")], "no sentence is cut off"


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"]])
def test_lint_answers_in_json_both_ways(project: Project, words: list[str]) -> None:
    project.steps(2)
    assert document(project.run("lint", *words))["steps"] == 2


@pytest.mark.parametrize("command", ["status", "plan", "checkpoint list", "checkpoint show --json", "doctor", "lint"])
def test_a_reader_who_goes_away_is_no_failed_step(project: Project, command: str) -> None:
    project.steps(1)
    assert project.run("-q").returncode == 0
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "workflow", *command.split()]
    left = subprocess.run(words, cwd=project.path, env=clean_env(), stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (left.returncode, left.stderr) == (141, b"")


@pytest.mark.parametrize("option", [words[0] for words, is_flag in LATER_OPTIONS.values() if not is_flag])
def test_an_option_of_later_without_its_value_is_refused_too(project: Project, option: str) -> None:
    project.steps(1)
    assert_helped(project.run("run", option), 2, option)
    assert project.executions == []
