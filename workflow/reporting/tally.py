"""What became of the steps of a run, kept until it is told at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow.errors import one_line
from workflow.model import Choice, Status
from workflow.reporting.waiting import APPROVAL, Asked, approve_command
from workflow.reporting.wording import blocked_by, short_failure

if TYPE_CHECKING:
    from workflow.events import RunStarted, StepFinished, StepWaiting
    from workflow.model import Decision
    from workflow.reporting.summary import Ending, Row

# What became of a step of which nothing was heard, because there was nothing to do.
_UNRUN = {Choice.BYPASS: Status.BYPASSED, Choice.REUSE: Status.REUSED, Choice.SKIP: Status.SKIPPED}


class Tally:
    """Collects ends and questions; `resume_command` empty means that of the run."""

    def __init__(self, resume_command: str = "") -> None:
        self.started: RunStarted | None = None
        self.failed = 0
        self._resume_command = resume_command
        self._ends: list[tuple[StepFinished, str]] = []
        self._first_failed = ""
        self._asked: dict[int, Asked] = {}
        self._waits: dict[int, tuple[str, str]] = {}

    @property
    def resume_command(self) -> str:
        if self._resume_command or self.started is None or not self.is_kept:
            return self._resume_command
        return self.started.resume_command or f"workflow resume {self.started.run_id}"

    @property
    def is_kept(self) -> bool:
        """Whether the run can be looked at and resumed once it is over."""
        return self.started is None or self.started.workflow.checkpoints.enabled

    @property
    def ends_of_steps(self) -> list[tuple[StepFinished, str]]:
        """The ends that were told of, in that order, with the title of each step."""
        return self._ends

    def decision(self, number: int) -> Decision | None:
        return None if self.started is None else self.started.decisions.get(number)

    def approve(self, number: int) -> str:
        """Return the command that answers a step; empty when no run has started, or nothing of it is kept."""
        if self.started is None or not self.is_kept:
            return ""
        command = self.started.resume_command or self._resume_command
        return approve_command(command, self.started.run_id, number)

    def begins(self, number: int) -> None:
        self._asked.pop(number, None)
        self._waits.pop(number, None)

    def waits(self, event: StepWaiting, title: str) -> bool:
        """Return whether that is news: the same lock or question is told of once."""
        number = event.step.number
        if event.why == APPROVAL:
            self._asked[number] = Asked(number, title, one_line(event.detail))
        wait = (event.why, event.detail)
        is_news = event.failure is not None or self._waits.get(number) != wait
        self._waits[number] = wait
        return is_news

    def ends(self, event: StepFinished, title: str) -> None:
        self.begins(event.step.number)
        self._ends.append((event, title))
        if event.status is Status.FAILED and not event.is_tolerated:
            self.failed += 1
            self._first_failed = self._first_failed or f"{title}, {short_failure(event)}"

    def ending(self) -> Ending:
        """Return what the end of the run has to say besides its steps."""
        from workflow.reporting.summary import Ending

        tolerated = sum(event.is_tolerated for event, _ in self._ends)
        has_others = any(event.status in (Status.BLOCKED, Status.CANCELLED) for event, _ in self._ends)
        first = self._first_failed if self.failed > 1 or (self.failed and has_others) else ""
        asked = [(asked, self.approve(number)) for number, asked in sorted(self._asked.items())]
        return Ending(tolerated, first, tuple(asked))

    def rows(self) -> list[Row]:
        """Return a row for every step that is to be shown, by number."""
        from workflow.reporting.summary import TABLE_STEPS, Row

        rows: dict[int, Row] = {}
        # Of many steps only those that ran are shown, so the others need no row.
        if self.started is not None and len(self.started.workflow.steps) <= TABLE_STEPS:
            for step in self.started.workflow.steps:
                decision = self.decision(step.number)
                if decision is not None and decision.choice is Choice.LEAVE:
                    continue
                status = None if decision is None else _UNRUN.get(decision.choice)
                note = "waits for approval" if step.number in self._asked else ""
                rows[step.number] = Row(step.number, one_line(step.title), status, note=note)
        for event, title in self._ends:
            rows[event.step.number] = Row(
                event.step.number, title, event.status, event.duration_s, _note(event), event.is_tolerated
            )
        return [rows[number] for number in sorted(rows)]


def _note(event: StepFinished) -> str:
    if event.status is Status.FAILED:
        return short_failure(event) + (", tolerated" if event.is_tolerated else "")
    return blocked_by(event) if event.status is Status.BLOCKED else one_line(event.detail)
