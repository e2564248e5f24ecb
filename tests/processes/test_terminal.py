"""On a terminal: a calm live line, steps that ask a person, and what stays on the screen."""

from __future__ import annotations

import re

import pexpect

from tests.cli.support import assert_helped
from tests.conftest import Project
from tests.processes.support import SEQUENCE, screen, terminal

CALM = re.compile(r"\x1b\[(\?25[lh]|[12]?K|1?A|[0-9;]*m)")


def whole(child: pexpect.spawn[str]) -> str:
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before)


def test_the_live_line_is_calm_and_leaves_no_trace(project: Project) -> None:
    """S65: elapsed time while it runs; in the end the screen holds only lines that stay true."""
    project.step(0, "echo one\nsleep 0.8\necho two")
    project.step(1, "printf half; sleep 0.4; echo ' and half'")
    child = terminal(project)
    text = whole(child)
    assert child.exitstatus == 0
    assert "[1/2] 00 s0" in text
    odd = {match[0] for match in SEQUENCE.finditer(text) if not CALM.fullmatch(match[0])}
    assert not odd
    assert text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")
    shown = [line.rstrip() for line in screen(text)]
    assert not any("[1/2]" in line or "[2/2]" in line for line in shown)
    for words in ("one", "two", "half and half"):
        assert words in shown
    assert any(line.startswith("completed in") for line in shown)


def test_what_history_expects_is_shown(project: Project) -> None:
    project.step(0, "sleep 0.7")
    project.run("-q")
    assert re.search(r"left|usually", whole(terminal(project)))


def test_progress_of_a_step_is_shown(project: Project) -> None:
    project.step(0, '. "$WORKFLOW_LIB/step_execution.sh"\nstep_progress 3 12\nsleep 0.6')
    assert "3/12" in whole(terminal(project))


def test_no_color_and_ci_mean_plain_lines(project: Project) -> None:
    project.step(0, "echo one\nsleep 0.4")
    for env in ({"NO_COLOR": "1"}, {"CI": "1"}, {"TERM": "dumb"}):
        text = whole(terminal(project, env=env))
        assert not re.search(r"\x1b\[[0-9?]*[A-LN-Za-ln-z]", text), env
        assert "ok 00 s0" in "\n".join(screen(text))
        if "CI" not in env:
            assert "\x1b" not in text


def test_a_step_cannot_paint_the_terminal_of_who_reads_a_failure(project: Project) -> None:
    project.step(0, "printf '\\033[2Jgone\\n'\nexit 1")
    result = project.run("-q")
    assert "\x1b" not in result.stdout + result.stderr


def test_an_interactive_step_asks_and_reads_the_answer(project: Project) -> None:
    project.step(0)
    project.step(1, "#| interactive: true\nprintf 'name? '\nread -r n\necho \"hello $n\"\necho $n >>ran.txt")
    project.step(2)
    child = terminal(project)
    child.expect_exact("name? ")
    child.sendline("ada")
    child.expect_exact("hello ada")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert project.executions == ["00", "ada", "02"]
    assert project.markers == [0, 1, 2]


def test_ctrl_c_in_an_interactive_step_is_for_the_step(project: Project) -> None:
    project.step(0, "#| interactive: true\necho ready\nread -r n\necho 00 >>ran.txt")
    child = terminal(project)
    child.expect_exact("ready")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus in (1, 130)
    assert project.markers == []
    assert project.executions == []


def test_an_interactive_step_without_a_terminal_says_what_to_do(project: Project) -> None:
    """Exit 2; what is complete stays so."""
    project.step(0)
    project.step(1, "#| interactive: true\nread -r n")
    result = project.run()
    assert result.returncode == 2
    assert "error: step 01 s1 is interactive and there is no terminal" in result.stderr
    assert "help: " in result.stderr
    assert "--done" in result.stderr
    assert "Traceback" not in result.stderr
    assert project.markers == [0]
    assert project.run("mark", project.newest_run.name, "1", "--done").returncode == 0
    assert project.run("resume", "-q").returncode == 0
    assert project.executions == ["00"]


def test_status_and_refusals_are_plain_without_a_terminal_and_coloured_on_one(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    assert "\x1b[" in whole(terminal(project, "status"))
    assert "\x1b[" not in whole(terminal(project, "status", env={"NO_COLOR": "1"}))
    assert_helped(project.run("--foo"), 2, "--foo")
