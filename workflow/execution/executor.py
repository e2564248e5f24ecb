"""The seam between deciding and running: what the engine asks of whoever makes steps run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from workflow.checkpoint.records import RunningNote
from workflow.model import Step


class Executor(Protocol):
    """Starts attempts; their ends come to the inbox as StepEnded, the end of a worker as WorkerGone.

    Called from the thread of the engine only. What is started goes on when the runner dies, and
    leaves an exit record that a resume can adopt.
    """

    worker_number: int

    def prepare(self, step: Step, *, is_first: bool) -> int:
        """Make room for an attempt: marker and published values of an earlier one go. Return its offset in the log."""

    def release(self, step: Step) -> None:
        """Take back what a step that ended did not use."""

    def note(self, notes: tuple[RunningNote, ...]) -> None:
        """Say, before it starts, which attempts are in hand and not committed; survives the runner."""

    def start(self, step: Step, epoch: int, attempt: int) -> None:
        """Start an attempt. Raises WorkflowError when it cannot be started."""

    def signal(self, step: Step, number: int) -> None:
        """Send a signal to every process of the step in hand."""

    def end_leftovers(self, step: Step, *, whole_session: bool) -> None:
        """End what is left of a step that did not end well."""

    def publish(self, number: int, published: Mapping[str, str]) -> None:
        """Give values of a finished step to the steps to come."""

    def keep_log_small(self, step: Step) -> None:
        """Cut a log that grew past its cap."""

    def lose_worker(self, number: int) -> None:
        """Forget a worker that ended."""

    def reap(self) -> None:
        """Collect ended processes that became our children."""

    def close(self, uncommitted: tuple[RunningNote, ...] = ()) -> None:
        """Let the workers go; nothing is in hand any more but what ended well and could not be recorded."""
