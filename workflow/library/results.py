"""How a run ended, for programs: truthy when everything that was asked for is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workflow.errors import WorkflowError, listed, one_line
from workflow.events import Event, Notice, RunFinished, RunStarted, StepFinished
from workflow.model import Choice, Failure, Reason, Status

_UNRUN = {
    Choice.RUN: Status.PENDING,
    Choice.BYPASS: Status.BYPASSED,
    Choice.REUSE: Status.REUSED,
    Choice.SKIP: Status.SKIPPED,
    Choice.LEAVE: Status.PENDING,
}
_GOOD = frozenset({Status.SUCCEEDED, Status.BYPASSED, Status.REUSED, Status.SKIPPED})


class RunFailedError(WorkflowError):
    """`Result.raise_for_failure`: something that was asked for is not done. `result` says what."""

    def __init__(self, message: str, *, help: str = "", where: str = "", result: Result | None = None) -> None:
        super().__init__(message, help=help, where=where)
        self.result = result
        self.exit_code = result.exit_code if result is not None else 1


@dataclass(frozen=True)
class StepResult:
    """What became of one step; truthy when nothing is left to do about it.

    `reasons` say why it was run, or not, the most telling first. `duration_s` is 0.0 of a step that did not run now.
    `exit_code` None: it did not run, or nobody knows. `tail` holds the last lines of its log, where it failed.
    `log_path` is where its log is, if the run lies in a directory that stays.
    """

    number: int
    name: str
    status: Status
    reasons: tuple[Reason, ...]
    duration_s: float = 0.0
    attempts: int = 0
    exit_code: int | None = None
    failure: Failure | None = None
    is_tolerated: bool = False
    tail: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    detail: str = ""
    log_path: str = ""

    def __bool__(self) -> bool:
        return self.status in _GOOD or self.is_tolerated

    def __str__(self) -> str:
        why = f": {self.failure.message}" if self.failure is not None else ""
        return f"{self.number:02d} {one_line(self.name)} {self.status.value}{why}"


@dataclass(frozen=True)
class Saving:
    """What keeping checkpoints in a store cost: how many, how many bytes, how long the store took."""

    count: int = 0
    size_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """What became of a run; truthy when everything that was asked for is done (`exit_code` 0).

    `status` is `completed`, `failed`, `paused` ...; `steps` are in order of their numbers; `values` is what steps
    published, later ones first where two published one name. `exit_code` is that of the command line. `notices` are
    warnings and notes. `run_dir` is where the run is; it may be gone where a store keeps the run.
    """

    run_id: str
    status: str
    exit_code: int
    steps: tuple[StepResult, ...]
    duration_s: float
    run_dir: str
    resume_command: str
    values: Mapping[str, str]
    notices: tuple[str, ...]
    saving: Saving

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def __getitem__(self, step: str | int) -> StepResult:
        """Return a step by its name or number. Raises KeyError."""
        for it in self.steps:
            if step in (it.name, it.number):
                return it
        raise KeyError(step)

    @property
    def failed(self) -> tuple[StepResult, ...]:
        """The steps that failed, were cut short, or were kept from running by one that did."""
        return tuple(it for it in self.steps if not it and it.status is not Status.PENDING)

    def raise_for_failure(self) -> Result:
        """Return the result itself. Raises RunFailedError where something is left undone."""
        if self:
            return self
        steps = listed(str(it) for it in self.failed) or "steps are left undone"
        raise RunFailedError(
            f"{self.run_id} is {self.status}: {steps}",
            help="when the cause is mended: workflow.resume() carries it on",
            result=self,
        )


class Collector:
    """Makes a result out of events; an observer."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None
        self._finished: RunFinished | None = None
        self._steps: dict[int, StepFinished] = {}
        self._notices: list[str] = []
        self.saves: list[tuple[int, float]] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._started = event
        elif isinstance(event, RunFinished):
            self._finished = event
        elif isinstance(event, StepFinished):
            self._steps[event.step.number] = event
        elif isinstance(event, Notice):
            self._notices.append(event.message)

    def result(self, exit_code: int, values: Mapping[str, str], otherwise: Callable[[], Any]) -> Result:
        """Return the result; where the run did not even begin, raise what `otherwise` returns."""
        started, finished = self._started, self._finished
        if started is None:
            raise otherwise()
        steps = tuple(self._step(started, step.number, step.name) for step in started.workflow.steps)
        saving = Saving(len(self.saves), sum(size for size, _ in self.saves), sum(took for _, took in self.saves))
        return Result(
            started.run_id,
            "paused" if finished is None else finished.status.value,
            exit_code,
            steps,
            0.0 if finished is None else finished.duration_s,
            started.run_dir,
            started.resume_command if finished is None else finished.resume_command,
            dict(values),
            tuple(self._notices),
            saving,
        )

    def _step(self, started: RunStarted, number: int, name: str) -> StepResult:
        decision = started.decisions[number]
        event = self._steps.get(number)
        if event is None:
            return StepResult(number, name, _UNRUN[decision.choice], decision.reasons)
        attempt = event.attempt
        return StepResult(
            number,
            name,
            event.status,
            decision.reasons,
            event.duration_s,
            attempt.number if attempt is not None else 0,
            attempt.exit_code if attempt is not None else None,
            event.failure,
            event.is_tolerated,
            event.tail,
            event.warnings,
            event.detail,
            event.log_path,
        )
