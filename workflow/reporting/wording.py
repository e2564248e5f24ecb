"""The words and colours of a run, the same on every console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow.errors import count, duration_text, listed, one_line, printable
from workflow.model import Choice, Decision, Failure, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflow.events import Interrupted, Notice, RunStarted, StepFinished, StepIterated, StepStarted

GRACE_S = 10.0
_SIGINT = 2

_MARKS = {
    Status.SUCCEEDED: "✓",
    Status.BYPASSED: "·",
    Status.REUSED: "=",
    Status.SKIPPED: "-",
    Status.FAILED: "✗",
    Status.BLOCKED: "!",
    Status.CANCELLED: "!",
}
_ASCII_MARKS = {**_MARKS, Status.SUCCEEDED: "+", Status.BYPASSED: ".", Status.FAILED: "x"}
# What went wrong in two or three words, where the kind alone would not read well.
_KINDS = {"timeout": "ran out of time", "oom": "out of memory", "no_space": "no space left", "repeat": "did not end"}


class Palette:
    """Sparse colours: green ok, red failed, yellow warning, dim the rest; and marks for a status."""

    __slots__ = ("is_coloured", "marks")

    def __init__(self, *, is_coloured: bool, is_utf8: bool = False) -> None:
        self.is_coloured = is_coloured
        self.marks = _MARKS if is_utf8 else _ASCII_MARKS

    def green(self, text: str) -> str:
        return f"\x1b[32m{text}\x1b[0m" if self.is_coloured else text

    def red(self, text: str) -> str:
        return f"\x1b[31m{text}\x1b[0m" if self.is_coloured else text

    def yellow(self, text: str) -> str:
        return f"\x1b[33m{text}\x1b[0m" if self.is_coloured else text

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.is_coloured else text

    def of(self, status: Status, text: str) -> str:
        """Return `text` in the colour of a status."""
        if status is Status.SUCCEEDED:
            return self.green(text)
        if status is Status.FAILED:
            return self.red(text)
        if status in (Status.BLOCKED, Status.CANCELLED):
            return self.yellow(text)
        return self.dim(text)


def header_lines(started: RunStarted, palette: Palette) -> list[str]:
    """Return what is said when a run starts: its id, how much there is to do, where the logs are."""
    resumed = f" (resume {started.epoch - 1})" if started.epoch > 1 else ""
    bypassed = f", {started.bypassed:,} bypassed" if started.bypassed else ""
    is_kept = started.workflow.checkpoints.enabled
    logs = f"logs: {one_line(started.run_dir)}/logs" if is_kept else "nothing of this run is kept: checkpoints are off"
    return [
        f"run {one_line(started.run_id)}{resumed}: {count(started.to_run, 'step')} to run{bypassed}",
        palette.dim(logs),
    ]


def started_line(event: StepStarted, title: str, palette: Palette, *, is_verbose: bool = False) -> str:
    """Return the line of a step's start; its reason stands there only when it says more than "never run"."""
    notes = []
    if event.attempt > 1:
        notes.append(f"attempt {event.attempt}")
    if is_verbose or event.reason.code != "never-run":
        notes.append(reason_text(event.reason))
    return f"-- {title}{palette.dim(noted(notes))}"


def finished_line(event: StepFinished, title: str, palette: Palette, decision: Decision | None) -> str:
    """Return the line of a step's end: the word of its status, the step, what else is worth knowing."""
    duration = duration_text(event.duration_s)
    status = event.status
    if status is Status.SUCCEEDED:
        notes = []
        # The attempts of a loop are its iterations: nothing went wrong.
        if event.attempt is not None and event.attempt.number > 1 and event.step.rules.repeat is None:
            notes.append(f"attempt {event.attempt.number}")
        if event.adopted:
            notes.append("finished while no runner was alive")
        return f"{palette.green('ok')} {title} {palette.dim(duration + noted(notes))}"
    if status is Status.FAILED:
        after = palette.dim(f"after {duration}") if event.attempt is not None else ""
        word = palette.yellow("failed, tolerated:") if event.is_tolerated else palette.red("FAILED")
        return f"{word} {title} {short_failure(event)} {after}".rstrip()
    if status is Status.BLOCKED and event.detail:
        return f"{palette.of(status, status.value)} {title} {palette.dim(f'by {blocked_by(event)}')}"
    notes = []
    if event.detail:
        notes.append(one_line(event.detail))
    elif event.failure is not None and event.failure.message:
        notes.append(one_line(event.failure.message))
    elif decision is not None and decision.choice in (Choice.BYPASS, Choice.REUSE, Choice.SKIP) and decision.reasons:
        notes.append(reason_text(decision.reasons[0]))
    return f"{palette.of(status, status.value)} {title}{palette.dim(noted(notes))}"


def blocked_by(event: StepFinished) -> str:
    """Return which step blocked this one, as `03 fetch`; empty when it was none."""
    return one_line(event.detail).removesuffix(" failed")


def iterated_line(event: StepIterated, title: str, palette: Palette) -> str:
    """Return the line of an iteration that ended well."""
    return f"-- {title} {palette.dim(f'iteration {event.iteration} done in {duration_text(event.duration_s)}')}"


def short_failure(event: StepFinished) -> str:
    """Return why a step failed in two or three words: `exit 3`, `killed by SIGKILL`, `ran out of time`."""
    return failure_words(event.failure, event.attempt.exit_code if event.attempt is not None else None)


def failure_words(failure: Failure | None, exit_code: int | None = None) -> str:
    """Return a failure in two or three words; without an exit code the message has to tell it."""
    kind = failure.kind if failure is not None else "exit"
    message = one_line(failure.message) if failure is not None else ""
    if kind == "signal":
        return message.partition(" (")[0] if exit_code is None else f"killed by {signal_name(exit_code - 128)}"
    if kind == "exit":
        words = message.partition(":")[0].replace("exit code", "exit")
        return words or "failed" if exit_code is None else f"exit {exit_code}"
    return _KINDS.get(kind) or one_line(kind.replace("_", " "))


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9; a number the system does not know stays a number."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def notice_text(event: Notice, palette: Palette) -> str:
    """Return a note, a warning or an error, with its help line when it has one."""
    colour = {"warning": palette.yellow, "error": palette.red}.get(event.level, palette.dim)
    text = f"{colour(f'{event.level}:')} {printable(event.message)}"
    return f"{text}\nhelp: {printable(event.help)}" if event.help else text


def interrupted_line(event: Interrupted, running: Iterable[str], grace_s: float = GRACE_S) -> str:
    """Return what happens now that a signal came. `running` holds titles, made printable already."""
    titles = list(running)
    if not titles:
        return "stopping"
    steps = listed(titles, most=4)
    it = "it" if len(titles) == 1 else "them"
    is_key = event.signal == _SIGINT
    if event.stage <= 1:
        came = "stopping" if is_key else f"stopping ({signal_name(event.signal)})"
        more = f" (Ctrl-C again to end {it} now)" if is_key else ""
        return f"{came}: waiting up to {duration_text(grace_s)} for {steps}{more}"
    if event.stage == 2:
        return f"stopping: ending {steps} now" + (f" (Ctrl-C again to kill {it})" if is_key else "")
    return f"stopping: killing {steps}"


def reason_text(reason: Reason) -> str:
    """Return a reason in one printable line."""
    return one_line(str(reason))


def noted(notes: list[str]) -> str:
    """Return ` (a, b)`, or nothing."""
    return f" ({', '.join(notes)})" if notes else ""
