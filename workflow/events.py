"""What can happen in a run, and who may hear of it.

Commit, then tell: an observer hears that a step is done only after its marker is durable.
Observers are called one after another from the thread of the engine; what one raises is
reported once and never harms the run.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from workflow.model import Attempt, Decision, Failure, Reason, RunStatus, Status, Step, Workflow


class RunStarted(NamedTuple):
    """A runner holds the lock of the run. `epoch` is 1 for a new run, 2 for its first resume, and so on.

    `bypassed` counts the steps that are complete already; `expected_s` maps step numbers to the
    duration history lets us expect. `to_run` counts the steps this invocation will run.
    `resume_command` carries this run on from where we were called; empty means the plain one.
    """

    run_id: str
    run_dir: str
    workflow: Workflow
    epoch: int
    decisions: dict[int, Decision]
    to_run: int
    bypassed: int
    expected_s: dict[int, float]
    resume_command: str = ""


class Notice(NamedTuple):
    """Something people should know; `level` is `note`, `warning` or `error` (what ended the run besides a step)."""

    message: str
    help: str = ""
    level: str = "warning"


class StepStarted(NamedTuple):
    step: Step
    attempt: int
    log_path: str
    started_at: float
    reason: Reason
    log_offset_bytes: int = 0


class StepWaiting(NamedTuple):
    """A step is not started, or not started again, before something happens; more than one may follow.

    `why` is `retry` (after `attempt`, which ended with `failure`; the next one starts in `wait_s`), `lock`
    (`detail` names it and who holds it) or `approval` (`detail` is what a person is asked).
    """

    step: Step
    why: str
    detail: str = ""
    attempt: int = 0
    failure: Failure | None = None
    wait_s: float | None = None


class StepIterated(NamedTuple):
    """An iteration of a step with `repeat` ended well and is recorded; another one follows."""

    step: Step
    iteration: int
    duration_s: float


class StepProgress(NamedTuple):
    """A step said `step_progress DONE TOTAL`."""

    step: Step
    done: int
    total: int


class StepFinished(NamedTuple):
    """A step reached a terminal status; when that is SUCCEEDED its marker is durable.

    Also told of steps that never started: SKIPPED (`detail` says by which condition) and BLOCKED (`detail`
    names the step that failed); `attempt` is None then. `is_tolerated`: it failed, and `continue_on_error` lets the
    run go on. `tail` holds the last lines of the log (at most ten, without newlines) when the step failed.
    """

    step: Step
    status: Status
    attempt: Attempt | None
    duration_s: float
    log_path: str
    failure: Failure | None = None
    tail: tuple[str, ...] = ()
    partial_outputs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    adopted: bool = False
    detail: str = ""
    is_tolerated: bool = False


class SnapshotMade(NamedTuple):
    """A snapshot of the run is durable. `checkpoint_id` is `RUN@N`, `trigger` manual, auto, error or completion."""

    checkpoint_id: str
    number: int
    path: str
    trigger: str
    name: str = ""


class Interrupted(NamedTuple):
    """A signal came; `stage` is 1 for the first Ctrl-C, 2 (TERM) and 3 (KILL) for the next."""

    signal: int
    stage: int


class Tick(NamedTuple):
    """Time passed while steps run; for live displays and followers of output. Never more than 20 a second."""

    now_at: float


class LogsMoving(NamedTuple):
    """The logs are about to leave the place that was told: whoever still wants to read there does it now."""


class RunFinished(NamedTuple):
    """The last event. `exit_code` is what the command line will exit with."""

    run_id: str
    status: RunStatus
    exit_code: int
    duration_s: float
    counts: dict[Status, int]
    resume_command: str


Event = (
    RunStarted
    | Notice
    | StepStarted
    | StepWaiting
    | StepIterated
    | StepProgress
    | StepFinished
    | SnapshotMade
    | Interrupted
    | Tick
    | LogsMoving
    | RunFinished
)


class Observer(Protocol):
    """Told of every event, in order. Must not block for long: the engine waits for it."""

    def on_event(self, event: Event) -> None: ...
