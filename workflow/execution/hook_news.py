"""What the engine hears of hooks; apart from what runs them, which a run without hooks never loads."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from workflow.errors import WorkflowError
from workflow.model import Step


class HookError(WorkflowError):
    """A hook that is required failed: the run stops, and what is recorded stays true."""


class HookEnded(NamedTuple):
    """The hooks before `step` have had their say (None: no step waits for these), and how it went.

    `error` is set when a required one failed, `warning` when another did.
    """

    step: int | None
    error: HookError | None = None
    warning: str = ""


class Gate(Protocol):
    """What stands before the attempts of steps."""

    @property
    def is_before_steps(self) -> bool:
        """Whether it has to be asked at all."""

    def ask(self, step: Step, attempt: int) -> None:
        """Ask whether an attempt may start; the answer is a HookEnded with the number of the step."""
