"""The seam between deciding and running: what the engine asks of whoever makes steps run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from workflow.checkpoint.records import RunningNote
from workflow.model import Step


class Start(NamedTuple):
    """What is to be started: an attempt (phase `run`) or a test of a step (`if`, `until`).

    `iteration` is 0 for a step that is not repeated. `given` holds the values the step sees; None: those of
    all steps that finished before (`publish`). `lock_fd` is the descriptor of its named lock.
    """

    step: Step
    epoch: int
    attempt: int
    phase: str = "run"
    iteration: int = 0
    given: Mapping[str, str] | None = None
    lock_fd: int | None = None


class Executor(Protocol):
    """Starts attempts; their ends come to the inbox as StepEnded, the end of a worker as WorkerGone.

    Called from the thread of the engine only. What is started goes on when the runner dies, and
    leaves an exit record that a resume can adopt.
    """

    def prepare(self, step: Step, *, is_first: bool, goes_on: bool = False) -> int:
        """Make room for an attempt: marker and published values of an earlier one go. Return its offset in the log.

        `goes_on`: it is an iteration after the first; what earlier ones published stays.
        """

    def forget_iterations(self, step: Step) -> None:
        """Let a repeated step that was complete begin anew: its marker and those of its iterations go."""

    def release(self, step: Step) -> None:
        """Take back what a step that ended did not use."""

    def assign(self, lock_fd: int | None) -> int:
        """Return the number of a worker that is free, for one step alone until `free`. Raises WorkflowError.

        `lock_fd` is the descriptor of its named lock, to be inherited; it stays open here.
        """

    def free(self, worker: int) -> None:
        """Say that what a worker had in hand has ended."""

    def note(self, worker: int, notes: tuple[RunningNote, ...]) -> None:
        """Say, before it starts, which attempts a worker has in hand and not committed; survives the runner."""

    def is_recorded(self, worker: int) -> None:
        """Say that what became of the last attempt of a worker is recorded; without a marker only this tells so."""

    def start(self, worker: int, start: Start) -> int:
        """Start an attempt; return the number of the worker that has it. Raises WorkflowError when it cannot be."""

    def signal(self, worker: int, step: Step, number: int) -> None:
        """Send a signal to every process of the step that a worker has in hand."""

    def end_leftovers(self, worker: int, step: Step, *, whole_session: bool, is_alone: bool) -> None:
        """End what is left of a step that did not end well. `is_alone`: nothing else is running."""

    def restore(self, step: Step, outputs: Mapping[str, str], env: Mapping[str, str]) -> None:
        """Put back what a reused step published, as if it had just done so. Raises NotRecordedError."""

    def publish(self, number: int, published: Mapping[str, str]) -> None:
        """Give values of a finished step to all steps to come."""

    def keep_log_small(self, step: Step) -> None:
        """Cut a log that grew past its cap."""

    def lose_worker(self, number: int) -> None:
        """Forget a worker that ended."""

    def reap(self) -> None:
        """Collect ended processes that became our children."""

    def close(self, uncommitted: Mapping[int, tuple[RunningNote, ...]]) -> None:
        """Let the workers go. `uncommitted`, by worker: what ended well and could not be recorded."""
