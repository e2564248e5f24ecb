"""Annotations and the job summary: GitHub's own escaping, bounded numbers, nothing on stdout."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from tests.cli.support import events
from tests.conftest import Project
from tests.reporting.fabricated import run_finished, run_started, step, step_finished
from workflow.events import Notice
from workflow.reporting.github import GitHubActions, command, escaped, fenced


def unescaped(line: str) -> tuple[str, dict[str, str], str]:
    """Return level, properties and message of a workflow command, read as GitHub's runner reads one."""
    match = re.fullmatch(r"::(\w+) ?(.*?)::(.*)", line)
    assert match, line

    def plain(text: str) -> str:
        for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(code, char)
        return text

    pairs = (pair.split("=", 1) for pair in match[2].split(",") if pair)
    return match[1], {name: plain(value) for name, value in pairs}, plain(match[3])


def annotations(text: str) -> list[tuple[str, dict[str, str], str]]:
    return [unescaped(line) for line in text.splitlines() if line.startswith("::")]


@pytest.fixture
def failing(project: Project) -> Project:
    project.step(0, 'echo "## All *good*" >>"$WORKFLOW_SUMMARY"', name="first")
    project.step(
        1,
        '. "$WORKFLOW_LIB/step_execution.sh"; step_warning "50%: a, b"; echo "second words" >>"$WORKFLOW_SUMMARY"\n'
        "printf '100%% done\\n```\\n::error::not ours\\n'; exit 3",
        name="second",
    )
    project.step(2, name="third")
    return project


def github(project: Project, **more: str) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(project.path / "summary.md"),
        "GITHUB_WORKSPACE": str(project.path.parent),
        **more,
    }


def test_a_failed_step_and_its_warnings_are_annotations_on_stderr(failing: Project) -> None:
    result = failing.run("run", env=github(failing))
    assert result.returncode == 1
    assert not annotations(result.stdout.replace("::error::not ours", ""))
    warning, error = annotations(result.stderr)
    place = {"file": "project/steps/step_01_second.sh", "title": "step 01 second"}
    assert warning == ("warning", place, "50%: a, b")
    assert error[:2] == ("error", place)
    run_id = failing.newest_run.name
    assert error[2].split("\n") == [
        "failed: exit code 3",
        "warning: 50%: a, b",
        "100% done",
        "```",
        "::error::not ours",
        f"help: workflow resume {run_id}",
    ]


def test_the_summary_has_the_steps_the_failure_the_command_and_what_steps_wrote(failing: Project) -> None:
    failing.file("summary.md", "was here before\n")
    failing.run("run", env=github(failing))
    text = (failing.path / "summary.md").read_text()
    assert text.startswith("was here before\n### project: failed in ")
    assert "| 00 first | ✅ completed | " in text
    assert "| 01 second | ❌ failed (exit 3) | " in text
    assert "| 02 third | ⛔ blocked |" in text
    assert "````text\nwarning: 50%: a, b\n100% done\n```\n::error::not ours\n````\n" in text
    assert f"```text\nworkflow resume {failing.newest_run.name}\n```\n" in text
    assert text.index("## All *good*") < text.index("second words")
    failing.file("steps/step_01_second.sh", "#!/bin/sh\n:\n")
    assert failing.run("resume", env=github(failing)).returncode == 0
    later = (failing.path / "summary.md").read_text().removeprefix(text)
    assert "| 00 first | completed before |" in later
    assert "To carry on" not in later


def test_stdout_of_json_stays_json(failing: Project) -> None:
    result = failing.run("run", "--json", env=github(failing))
    assert events(result)[-1]["event"] == "run_finished"
    assert [level for level, _, _ in annotations(result.stderr)] == ["warning", "error"]


def test_nothing_is_told_anywhere_else(failing: Project) -> None:
    for env in ({}, {"GITHUB_ACTIONS": "false"}, {"GITHUB_ACTIONS": ""}):
        result = failing.run("run", env={**github(failing), **env} if env else {"CI": "true"})
        assert "::error file" not in result.stderr
        assert not annotations(result.stderr)
    assert not (failing.path / "summary.md").exists()


def test_what_keeps_a_run_from_starting_is_an_annotation_too(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{run: ':', timeuot: 1}]\n")
    result = project.run("run", env=github(project))
    assert result.returncode == 2
    ((level, properties, message),) = annotations(result.stderr)
    assert (level, properties) == ("error", {"title": "workflow"})
    assert "did you mean `timeout`?" in message


@pytest.mark.parametrize("place", ["/nope/summary.md", "steps"])
def test_a_summary_that_cannot_be_written_is_a_warning(project: Project, place: str) -> None:
    project.steps(1)
    result = project.run("run", env=github(project, GITHUB_STEP_SUMMARY=place))
    assert result.returncode == 0
    ((level, _, message),) = annotations(result.stderr)
    assert level == "warning"
    assert message.startswith("the summary of the job:")


def test_nothing_kept_means_no_command_that_resumes(failing: Project) -> None:
    result = failing.run("run", "--no-checkpoint", env=github(failing))
    assert "resume" not in result.stderr
    text = (failing.path / "summary.md").read_text()
    assert "resume" not in text
    assert "second words" in text


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "50% of 100%25",
        "a\nb\r\nc\rd",
        "::error::x",
        "a,b:c=d",
        "%0A",
        "tab\there",
        "\x1b[31mred",
        "ü ✅",
        "\udcff",
    ],
)
def test_what_is_said_comes_out_as_it_was(text: str) -> None:
    line = command("error", text, text, "a,b:c.sh", 3)
    assert "\n" not in line
    assert "\r" not in line
    assert "\x1b" not in line
    line.encode()
    level, properties, message = unescaped(line)
    assert (level, properties["file"], properties["line"]) == ("error", "a,b:c.sh", "3")
    if text.isprintable():
        assert (properties["title"], message) == (text, text)


def test_names_mean_nothing_in_markdown() -> None:
    assert escaped("a|b `c` <script> *d* [e](f) _g_ & \n# h") == (
        "a\\|b \\`c\\` &lt;script&gt; \\*d\\* \\[e\\]\\(f\\) \\_g\\_ &amp; \\\\n\\# h"
    )
    assert fenced(["a", "```` b"]) == ["`````text", "a", "```` b", "`````"]


def test_more_than_ten_annotations_are_counted(tmp_path: Path) -> None:
    out = io.StringIO()
    observer = GitHubActions(out, summary_path=str(tmp_path / "summary.md"))
    steps = tuple(step(number, f"s{number}") for number in range(30))
    observer.on_event(run_started(steps))
    observer.on_event(Notice("careful"))
    observer.on_event(Notice("by the way", level="note"))
    for each in steps:
        observer.on_event(step_finished(each, exit_code=1))
    observer.on_event(run_finished())
    told = [line for line in out.getvalue().splitlines() if line.startswith("::error")]
    assert len(told) == 10
    assert told[-1].endswith("21 more errors: see the log of this job")
    assert "20 more failed." in (tmp_path / "summary.md").read_text()


def test_a_summary_never_grows_past_what_github_shows(project: Project) -> None:
    project.step(0, 'head -c 700000 /dev/zero | tr "\\0" x >>"$WORKFLOW_SUMMARY"')
    project.step(1, 'head -c 700000 /dev/zero | tr "\\0" y >>"$WORKFLOW_SUMMARY"')
    assert project.run("run", "-q", env=github(project)).returncode == 0
    text = (project.path / "summary.md").read_text()
    assert 700_000 < len(text) < 1_000_000
    assert "y" * 100 not in text
    assert "too much to show here" in text
    # What others wrote before us takes room, too.
    assert project.run("run", "-q", env=github(project)).returncode == 0
    assert (project.path / "summary.md").stat().st_size < 1_000_000
