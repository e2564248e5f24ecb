"""The live console, over a real terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.reporting.fabricated import (
    NOW,
    Screen,
    run_finished,
    run_started,
    step,
    step_finished,
    step_started,
)
from workflow.events import Interrupted, StepIterated, StepProgress, StepWaiting, Tick
from workflow.model import Failure, Retries, Rules, RunStatus
from workflow.reporting.live import LiveConsole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO


class Terminal:
    """A pseudo terminal whose other end is read all the time."""

    def __init__(self, columns: int = 80) -> None:
        self._other, fd = os.openpty()
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream: TextIO = open(fd, "w", encoding="utf-8")
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._other, 65536):
                self._seen += chunk
        except OSError:
            pass  # EIO: the terminal is closed

    def finish(self) -> bytes:
        if not self.stream.closed:
            self.stream.close()
            self._reader.join(10)
            os.close(self._other)
        return bytes(self._seen)

    def seen(self) -> bytes:
        """Return what has come so far, once nothing more comes."""
        size = -1
        while size != len(self._seen):
            size = len(self._seen)
            time.sleep(0.05)  # the reader is a thread: give it the time to be scheduled
        return bytes(self._seen)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.finish()


def test_output_and_lines_stay_whole_and_the_cursor_comes_back(terminal: Terminal, tmp_path: Path) -> None:
    log = tmp_path / "log"
    console = LiveConsole(terminal.stream)
    console.on_event(run_started((step(),)))
    console.on_event(step_started(step(), log))
    with log.open("ab", buffering=0) as writer:
        for tick in range(40):
            writer.write(b"line %d\npart" % tick if tick % 2 else b"ial %d\n" % tick)
            console.on_event(Tick(NOW + tick * 0.1))
        writer.write(b" and the end")
    console.on_event(step_finished(step(), log))
    console.on_event(run_finished())
    console.close()
    screen = Screen(terminal.finish())
    expected = log.read_bytes().splitlines()
    at = screen.lines.index(b"-- 05 tests")
    assert screen.lines[at + 1 : at + 1 + len(expected)] == expected
    assert screen.lines[at + 1 + len(expected)] == b"ok 05 tests 1.2s"
    assert screen.lines[-2:] == [b"completed in 2m05s: 1 completed", b""]
    assert screen.is_cursor_shown
    assert not any(b"[1/1]" in line for line in screen.lines), "a live line was left on the screen"


def test_a_live_line_says_position_elapsed_and_what_is_left(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(run_started((step(), step(6, "docs")), expected_s={5: 130.0}))
    console.on_event(step_started(step()))
    console.on_event(Tick(NOW + 10))
    screen = Screen(terminal.seen())
    assert screen.is_cursor_shown, "between frames the cursor is never hidden: kill -9 leaves it shown"
    assert screen.lines[-1].decode() == "⠙ [1/2] 05 tests  10s  ━╌╌╌╌╌╌╌╌╌╌╌  ~2m00s left".replace("╌  ~", "╌ ~")
    console.on_event(StepProgress(step(), 30, 40))
    console.on_event(Tick(NOW + 20))
    assert Screen(terminal.seen()).lines[-1].decode().endswith("20s  ━━━━━━━━━╌╌╌ 30/40")
    console.close()
    assert Screen(terminal.finish()).lines[-1] == b""


def test_frames_are_drawn_at_most_eight_times_a_second(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(step_started(step()))
    for tick in range(20):
        console.on_event(Tick(NOW + tick / 20))
    console.close()
    assert terminal.finish().count(b"05 tests") <= 9


def test_many_running_steps_are_counted(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    for number in range(30):
        console.on_event(step_started(step(number, "x" * 200)))
    console.on_event(Tick(NOW + 1))
    screen = Screen(terminal.seen())
    assert len(screen.lines) == 8
    assert screen.lines[-1].decode().endswith("and 23 more running")
    console.on_event(Tick(NOW + 2))
    console.close()
    assert Screen(terminal.finish()).lines == [b""] * 9


def test_an_interactive_step_has_the_terminal_to_itself(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(step_started(step(interactive=True)))
    console.on_event(Tick(NOW + 1))
    console.close()
    assert b"05 tests" not in terminal.finish()


def test_names_with_control_characters_stay_in_their_line(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(step_started(step(name="[red]a\x1b[2J\r\nb")))
    console.on_event(Tick(NOW + 1))
    screen = Screen(terminal.seen())
    assert len(screen.lines) == 1
    assert rb"05 [red]a\x1b[2J\r\nb" in screen.lines[0]
    console.close()


def test_an_interrupt_is_one_line_above_the_live_one(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(step_started(step()))
    console.on_event(Tick(NOW + 1))
    console.on_event(Interrupted(2, 1))
    console.on_event(Tick(NOW + 2))
    lines = Screen(terminal.seen()).lines
    assert lines[0] == b"stopping: waiting up to 10s for 05 tests (Ctrl-C again to end it now)"
    assert b"05 tests" in lines[1]
    console.close()


def test_a_terminal_that_is_gone_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    other, fd = os.openpty()
    stream = open(fd, "w")
    console = LiveConsole(stream)
    console.on_event(step_started(step(), log))
    console.on_event(Tick(NOW))
    os.close(other)
    log.write_bytes(b"output\n")
    console.on_event(Tick(NOW + 1))
    console.on_event(step_finished(step(), log, exit_code=1))
    console.on_event(run_finished(RunStatus.FAILED, 1))
    console.close()
    try:
        stream.close()
    except OSError:
        pass


def test_a_stopped_terminal_stops_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"0123456789abcde\n" * 100_000)
    other, fd = os.openpty()
    with open(fd, "w") as stream:
        termios.tcflow(fd, termios.TCOOFF)
        console = LiveConsole(stream)
        began = time.monotonic()
        console.on_event(step_started(step(), log))
        for tick in range(20):
            console.on_event(Tick(NOW + tick))
        console.on_event(step_finished(step(), log))
        assert time.monotonic() - began < 5
        os.close(other)
        console.close()


def test_rich_is_not_imported_before_a_tick_during_a_step() -> None:
    program = (
        "import sys\n"
        "from tests.reporting.fabricated import *\n"
        "from workflow.events import Tick\n"
        "from workflow.reporting.live import LiveConsole\n"
        "console = LiveConsole(sys.stdout)\n"
        "console.on_event(run_started((step(),)))\n"
        "console.on_event(Tick(NOW - 1))\n"
        "console.on_event(step_started(step()))\n"
        "assert 'rich' not in sys.modules\n"
        "console.on_event(Tick(NOW))\n"
        "assert 'rich' in sys.modules\n"
        "console.close()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_a_killed_runner_leaves_the_cursor_shown() -> None:
    program = (
        "import os, sys\n"
        "from tests.reporting.fabricated import *\n"
        "from workflow.events import Tick\n"
        "from workflow.reporting.live import LiveConsole\n"
        "console = LiveConsole(sys.stdout)\n"
        "console.on_event(step_started(step()))\n"
        "console.on_event(Tick(NOW))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    terminal = Terminal()
    ended = subprocess.run([sys.executable, "-c", program], stdout=terminal.stream, check=False)
    seen = terminal.finish()
    assert ended.returncode == -9
    assert b"05 tests" in seen
    assert Screen(seen).is_cursor_shown


def test_a_line_of_totals_stands_below_where_many_run_at_once(terminal: Terminal) -> None:
    steps = tuple(step(number, f"s{number}", group="g") for number in range(20))
    console = LiveConsole(terminal.stream)
    console.on_event(run_started(steps, expected_s=dict.fromkeys(range(20), 600.0)))
    for each in steps[:12]:
        console.on_event(step_started(each))
    console.on_event(Tick(NOW))
    lines = Screen(terminal.seen()).lines
    assert len(lines) == 2 + 8 + 1, "the header, eight lines of steps, and one of totals"
    assert lines[-2].decode().endswith("and 5 more running")
    assert lines[-1].decode() == "  running 12, done 0 of 20, waiting 8 · about 17m left"
    console.close()


def test_a_step_between_two_attempts_counts_down(terminal: Terminal) -> None:
    fetch = step(3, "fetch", rules=Rules(retries=Retries(limit=3)))
    console = LiveConsole(terminal.stream)
    console.on_event(run_started((fetch,)))
    console.on_event(step_started(fetch))
    console.on_event(StepWaiting(fetch, "retry", "", 1, Failure("exit", "exit code 7"), 60.0))
    console.on_event(Tick(NOW))
    console.on_event(Tick(NOW + 18))
    screen = Screen(terminal.seen())
    assert screen.lines[-2] == b"-- 03 fetch failed (exit 7), trying again in 1m00s (attempt 2 of 4)"
    assert screen.lines[-1].decode().endswith("03 fetch  attempt 2 of 4 in 42s")
    console.on_event(step_started(fetch, attempt=2))
    console.on_event(Tick(NOW + 60))
    assert b"attempt 2 of 4 in" not in Screen(terminal.seen()).lines[-1]
    console.close()


def test_an_iteration_moves_the_live_line_and_nothing_else(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(step_started(step()))
    console.on_event(Tick(NOW))
    console.on_event(StepIterated(step(), 4, 1.0))
    console.on_event(Tick(NOW + 1))
    lines = Screen(terminal.seen()).lines
    assert len(lines) == 1
    assert lines[0].decode().endswith("05 tests  1.0s  iteration 5")
    console.close()


def test_a_step_that_asks_leaves_the_terminal_for_the_question(terminal: Terminal) -> None:
    console = LiveConsole(terminal.stream)
    console.on_event(StepWaiting(step(), "approval", "Deploy?"))
    console.on_event(Tick(NOW))
    assert Screen(terminal.seen()).lines == [b"-- 05 tests asks: Deploy?", b""]
    console.close()
