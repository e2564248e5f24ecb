"""A run told to GitHub Actions: annotations where people look first, and a summary of the job.

Annotations are workflow commands (docs.github.com, "Workflow commands for GitHub Actions"). They go to stderr, which
the runner of GitHub reads as it reads stdout, so that `--json` stays one stream of JSON.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from workflow.errors import NotRecordedError, count, duration_text, one_line, printable
from workflow.events import Event, Notice, RunFinished, RunStarted, StepFinished
from workflow.model import Choice, Status
from workflow.reporting.failure import failure_cause
from workflow.reporting.outlet import Outlet
from workflow.reporting.tally import Tally
from workflow.reporting.wording import short_failure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from workflow.errors import WorkflowError
    from workflow.model import Step

# GitHub shows ten annotations of a kind for each step of a job; the last of ours says how many more there are.
MOST_ANNOTATIONS = 10
# Of a summary of more than 1 MiB nothing is shown; others may want to add to it after us.
LARGEST_SUMMARY_BYTES = 900_000
TABLE_STEPS = 200
TOLD_FAILURES = 10
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~-])")
_WORDS = {Status.SUCCEEDED: "✅ completed", Status.FAILED: "❌ failed", Status.BLOCKED: "⛔ blocked"}


class GitHubActions:
    """Writes annotations to `stream`, and at the end a Markdown summary to the file `summary_path` (empty: none).

    `workspace` is the checkout (GITHUB_WORKSPACE): the files that annotations point at are named from there. A summary
    that cannot be written is told as a warning.
    """

    def __init__(self, stream: TextIO, *, summary_path: str = "", workspace: str = "") -> None:
        self._outlet = Outlet(stream)
        self._summary_path = summary_path
        self._workspace = workspace
        self._tally = Tally()
        self._numbers = {"error": 0, "warning": 0}
        self._failures: list[StepFinished] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._tally.started = event
        elif isinstance(event, Notice) and event.level in self._numbers:
            self._annotate(event.level, "workflow", "\n".join(filter(None, (event.message, event.help))))
        elif isinstance(event, StepFinished):
            self._tell_step(event)
        elif isinstance(event, RunFinished):
            self._tell_end(event)
        self._outlet.pump()

    def refuse(self, error: WorkflowError) -> None:
        """Tell of what kept the run from starting."""
        self._annotate("error", "workflow", error.render())
        self._outlet.drain()

    def close(self) -> None:
        """Write what is left, waiting for the reader."""
        self._outlet.drain()

    def _tell_step(self, event: StepFinished) -> None:
        title = one_line(event.step.title)
        self._tally.ends(event, title)
        for warning in event.warnings:
            self._annotate("warning", f"step {title}", one_line(warning), event.step)
        if event.status is not Status.FAILED:
            return
        self._failures.append(event)
        lines = [f"{'failed, tolerated' if event.is_tolerated else 'failed'}: {failure_cause(event)}"]
        lines += [one_line(line) for line in event.tail]
        if self._tally.resume_command and not event.is_tolerated:
            lines.append(f"help: {one_line(self._tally.resume_command)}")
        self._annotate("warning" if event.is_tolerated else "error", f"step {title}", "\n".join(lines), event.step)

    def _tell_end(self, event: RunFinished) -> None:
        for level, number in self._numbers.items():
            if number > MOST_ANNOTATIONS:
                more = count(number - MOST_ANNOTATIONS + 1, f"more {level}")
                self._outlet.say(command(level, "workflow", f"{more}: see the log of this job"))
        if self._summary_path:
            from workflow.checkpoint.durable import Disk

            try:
                Disk().append(self._summary_path, self._summary(event).encode("utf-8", "backslashreplace"))
            except NotRecordedError as error:
                self._outlet.say(command("warning", "workflow", f"the summary of the job: {error.message}"))
        self._outlet.drain()

    def _annotate(self, level: str, title: str, message: str, step: Step | None = None) -> None:
        self._numbers[level] += 1
        # The last place is kept for how many more there are.
        if self._numbers[level] < MOST_ANNOTATIONS:
            path, line = self._place(step)
            self._outlet.say(command(level, title, message, path, line))

    def _place(self, step: Step | None) -> tuple[str, int]:
        """Return where a step is written down, as the checkout names it; empty when it lies outside."""
        started = self._tally.started
        if step is None or started is None or not self._workspace:
            return "", 0
        path = os.path.join(started.workflow.project, step.source.path)
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(self._workspace))
        return ("", 0) if inside.startswith(os.pardir) else (inside, step.source.line)

    def _summary(self, finished: RunFinished) -> str:
        """Return the Markdown of the whole run, cut where GitHub would show nothing of it."""
        status = finished.status.value.replace("_", " ")
        lines = [
            f"### {escaped(self._name())}: {status} in {duration_text(finished.duration_s)}",
            "",
            f"Run `{finished.run_id}`, exit code {finished.exit_code}.",
            "",
            *self._table(),
        ]
        for failure in self._failures[:TOLD_FAILURES]:
            lines += ["", f"**{escaped(failure.step.title)}** failed: {escaped(failure_cause(failure))}"]
            if failure.tail:
                lines += ["", *fenced(one_line(line) for line in failure.tail)]
        if len(self._failures) > TOLD_FAILURES:
            lines += ["", f"{len(self._failures) - TOLD_FAILURES:,} more failed."]
        if finished.exit_code != 0 and finished.resume_command:
            lines += ["", "To carry on:", "", *fenced([one_line(finished.resume_command)])]
        text = "\n".join(lines) + "\n\n"
        used_bytes = self._summary_bytes() + len(text.encode("utf-8", "backslashreplace"))
        return text + self._said_by_steps(max(0, LARGEST_SUMMARY_BYTES - used_bytes))

    def _summary_bytes(self) -> int:
        """Return how much stands in the summary already."""
        try:
            return os.stat(self._summary_path).st_size
        except OSError:
            return 0

    def _name(self) -> str:
        return "workflow" if self._tally.started is None else self._tally.started.workflow.name

    def _table(self) -> Iterable[str]:
        ended = {event.step.number: event for event, _ in self._tally.ends_of_steps}
        started = self._tally.started
        steps = started.workflow.steps if started is not None else ()
        yield "| step | outcome | time |"
        yield "|---|---|---|"
        for step in steps[:TABLE_STEPS]:
            event = ended.get(step.number)
            decision = self._tally.decision(step.number)
            if event is not None:
                outcome = _WORDS.get(event.status, event.status.value)
                if event.status is Status.FAILED:
                    outcome += f" ({escaped(short_failure(event))}{', tolerated' if event.is_tolerated else ''})"
                took = duration_text(event.duration_s) if event.attempt is not None else ""
            else:
                is_done = decision is not None and decision.choice in (Choice.BYPASS, Choice.REUSE)
                outcome, took = "completed before" if is_done else "not run", ""
            yield f"| {escaped(step.title)} | {outcome} | {took} |"
        if len(steps) > TABLE_STEPS:
            yield f"| and {len(steps) - TABLE_STEPS:,} more | | |"

    def _said_by_steps(self, room_bytes: int) -> str:
        """Return what steps wrote to WORKFLOW_SUMMARY, in the order of their numbers, as far as there is room."""
        started = self._tally.started
        if started is None:
            return ""
        from workflow.checkpoint.layout import RunLayout

        layout = RunLayout(started.run_dir)
        pieces = []
        for step in started.workflow.steps:
            try:
                with open(layout.summary(step.number), "rb") as file:
                    text = file.read(room_bytes + 1)
            except OSError:
                continue
            if len(text) > room_bytes:
                pieces.append(f"What {escaped(step.title)} and later steps had to say is too much to show here.\n")
                break
            room_bytes -= len(text) + 2
            pieces.append(text.decode("utf-8", "replace").rstrip("\n") + "\n\n")
        return "".join(pieces)


def command(level: str, title: str, message: str, path: str = "", line: int = 0) -> str:
    """Return the workflow command of an annotation, on one line."""
    properties = {"file": path, "line": str(line) if line else "", "title": title}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level} {said}::{_data(message)}"


def _data(text: str) -> str:
    """Return text as the value of a command: only these three characters mean anything there."""
    return printable(text.replace("\r\n", "\n")).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def escaped(text: str) -> str:
    """Return text that means only itself in a line, or a cell of a table, of Markdown."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", safe)


def fenced(lines: Iterable[str]) -> list[str]:
    """Return lines as a block of code, whatever backquotes are in them."""
    block = list(lines)
    longest = max((len(run) for line in block for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *block, fence]
