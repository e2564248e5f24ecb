"""A run told on a terminal: lines as everywhere, and below them one calm live line for each running step.

Where many run at once a line of totals stands below these.

rich only renders here. What it renders goes out through the same outlet as everything else, so the
order is one, a stopped terminal stops nobody, and a terminal that is gone is no error.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import duration_text, one_line
from workflow.events import (
    Event,
    RunFinished,
    RunStarted,
    StepFinished,
    StepIterated,
    StepProgress,
    StepStarted,
    StepWaiting,
    Tick,
)
from workflow.reporting.console import Output, PlainConsole
from workflow.reporting.totals import Totals, is_wide
from workflow.reporting.waiting import LOCK, RETRY, next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from rich.console import Console
    from rich.live import Live

REFRESH_S = 0.125
SHOWN_STEPS = 8
BAR_CELLS = 12
_SHOW_CURSOR = "\x1b[?25h"


class _Running(NamedTuple):
    title: str
    position: int
    started_at: float
    is_interactive: bool


class _Waiting(NamedTuple):
    """`until_at` None: it is not known, or nobody has looked at the clock since it began to wait."""

    title: str
    what: str
    wait_s: float | None
    until_at: float | None = None


class _Frames:
    """The file rich writes to: keeps what was written until it is taken."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._written: list[str] = []

    def write(self, text: str) -> int:
        self._written.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def take(self) -> str:
        text = "".join(self._written)
        self._written.clear()
        return text


class LiveConsole:
    """Tells a run on a terminal; the parameters are those of `PlainConsole`.

    The display has no thread: it moves on Tick, at most eight times a second, and output that came in
    between is written above it in the same moment. The cursor is hidden only while a frame is drawn, so
    that nothing has to be restored even after SIGKILL or Ctrl-Z. rich is imported on the first Tick
    during a step: a run of quick steps never pays for it, and no step waits for it.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        output: Output = "stream",
        verbose: bool = False,
        colour: bool = True,
        errors: TextIO | None = None,
        resume_command: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plain = PlainConsole(
            stream,
            output=output,
            verbose=verbose,
            colour=colour,
            errors=errors,
            resume_command=resume_command,
            announces=False,
            is_wholly_lines=True,
            clock=clock,
        )
        self._outlet = self._plain.outlet
        self._is_verbose = verbose
        self._is_coloured = colour
        self._frames = _Frames(self._outlet.out.encoding)
        self._console: Console | None = None
        self._live: Live | None = None
        self._running: dict[int, _Running] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._iterations: dict[int, int] = {}
        self._totals: Totals | None = None
        self._progress: dict[int, tuple[int, int]] = {}
        self._expected_s: dict[int, float] = {}
        self._total = 0
        self._begun: dict[int, int] = {}
        self._refreshed_at = float("-inf")
        self._frame = 0

    def on_event(self, event: Event) -> None:
        if isinstance(event, Tick):
            # abs: the wall clock may be set back
            if abs(event.now_at - self._refreshed_at) >= REFRESH_S:
                self._refreshed_at = event.now_at
                self._refresh(event.now_at)
            return
        self._note(event)
        if isinstance(event, StepProgress) or (isinstance(event, StepIterated) and not self._is_verbose):
            return
        self._clear()
        self._plain.on_event(event)

    def close(self) -> None:
        """Take the live lines off the screen and write what is left. May be called more than once."""
        self._clear()
        if self._console is not None:
            self._outlet.draw(_SHOW_CURSOR)
        self._plain.close()

    def _note(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            number = event.step.number
            position = self._begun.setdefault(number, len(self._begun) + 1)
            title = one_line(event.step.title)
            self._forget(number)
            self._running[number] = _Running(title, position, event.started_at, event.step.interactive)
        elif isinstance(event, StepProgress):
            self._progress[event.step.number] = (event.done, event.total)
        elif isinstance(event, StepIterated):
            self._iterations[event.step.number] = event.iteration + 1
        elif isinstance(event, StepWaiting):
            self._forget(event.step.number)
            self._note_waiting(event)
        elif isinstance(event, StepFinished):
            self._forget(event.step.number)
            self._iterations.pop(event.step.number, None)
            if self._totals is not None:
                self._totals.note(event)
        elif isinstance(event, RunStarted):
            self._expected_s = event.expected_s
            self._total = event.to_run
            self._totals = Totals(event) if is_wide(event.workflow.steps) else None
        elif isinstance(event, RunFinished):
            self._running.clear()
            self._waiting.clear()

    def _forget(self, number: int) -> None:
        self._running.pop(number, None)
        self._waiting.pop(number, None)
        self._progress.pop(number, None)

    def _note_waiting(self, event: StepWaiting) -> None:
        # A step that asks has said so. It has no line: the question may be put on this very terminal.
        title = one_line(event.step.title)
        if event.why == RETRY:
            self._waiting[event.step.number] = _Waiting(title, next_attempt(event), event.wait_s)
        elif event.why == LOCK:
            self._waiting[event.step.number] = _Waiting(title, f"waits for the lock {one_line(event.detail)}", None)

    def _refresh(self, now_at: float) -> None:
        if not self._outlet.is_idle:
            self._clear()
            self._outlet.pump()
        self._plain.look(now_at)
        if not self._outlet.is_idle:
            # the live lines go only if there is something to write in their place, hence first and not before
            self._clear(is_first=True)
            self._outlet.pump()
        if not (self._running or self._waiting) or any(step.is_interactive for step in self._running.values()):
            # an interactive step has the terminal to itself
            self._clear()
            self._outlet.pump()
        elif self._outlet.is_idle and self._outlet.out.is_ready() and self._outlet.out.error is None:
            self._draw(now_at)

    def _draw(self, now_at: float) -> None:
        from rich.live import Live
        from rich.text import Text

        console = self._rich()
        width, height = self._size()
        console.size = (width, height)
        self._frame += 1
        lines = self._lines(now_at, min(SHOWN_STEPS, max(1, height - 2 - (self._totals is not None))))
        text = Text("\n".join(lines), style="dim", no_wrap=True)
        text.overflow = "ellipsis" if self._outlet.is_utf8 else "crop"
        if self._live is None:
            self._outlet.start_line()
            self._live = Live(
                text, console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start(refresh=True)
        else:
            console.show_cursor(False)
            self._live.update(text, refresh=True)
        console.show_cursor(True)
        self._outlet.draw(self._frames.take())
        self._outlet.pump()

    def _clear(self, *, is_first: bool = False) -> None:
        if self._live is None:
            return
        live, self._live = self._live, None
        live.stop()
        self._outlet.draw(self._frames.take(), is_first=is_first)

    def _rich(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(
                file=self._frames,  # type: ignore[arg-type]  # rich uses write, flush, isatty and encoding only
                force_terminal=True,
                force_interactive=True,
                color_system="standard" if self._is_coloured else None,
                no_color=not self._is_coloured,
                highlight=False,
                markup=False,
                emoji=False,
                soft_wrap=False,
            )
        return self._console

    def _size(self) -> tuple[int, int]:
        try:
            width, height = os.get_terminal_size(self._outlet.out.fd)
        except OSError:
            return (80, 24)
        # a terminal without a size says 0 0; the last column stays free, as some terminals wrap once it is filled
        return (max(width - 1, 20) if width else 80, height or 24)

    def _lines(self, now_at: float, most: int) -> list[str]:
        spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self._outlet.is_utf8 else "|/-\\"
        sign = spinner[self._frame % len(spinner)]
        totals = []
        if self._totals is not None:
            started_at = {number: step.started_at for number, step in self._running.items()}
            totals.append(f"  {self._totals.line(started_at, now_at, is_utf8=self._outlet.is_utf8)}")
        # Only so many are put into words, however many there are: this is done eight times a second.
        numbers = [*sorted(self._running), *sorted(self._waiting)]
        shown = numbers if len(numbers) <= most else numbers[: most - 1]
        lines = [f"{sign} {self._line_of(number, now_at)}" for number in shown]
        if len(shown) < len(numbers):
            running, waiting = len(self._running) - len(shown), len(self._waiting)
            more = f"{running:,} more running" if running > 0 else f"{len(numbers) - len(shown):,} more waiting"
            if running > 0 and waiting:
                more += f", {waiting:,} waiting"
            lines.append(f"{sign} and {more}")
        return [*lines, *totals]

    def _line_of(self, number: int, now_at: float) -> str:
        running = self._running.get(number)
        return self._waiting_line(number, now_at) if running is None else self._line(number, running, now_at)

    def _waiting_line(self, number: int, now_at: float) -> str:
        waiting = self._waiting[number]
        if waiting.wait_s is None:
            return f"{waiting.title}  {waiting.what}"
        if waiting.until_at is None:
            waiting = self._waiting[number] = waiting._replace(until_at=now_at + waiting.wait_s)
        left_s = max(0.0, (waiting.until_at or now_at) - now_at)
        return f"{waiting.title}  {waiting.what} in {duration_text(left_s)}"

    def _line(self, number: int, step: _Running, now_at: float) -> str:
        elapsed_s = max(0.0, now_at - step.started_at)
        parts = [f"[{step.position}/{max(self._total, step.position)}] {step.title}", duration_text(elapsed_s)]
        if number in self._iterations:
            parts.append(f"iteration {self._iterations[number]}")
        done, total = self._progress.get(number, (0, 0))
        expected_s = self._expected_s.get(number, 0.0)
        if total > 0:
            parts.append(f"{self._bar(done / total)} {done:,}/{total:,}")
        elif expected_s > elapsed_s:
            parts.append(f"{self._bar(elapsed_s / expected_s)} ~{duration_text(expected_s - elapsed_s)} left")
        elif expected_s > 0:
            parts.append(f"(usually {duration_text(expected_s)})")
        return "  ".join(parts)

    def _bar(self, share: float) -> str:
        filled = round(max(0.0, min(1.0, share)) * BAR_CELLS)
        full, empty = ("━", "╌") if self._outlet.is_utf8 else ("#", "-")
        return full * filled + empty * (BAR_CELLS - filled)
