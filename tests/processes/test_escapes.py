"""Descendants that try to escape: at a time limit and at an interrupt nothing of a step lives on."""

from __future__ import annotations

import shutil
import signal
import time

import pytest

from tests.cli.support import start_until
from tests.conftest import Project
from tests.processes.support import Mark, marked

MAKEFILE = """all: a b
a: ; $(MAKE) -s -j2 one two
b: ; $(MAKE) -s -j2 three four
one two three four: ; {command}
"""


def ways(mark: Mark) -> dict[str, tuple[str, int]]:
    """Return ways to start processes, and how many there are then."""
    sleep = mark.command
    return {
        "in the foreground": (f": >here\n{sleep}", 1),
        "two in the background, waited for": (f"{sleep} & {sleep} &\n: >here\nwait", 2),
        "a pipe": (f": >here\n{sleep} | {sleep} | cat", 2),
        "a session of its own": (f"setsid {sleep} &\n: >here\nwait; {sleep}", 1),
        "a double fork": (f"(({sleep}) &)\n((setsid {sleep}) &)\n: >here\nwhile :; do sleep 0.1; done", 2),
        "a double fork without environment": (
            f"((exec env -i setsid {sleep}) &)\n: >here\nwhile :; do sleep 0.1; done",
            1,
        ),
        "nohup": (f"nohup {sleep} >/dev/null 2>&1 &\n: >here\nwait", 1),
        "a make inside a make": (": >here\nmake -s -j2 all", 4),
        "another shell that ignores signals": (f"sh -c \"trap '' INT TERM HUP; {sleep}; {sleep}\" &\n: >here\nwait", 1),
    }


WAYS = list(ways(Mark()))


@pytest.mark.parametrize("how", WAYS)
def test_nothing_of_a_step_outlives_its_time_limit(project: Project, how: str) -> None:
    """RELIABILITY 37, 38: found by group, session, ancestry and environment."""
    if "make" in how and shutil.which("make") is None:
        pytest.skip("no make")
    with marked() as mark:
        body, _ = ways(mark)[how]
        project.file("Makefile", MAKEFILE.format(command=mark.command))
        project.step(0, f"#| timeout: 0.5s\n{body}")
        assert project.run("-q").returncode == 124
        mark.wait_none()


@pytest.mark.parametrize("how", WAYS)
def test_nothing_of_a_step_outlives_an_interrupt(project: Project, how: str) -> None:
    """RELIABILITY 33, 37: 0 descendants within 2 s of the last KILL."""
    if "make" in how and shutil.which("make") is None:
        pytest.skip("no make")
    with marked() as mark:
        body, count = ways(mark)[how]
        project.file("Makefile", MAKEFILE.format(command=mark.command))
        project.step(0, body)
        process = start_until(project, "here", "run", "-q")
        mark.wait_alive(count)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        mark.wait_none()


def test_a_fork_loop_is_ended(project: Project) -> None:
    """RELIABILITY 37: bounded sweeps get ahead of it."""
    with marked() as mark:
        project.file(
            "loop.sh",
            f"[ $1 -gt 0 ] || exec {mark.command}\nwhile :; do setsid sh loop.sh $(($1 - 1)) & sleep 0.05; done",
        )
        project.step(0, "#| timeout: 0.6s\nsh loop.sh 1")
        assert project.run("-q").returncode == 124
        mark.wait_none()
        time.sleep(0.3)
        assert not mark.alive()


def test_what_failed_leaves_nothing_beside_its_next_attempt(project: Project) -> None:
    with marked() as mark:
        project.step(0, f"{mark.command} &\nsetsid {mark.command} &\nexit 3")
        assert project.run("-q").returncode == 1
        mark.wait_none()


def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up(project: Project) -> None:
    """RELIABILITY 36: the step ends when its shell ends."""
    with marked() as mark:
        project.step(0, f"{mark.command} &\necho said")
        project.step(1)
        started = time.monotonic()
        result = project.run()
        assert result.returncode == 0
        assert time.monotonic() - started < 10
        assert "said" in result.stdout
        assert project.markers == [0, 1]
        # and a resume neither waits for it nor takes it for the step
        assert project.run("resume", "-q").returncode == 0
