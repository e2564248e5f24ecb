"""The attempts that run now."""

from __future__ import annotations

from workflow.execution.ladder import Ladder
from workflow.model import Attempt, Reason, Step

RUN = "run"
IF = "if"
UNTIL = "until"

# Why an attempt is being ended.
LIMIT = "limit"
INTERRUPT = "interrupt"
FAILURE = "failure"  # of another step
ERROR = "error"  # a record that could not be written, a worker that could not be started


class InHand:
    """One step that a worker has: its attempt (phase `run`), or one of its tests (`if`, `until`).

    `started`, `ended` and `deadline` are times of the inbox; `ended` None: it runs, or ends just now.
    `why_ended` is empty while nobody ends it.
    """

    __slots__ = (
        "attempt",
        "deadline",
        "ended",
        "iteration",
        "ladder",
        "phase",
        "progress",
        "reason",
        "started",
        "step",
        "why_ended",
        "worker",
    )

    def __init__(
        self, step: Step, attempt: Attempt, reason: Reason, phase: str, iteration: int, worker: int, started: float
    ) -> None:
        self.step = step
        self.attempt = attempt
        self.reason = reason
        self.phase = phase
        self.iteration = iteration
        self.worker = worker
        self.started = started
        self.deadline = None if step.timeout_s is None else started + step.timeout_s
        self.ladder = Ladder()
        self.ended: float | None = None
        self.why_ended = ""
        self.progress: tuple[int, int] | None = None

    def is_of(self, step: int, epoch: int, attempt: int, phase: str) -> bool:
        """Return whether an answer is that of this attempt, and not of one that is settled already."""
        return (
            self.step.number == step
            and self.attempt.epoch == epoch
            and self.attempt.number == attempt
            and (self.phase == phase)
        )
