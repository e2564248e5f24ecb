"""A run told on a terminal: lines as everywhere, and below them one calm live line for each running step.

rich only renders here. What it renders goes out through the same outlet as everything else, so the
order is one, a stopped terminal stops nobody, and a terminal that is gone is no error.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import duration_text, one_line
from workflow.events import Event, RunFinished, RunStarted, StepFinished, StepProgress, StepStarted, Tick
from workflow.reporting.console import Output, PlainConsole

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
        self._is_coloured = colour
        self._frames = _Frames(self._outlet.out.encoding)
        self._console: Console | None = None
        self._live: Live | None = None
        self._running: dict[int, _Running] = {}
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
        if isinstance(event, StepProgress):
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
            self._running[number] = _Running(title, position, event.started_at, event.step.interactive)
            self._progress.pop(number, None)
        elif isinstance(event, StepProgress):
            self._progress[event.step.number] = (event.done, event.total)
        elif isinstance(event, StepFinished):
            self._running.pop(event.step.number, None)
            self._progress.pop(event.step.number, None)
        elif isinstance(event, RunStarted):
            self._expected_s = event.expected_s
            self._total = event.to_run
        elif isinstance(event, RunFinished):
            self._running.clear()

    def _refresh(self, now_at: float) -> None:
        if not self._outlet.is_idle:
            self._clear()
            self._outlet.pump()
        self._plain.look(now_at)
        if not self._outlet.is_idle:
            # the live lines go only if there is something to write in their place, hence first and not before
            self._clear(is_first=True)
            self._outlet.pump()
        if not self._running or any(step.is_interactive for step in self._running.values()):
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
        lines = self._lines(now_at, min(SHOWN_STEPS, max(1, height - 2)))
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
        running = sorted(self._running.items())
        spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self._outlet.is_utf8 else "|/-\\"
        sign = spinner[self._frame % len(spinner)]
        shown = running if len(running) <= most else running[: most - 1]
        lines = [f"{sign} {self._line(number, step, now_at)}" for number, step in shown]
        if len(shown) < len(running):
            lines.append(f"{sign} and {len(running) - len(shown):,} more running")
        return lines

    def _line(self, number: int, step: _Running, now_at: float) -> str:
        elapsed_s = max(0.0, now_at - step.started_at)
        parts = [f"[{step.position}/{max(self._total, step.position)}] {step.title}", duration_text(elapsed_s)]
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
