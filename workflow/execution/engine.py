"""The loop that decides. One thread owns all state and takes events off one queue.

It starts the next step while the step before is being committed beside it, and tells nobody that
a step is done before its marker is durable. A resumed run is an ordinary run that finds markers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workflow import errors
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.master import MasterWriter
from workflow.checkpoint.records import RunningNote, StepRecord
from workflow.errors import InvariantError, NotRecordedError, WorkflowError
from workflow.events import Event, Interrupted, Notice, Observer, StepFinished, StepProgress, StepStarted, Tick
from workflow.execution import ladder, outcome
from workflow.execution.committer import CommitFailed, Committed, Committer
from workflow.execution.executor import Executor
from workflow.execution.inbox import Inbox, SignalCame
from workflow.execution.worker import StepEnded, WorkerGone
from workflow.model import LEGAL_MOVES, Attempt, Choice, Decision, Reason, Status, Step, Workflow

TICK_S = 0.1
KILLED = 128 + 9
Manifests = Mapping[int, tuple[str, dict[str, str]]]


class InHand(NamedTuple):
    """The attempt that runs now; `started` and `deadline` are times of the inbox."""

    step: Step
    attempt: Attempt
    reason: Reason
    started: float
    deadline: float | None


class Engine:
    """Runs the steps of one run in order, one at a time."""

    def __init__(
        self,
        workflow: Workflow,
        layout: RunLayout,
        *,
        epoch: int,
        order: Sequence[int],
        decisions: Mapping[int, Decision],
        manifests: Manifests,
        past: Mapping[int, tuple[Attempt, ...]],
        inbox: Inbox,
        executor: Executor,
        committer: Committer,
        observers: Sequence[Observer],
        master: MasterWriter,
    ) -> None:
        """`order` lists all steps; `past` the attempts of earlier epochs; `manifests` fingerprint and manifest."""
        self._workflow = workflow
        self._layout = layout
        self._epoch = epoch
        self._decisions = decisions
        self._manifests = manifests
        self._past = past
        self._inbox = inbox
        self._executor = executor
        self._committer = committer
        self._observers = list(observers)
        self._master = master
        self._steps = {step.number: step for step in workflow.steps}
        self._queue = [number for number in reversed(order) if decisions[number].choice is Choice.RUN]
        self._in_hand: InHand | None = None
        self._committing: dict[int, StepRecord] = {}
        self._ladder = ladder.Ladder()
        self._is_stopping = False
        self._is_out_of_time = False
        self._run_deadline = None if workflow.time_limit_s is None else inbox.now() + workflow.time_limit_s
        self._last_tick = 0.0
        self._progress: tuple[int, int] | None = None
        self._untold: StepStarted | None = None
        self._is_master_stale = False
        self._unsubmitted: list[StepRecord] = []
        self.uncommitted: list[RunningNote] = []
        self.interrupted_by: int | None = None
        self.error: WorkflowError | None = None
        self.statuses = {
            number: Status.BYPASSED if decision.choice is Choice.BYPASS else Status.PENDING
            for number, decision in decisions.items()
        }

    # ------------------------------------------------------------------ the loop

    def run(self) -> int:
        """Run until nothing is left to do or to wait for; return the exit code.

        Never raises for what a step does: `error` and `interrupted_by` say what else happened.
        """
        if self._epoch == 1:
            # A step may look for it. A resume finds one, and writes its own while its first step runs.
            self._save_progress()
        while True:
            self._start_next()
            self._submit()
            if self._in_hand is None and not self._committing:
                break
            event = self._inbox.next(self._wait_s())
            if event is not None:
                self._on(event)
            self._on_time()
        return self._exit_code()

    def _on(self, event: object) -> None:
        if isinstance(event, StepEnded):
            self._on_ended(event)
        elif isinstance(event, Committed):
            self._on_committed(event.record)
        elif isinstance(event, SignalCame):
            self._on_signal(event.number)
        elif isinstance(event, WorkerGone):
            self._on_worker_gone(event)
        elif isinstance(event, CommitFailed):
            self._on_commit_failed(event)
        else:
            raise InvariantError(f"an event nobody knows: {event!r}")

    def _start_next(self) -> None:
        # One step may run ahead of its predecessor's commit, not two: what a crash can make run
        # again stays bounded, and a disk that is slower than the steps sets the pace.
        if self._in_hand is not None or len(self._committing) > 1 or not self._queue or self._is_stopping:
            return
        step = self._steps[self._queue[-1]]
        if step.interactive and self._committing:
            return  # it gets the terminal when all that came before has been told
        self._queue.pop()
        past = self._past.get(step.number, ())
        number = past[-1].number + 1 if past else 1
        reason = self._decisions[step.number].reasons[0]
        started_at = time.time()
        try:
            log_offset = self._executor.prepare(step, is_first=not past and self._epoch == 1)
            in_hand = [
                RunningNote(n, self._epoch, r.attempts[-1].number, r.attempts[-1].started_at)
                for n, r in self._committing.items()
            ]
            self._executor.note((*in_hand, RunningNote(step.number, self._epoch, number, started_at)))
            self._untold = StepStarted(step, number, self._layout.log(step.number), started_at, reason, log_offset)
            if step.interactive:
                self._tell_start()
            self._executor.start(step, self._epoch, number)
        except WorkflowError as error:
            self._untold = None
            self._give_up(error)
            return
        started = self._inbox.now()
        self._ladder = ladder.Ladder()
        self._progress = None
        attempt = Attempt(number, self._epoch, started_at, log_offset_bytes=log_offset)
        self._in_hand = InHand(
            step, attempt, reason, started, None if step.timeout_s is None else started + step.timeout_s
        )
        self._move(step.number, Status.RUNNING)
        self._tell_start()
        self._save_progress()

    # ------------------------------------------------------------------ what can happen

    def _on_ended(self, event: StepEnded) -> None:
        hand = self._in_hand
        if hand is None or (event.step, event.epoch, event.attempt) != (
            hand.step.number,
            self._epoch,
            hand.attempt.number,
        ):
            return  # an answer of an attempt that is settled already
        if event.exit_code is not None:
            self._settle(hand, event.exit_code)
            return
        self._in_hand = None
        self._move(hand.step.number, Status.CANCELLED)
        self._give_up(
            NotRecordedError(
                f"step {hand.step.title} was not started: cannot open its log {self._layout.log(hand.step.number)}",
                help="free space or make it writable, then carry on with: workflow resume",
            )
        )

    def _on_worker_gone(self, event: WorkerGone) -> None:
        self._executor.lose_worker(event.worker)
        hand = self._in_hand
        if hand is not None and not hand.step.interactive:
            # Our own KILL reaches the worker with its step. Otherwise the step killed its parent.
            self._settle(hand, KILLED if self._ladder.rung == ladder.KILL else None)

    def _settle(self, hand: InHand, exit_code: int | None) -> None:
        self._in_hand = None
        attempt = hand.attempt._replace(
            ended_at=hand.attempt.started_at + self._inbox.now() - hand.started,
            exit_code=exit_code,
            timed_out=self._ladder.rung > 0 and self.interrupted_by is None and self.error is None,
        )
        is_interrupted = self._ladder.rung > 0 and not attempt.timed_out
        judged = outcome.judge(
            self._layout,
            self._workflow.project,
            hand.step,
            exit_code,
            timed_out=attempt.timed_out,
            interrupted=is_interrupted,
        )
        failure = judged.failure
        fingerprint, manifest = self._manifests[hand.step.number]
        record = StepRecord(
            hand.step,
            Status.SUCCEEDED if failure is None else Status.CANCELLED if is_interrupted else Status.FAILED,
            (*self._past.get(hand.step.number, ()), attempt),
            hand.reason,
            fingerprint,
            manifest,
            judged.outputs,
            judged.env,
            judged.files,
            failure=failure,
            warnings=judged.warnings,
            errors=judged.errors,
            worker=None if hand.step.interactive else self._executor.worker_number,
        )
        if failure is None:
            if judged.outputs or judged.env:
                self._executor.publish(hand.step.number, {**judged.outputs, **judged.env})
        else:
            self._is_stopping = True
            # Nothing of a step that did not end well may live on beside its next attempt.
            self._executor.end_leftovers(hand.step, whole_session=self._ladder.rung > 0 or exit_code is None)
            record = record._replace(
                tail=()
                if hand.step.interactive
                else outcome.log_tail(self._layout.log(hand.step.number), attempt.log_offset_bytes)
            )
        self._committing[hand.step.number] = record
        self._unsubmitted.append(record)

    def _submit(self) -> None:
        # After the next step was started: its shell comes up while the commit goes on.
        for record in self._unsubmitted:
            self._committer.submit(record)
            self._executor.release(record.step)
        self._unsubmitted.clear()

    def _on_committed(self, record: StepRecord) -> None:
        number = record.step.number
        del self._committing[number]
        self._move(number, record.status)
        if record.attempts[-1].timed_out:
            self._is_out_of_time = True
        self._tell(
            StepFinished(
                record.step,
                record.status,
                record.attempts[-1],
                record.duration_s,
                self._layout.log(number),
                record.failure,
                record.tail,
                record.files if record.failure else (),
                record.warnings,
            )
        )
        self._tell_start()
        self._is_master_stale = True

    def _on_commit_failed(self, event: CommitFailed) -> None:
        record = event.record
        number = record.step.number
        del self._committing[number]
        self._move(number, Status.CANCELLED)
        if record.failure is None:
            # It did its work, and its exit record says so: the next resume takes that over.
            last = record.attempts[-1]
            self.uncommitted.append(RunningNote(number, self._epoch, last.number, last.started_at))
        self._give_up(event.error)
        self._climb(ladder.TERMINATE)

    def _on_signal(self, number: int) -> None:
        self._is_stopping = True
        self.interrupted_by = self.interrupted_by or number
        if self._in_hand is None:
            self._tell(Interrupted(number, ladder.INTERRUPT))
            return
        # The first Ctrl-C asks; TERM and HUP, and the next Ctrl-C, insist.
        rung = self._ladder.rung + 1
        if number != 2:
            rung = max(rung, ladder.TERMINATE)
        self._climb(rung)
        self._tell(Interrupted(number, min(rung, ladder.KILL)))

    def _on_time(self) -> None:
        now = self._inbox.now()
        if now - self._last_tick < TICK_S:
            return
        self._last_tick = now
        hand = self._in_hand
        if self._run_deadline is not None and now >= self._run_deadline and not self._is_stopping:
            self._is_stopping = self._is_out_of_time = True
            self._tell(
                Notice(
                    f"the run is out of time (limit {errors.duration_text(self._workflow.time_limit_s or 0)}); stopping"
                )
            )
            self._climb(ladder.TERMINATE)
        if hand is not None:
            if self._ladder.next_at is not None and now >= self._ladder.next_at:
                self._climb(self._ladder.rung + 1)
            elif self._ladder.rung == 0 and hand.deadline is not None and now >= hand.deadline:
                self._climb(ladder.TERMINATE)
            self._executor.keep_log_small(hand.step)
            progress = outcome.last_progress(self._layout, hand.step.number)
            if progress is not None and progress != self._progress:
                self._progress = progress
                self._tell(StepProgress(hand.step, *progress))
        self._executor.reap()
        if self._is_master_stale:
            self._save_progress()
        self._tell(Tick(time.time()))

    # ------------------------------------------------------------------ behind them

    def _climb(self, rung: int) -> None:
        number = self._ladder.climb(rung, self._inbox.now())
        if number is not None and self._in_hand is not None:
            self._executor.signal(self._in_hand.step, number)

    def _wait_s(self) -> float:
        now = self._inbox.now()
        wake_at = self._last_tick + TICK_S
        for at in (self._run_deadline, self._ladder.next_at, self._in_hand.deadline if self._in_hand else None):
            if at is not None:
                wake_at = min(wake_at, at)
        return max(0.0, wake_at - now)

    def _give_up(self, error: WorkflowError) -> None:
        self._is_stopping = True
        self.error = self.error or error

    def _move(self, number: int, status: Status) -> None:
        old = self.statuses[number]
        if status not in LEGAL_MOVES.get(old, ()):
            raise InvariantError(f"step {number:02d} cannot go from {old.value} to {status.value}")
        self.statuses[number] = status

    def _save_progress(self) -> None:
        try:
            current = self._in_hand.step.number if self._in_hand else None
            self._is_master_stale = not self._master.write_if_due(self.statuses, current)
        except NotRecordedError as error:
            # It is derived, but a disk that refuses it will refuse the marker too.
            self._give_up(error)
            self._climb(ladder.TERMINATE)

    def _tell_start(self) -> None:
        # A step that runs while its predecessor is committed is told of after it: people read in order.
        untold = self._untold
        if untold is not None and all(number == untold.step.number for number in self._committing):
            self._untold = None
            self._tell(untold)

    def _tell(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer.on_event(event)
            except Exception as error:  # noqa: BLE001 observers may be anybody's
                # An observer never harms the run: it is dropped, and the others hear of it once.
                self._observers.remove(observer)
                self._tell(Notice(f"{type(observer).__name__} stopped reporting: {error!r}"))

    def _exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        if self.interrupted_by is not None:
            return 128 + self.interrupted_by
        if self._is_out_of_time:
            return errors.EXIT_TIMED_OUT
        if any(status in (Status.FAILED, Status.CANCELLED) for status in self.statuses.values()):
            return errors.EXIT_STEP_FAILED
        return errors.EXIT_OK
