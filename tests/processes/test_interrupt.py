"""Ctrl-C, TERM and HUP: each pushes harder than the one before, nothing is left, and the run carries on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pexpect
import pytest

from tests.cli.support import document, start_until, wait_for
from tests.conftest import Project, clean_env
from tests.processes.support import Mark, assert_resumable, marked, screen, stdout, terminal

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def three_steps(project: Project, mark: Mark, *, trap: str = "") -> subprocess.Popen[bytes]:
    """Start a run whose second step sleeps, and wait until it does. `trap` stands at its head.

    `here` says that the trap is set; a sleep that is ended is followed by another one when the step ignores signals.
    """
    project.step(0)
    again = f"while :; do {mark.command}; done" if trap else mark.command
    project.step(1, f"{trap}\n: >here\n{again}")
    project.step(2)
    process = start_until(project, "here", "run")
    mark.wait_alive(1)
    return process


def heard(project: Project, words: str) -> None:
    """Wait until the runner said so."""
    wait_for(lambda: words in "\n".join(stdout(project)))


@pytest.mark.parametrize(("number", "exit_code"), [(INT, 130), (TERM, 143), (HUP, 129)])
def test_one_signal_ends_an_ordinary_step(project: Project, number: int, exit_code: int) -> None:
    """RELIABILITY 33, 40, S1: exit 128+n, the resume line last, no marker."""
    with marked() as mark:
        process = three_steps(project, mark)
        process.send_signal(number)
        assert process.wait(20) == exit_code
        mark.wait_none()
        status = document(project.run("status", "--json"))
        assert status["status"] == "paused"
        assert status["steps"][1]["status"] == "interrupted"
        assert_resumable(project, process, exit_code)


def test_the_second_ctrl_c_ends_a_step_that_ignores_the_first(project: Project) -> None:
    """RELIABILITY 33."""
    with marked() as mark:
        process = three_steps(project, mark, trap="trap '' INT")
        process.send_signal(INT)
        heard(project, "Ctrl-C again")
        assert process.poll() is None
        process.send_signal(INT)
        assert process.wait(5) == 130
        mark.wait_none()
        assert_resumable(project, process, 130)


def test_the_third_ctrl_c_kills_a_step_that_ignores_everything(project: Project) -> None:
    """RELIABILITY 33, 34."""
    with marked() as mark:
        process = three_steps(project, mark, trap="trap '' INT TERM HUP")
        process.send_signal(INT)
        heard(project, "Ctrl-C again")
        process.send_signal(INT)
        heard(project, "Ctrl-C again to kill")
        assert process.poll() is None
        process.send_signal(INT)
        assert process.wait(5) == 130
        mark.wait_none()
        assert_resumable(project, process, 130)


def test_a_second_term_kills(project: Project) -> None:
    """RELIABILITY 34: TERM begins where a second Ctrl-C is."""
    with marked() as mark:
        process = three_steps(project, mark, trap="trap '' INT TERM HUP")
        process.send_signal(TERM)
        heard(project, "stopping")
        process.send_signal(TERM)
        assert process.wait(5) == 143
        mark.wait_none()
        assert_resumable(project, process, 143)


@pytest.mark.slow
def test_one_ctrl_c_alone_climbs_the_whole_ladder(project: Project) -> None:
    """RELIABILITY 33, 34: INT, 10 s, TERM, 5 s, KILL."""
    with marked() as mark:
        process = three_steps(project, mark, trap="trap 'echo int >>said' INT\ntrap 'echo term >>said' TERM")
        started = time.monotonic()
        process.send_signal(INT)
        assert process.wait(40) == 130
        assert 14.5 <= time.monotonic() - started <= 20
        assert (project.path / "said").read_text().split() == ["int", "term"]
        mark.wait_none()
        assert_resumable(project, process, 130)


def test_a_step_that_ends_well_although_it_was_interrupted_is_not_called_complete(project: Project) -> None:
    """Exit 0 from a trap says nothing about the work: it runs again."""
    with marked() as mark:
        process = three_steps(project, mark, trap="trap 'exit 0' INT")
        process.send_signal(INT)
        assert_resumable(project, process, 130)


def test_a_step_may_clean_up_after_the_first_signal(project: Project) -> None:
    with marked() as mark:
        process = three_steps(project, mark, trap="trap 'sleep 0.3; echo clean >cleaned; exit 1' INT")
        process.send_signal(INT)
        assert process.wait(10) == 130
        assert (project.path / "cleaned").read_text() == "clean\n"


def test_hang_up_is_ignored_where_it_was_ignored_before(project: Project) -> None:
    """`nohup workflow &` goes on when its terminal closes, and so do its steps."""
    project.step(
        0, ": >here\nn=0; while [ ! -e go ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done\necho 00 >>ran.txt"
    )
    process = subprocess.Popen(
        ["sh", "-c", f'trap "" HUP; exec "{sys.executable}" -m workflow -q'],
        cwd=project,
        env=clean_env(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for((project.path / "here").exists)
    process.send_signal(HUP)
    time.sleep(0.2)
    assert process.poll() is None
    project.file("go", "")
    assert process.wait(10) == 0
    assert project.executions == ["00"]


def test_ctrl_c_on_a_terminal(project: Project) -> None:
    """RELIABILITY 33: the key itself; the last line is the command that resumes, and the cursor is there."""
    with marked() as mark:
        project.step(0, f"{mark.command}")
        child = terminal(project)
        mark.wait_alive(1)
        time.sleep(0.4)  # let the live line appear
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        mark.wait_none()
        lines = [line.rstrip() for line in screen(child.before) if line.strip()]
        assert lines[-1] == f"help: workflow resume {project.newest_run.name}"
        assert child.before.rfind("\x1b[?25h") >= child.before.rfind("\x1b[?25l")


def test_a_terminal_that_closes_ends_the_run_in_order(project: Project) -> None:
    """RELIABILITY 40: HUP, nobody reads any more, and still the record is right."""
    with marked() as mark:
        project.step(0)
        project.step(1, mark.command)
        child = terminal(project)
        mark.wait_alive(1)
        child.close(force=False)
        wait_for(lambda: not child.isalive())
        assert (child.exitstatus, child.signalstatus) == (129, None)
        mark.wait_none()
        assert project.markers == [0]
        assert document(project.run("status", "--json"))["status"] == "paused"
