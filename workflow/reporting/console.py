"""A run told in plain lines: no cursor is moved, so that it reads the same in a file, a pipe and a terminal."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Literal

from workflow.errors import one_line
from workflow.events import (
    Event,
    Interrupted,
    LogsMoving,
    Notice,
    RunFinished,
    RunStarted,
    StepFinished,
    StepIterated,
    StepStarted,
    StepWaiting,
    Tick,
)
from workflow.model import Status
from workflow.reporting.following import Following
from workflow.reporting.outlet import Outlet
from workflow.reporting.tally import Tally
from workflow.reporting.wording import (
    Palette,
    finished_line,
    header_lines,
    interrupted_line,
    iterated_line,
    notice_text,
    short_failure,
    started_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

Output = Literal["stream", "group", "quiet"]

# So many failures have a message of their own; who has more than that wants their names, and looks into a log then.
FAILURES_TOLD = 10


class PlainConsole:
    """Tells a run in lines of text.

    What people follow goes to `stream`; errors and warnings go to `errors` (the same stream when None).
    `output`: `stream` shows a step's output as it comes, `group` as a whole after the step, `quiet` not at all.
    `quiet` (the `-q` of the command line) leaves only failures, warnings and the closing sentence.
    `resume_command` stands below a failure; empty means `workflow resume RUN_ID`.
    `announces`: whether a start that has nothing else to say has a line; if not, output has its own heading.
    `is_wholly_lines`: keep back the unfinished last line of output until it is whole (or 64 KiB long).

    A reader that goes away (EPIPE) is no error: the rest is not written, the run goes on.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        output: Output = "stream",
        verbose: bool = False,
        colour: bool = False,
        quiet: bool = False,
        errors: TextIO | None = None,
        resume_command: str = "",
        announces: bool = True,
        is_wholly_lines: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outlet = Outlet(stream, errors, is_coloured=colour, clock=clock)
        self.palette = Palette(is_coloured=colour, is_utf8=self.outlet.is_utf8)
        self._following = Following(self.outlet, is_wholly_lines=is_wholly_lines)
        self._output: Output = "quiet" if quiet else output
        self._is_verbose = verbose
        self._is_quiet = quiet
        self._announces = announces
        self._tally = Tally(resume_command)
        self._running: dict[int, str] = {}
        self._groups: dict[int, int] = {}
        self._iterated: set[int] = set()
        self._has_named_error = False
        self._tellers: dict[type, Callable[..., None]] = {
            RunStarted: self._tell_run_started,
            Notice: self._tell_notice,
            StepStarted: self._tell_step_started,
            StepWaiting: self._tell_step_waiting,
            StepIterated: self._tell_step_iterated,
            StepFinished: self._tell_step_finished,
            Interrupted: self._tell_interrupted,
            Tick: self._tell_tick,
            LogsMoving: self._tell_logs_moving,
            RunFinished: self._tell_run_finished,
        }

    def on_event(self, event: Event) -> None:
        teller = self._tellers.get(type(event))
        if teller is None:
            return
        teller(event)
        self.outlet.settle()

    def look(self, now_at: float) -> None:
        """Queue what running steps have put out since the last look, without writing it."""
        self._following.look(now_at)

    def close(self) -> None:
        """Write what is left, waiting for a slow reader. May be called more than once."""
        self.outlet.drain()
        self._name_error()

    def _tell_run_started(self, event: RunStarted) -> None:
        self._tally.started = event
        if self._is_quiet:
            return
        for line in header_lines(event, self.palette):
            self.outlet.say(line)

    def _tell_notice(self, event: Notice) -> None:
        if self._is_quiet and event.level == "note":
            return
        self.outlet.complain(notice_text(event, self.palette))
        self.outlet.pump()

    def _tell_step_started(self, event: StepStarted) -> None:
        number = event.step.number
        title = one_line(event.step.title)
        self._running[number] = title
        self._tally.begins(number)
        if event.step.interactive:
            pass  # what it says goes to the terminal by itself
        elif self._output == "stream":
            self._following.start(number, title, event.log_path, event.log_offset_bytes)
        elif self._output == "group":
            # every attempt of a step is part of its output: the first offset counts
            self._groups.setdefault(number, event.log_offset_bytes)
        if number in self._iterated:
            # The next iteration of a loop, which may have thousands of them: no news.
            self._iterated.discard(number)
            return
        if self._is_quiet:
            return
        if self._announces or self._is_verbose or event.attempt > 1 or event.reason.code != "never-run":
            self.outlet.say(started_line(event, title, self.palette, is_verbose=self._is_verbose))
            self._following.is_introduced(number)

    def _tell_step_waiting(self, event: StepWaiting) -> None:
        number = event.step.number
        title = self._running.pop(number, None) or one_line(event.step.title)
        self._following.finish(number)
        if not self._tally.waits(event, title) or self._is_quiet:
            return
        from workflow.reporting.waiting import waiting_line

        self.outlet.say(waiting_line(event, title, self.palette, self._tally.approve(number)))
        self._following.is_interrupted()

    def _tell_step_iterated(self, event: StepIterated) -> None:
        self._iterated.add(event.step.number)
        if self._is_verbose and not self._is_quiet:
            self._following.look_at(event.step.number)
            self.outlet.say(iterated_line(event, one_line(event.step.title), self.palette))
            self._following.is_interrupted()

    def _tell_step_finished(self, event: StepFinished) -> None:
        step = event.step
        number = step.number
        title = self._running.pop(number, None) or one_line(step.title)
        self._tally.ends(event, title)
        self._iterated.discard(number)
        if self._output == "stream":
            self._following.finish(number)
        elif self._output == "group" and number in self._groups:
            self._following.start(number, title, event.log_path, self._groups.pop(number))
            self._following.finish(number)
        # One failure may block thousands: they are told of together, at the end.
        is_told = self._is_verbose or event.status not in (Status.BYPASSED, Status.BLOCKED)
        if is_told and not self._is_quiet:
            self.outlet.say(finished_line(event, title, self.palette, self._tally.decision(number)))
            self._following.is_interrupted()
        for warning in event.warnings:
            self.outlet.complain(notice_text(Notice(f"{title}: {warning}"), self.palette))
        if event.status is Status.FAILED and not event.is_tolerated:
            self._tell_failure(event, title)

    def _tell_failure(self, event: StepFinished, title: str) -> None:
        if not self._tally.is_kept:
            event = event._replace(log_path="")  # who reads this finds nothing there any more
        if self._tally.failed > FAILURES_TOLD:
            log = f" (log: {one_line(event.log_path)})" if event.log_path else ""
            message = f"error: step {title} failed: {short_failure(event)}{log}"
        else:
            from workflow.reporting.failure import failure_message, is_rejected

            # How to go on stands below the first failure, and again at the very end.
            resume = self._tally.resume_command if self._tally.failed == 1 else ""
            if is_rejected(event):
                approve = self._tally.approve(event.step.number)
                resume = f"to say yes after all: {approve}" if approve else ""
            message = failure_message(event, resume)
        self.outlet.complain(self._error_coloured(message))
        self._following.is_interrupted()
        self.outlet.pump()

    def _tell_interrupted(self, event: Interrupted) -> None:
        self.outlet.say(interrupted_line(event, self._running.values()))
        self._following.is_interrupted()
        self.outlet.pump()

    def _tell_tick(self, event: Tick) -> None:
        self.outlet.pump()
        self._following.look(event.now_at)
        self.outlet.pump()

    def _tell_logs_moving(self, _event: LogsMoving) -> None:
        self._following.finish_all()
        self.outlet.drain()

    def _tell_run_finished(self, event: RunFinished) -> None:
        from workflow.reporting.summary import closing_lines, summary_lines

        self._following.finish_all()
        ending = self._tally.ending()
        if self._is_quiet:
            lines = closing_lines(event, self.palette, ending)
        else:
            lines = summary_lines(event, self._tally.rows(), self.palette, ending)
        for line in lines:
            self.outlet.say(line)
        self.outlet.drain()
        self._name_error()

    def _error_coloured(self, message: str) -> str:
        return message.replace("error:", self.palette.red("error:"), 1)

    def _name_error(self) -> None:
        """Say once that output was lost (a full disk); a reader that went away asked for no more, and hears nothing."""
        error = self.outlet.out.error
        if error is None or self._has_named_error or error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):
            return
        self._has_named_error = True
        self.outlet.complain(notice_text(Notice(f"output could not be written: {error.strerror}"), self.palette))
        self.outlet.drain()
