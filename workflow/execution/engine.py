"""The loop that decides. One thread owns all state and takes events off one queue.

It starts what is ready while what has ended is being committed beside it, and tells nobody that a
step is done before its marker is durable. A resumed run is an ordinary run that finds markers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush

from workflow import errors
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.master import MasterWriter
from workflow.checkpoint.records import StepRecord
from workflow.errors import InvariantError, NotRecordedError, WorkflowError
from workflow.events import Interrupted, Notice, Observer, StepFinished, StepIterated, StepWaiting, Tick
from workflow.execution import in_hand, ladder, outcome
from workflow.execution.approvals import Approvals
from workflow.execution.board import Board, Idle
from workflow.execution.budget import Budget
from workflow.execution.committer import CommitFailed, Committed, Committer
from workflow.execution.course import Course
from workflow.execution.executor import Executor
from workflow.execution.hook_news import Gate, HookEnded
from workflow.execution.inbox import Inbox, SignalCame
from workflow.execution.judging import KILLED, Judge
from workflow.execution.reuse import Looked, Remark, Reuse
from workflow.execution.slots import Slots
from workflow.execution.snapshotting import Snapshotting, TreeKept
from workflow.execution.telling import Teller
from workflow.execution.worker import StepEnded, WorkerGone
from workflow.model import NO_RULES, Choice, Decision, Status, Step, Workflow
from workflow.planning.record import Recorded
from workflow.planning.schedule import Schedule
from workflow.planning.visibility import Visibility

TICK_S = 0.1
SLOW_LOOK_S = 1.0
MOST_REUSED = 500
LONGEST_WAIT_S = 315360000.0
_UNRUN = {Choice.BYPASS: Status.BYPASSED, Choice.REUSE: Status.REUSED, Choice.SKIP: Status.SKIPPED}


class Engine:
    """Runs the steps of one run as their order, their needs and the limits allow."""

    def __init__(
        self,
        workflow: Workflow,
        layout: RunLayout,
        *,
        epoch: int,
        decisions: Mapping[int, Decision],
        recorded: Recorded,
        inbox: Inbox,
        executor: Executor,
        committer: Committer,
        observers: Sequence[Observer],
        master: MasterWriter,
        slots: Slots,
        approvals: Approvals,
        snapshotting: Snapshotting,
        budget: Budget,
        keep: Callable[[StepRecord], Sequence[str]] | None = None,
        reuse: Reuse | None = None,
        hooks: Gate | None = None,
        keep_going: bool = False,
    ) -> None:
        """`recorded`: what is known of earlier runs; `keep` makes copies of files; `keep_going`: past a failure."""
        self._workflow = workflow
        self._layout = layout
        self._inbox = inbox
        self._executor = executor
        self._committer = committer
        self._teller = Teller(observers)
        self._tell = self._teller.tell
        self._master = master
        self._slots = slots
        self._approvals = approvals
        self._snapshots = snapshotting
        self._keep_going = keep_going
        self._steps = {step.number: step for step in workflow.steps}
        statuses = {number: _UNRUN.get(it.choice, Status.PENDING) for number, it in decisions.items()}
        self._board = Board(statuses, executor, inbox, epoch)
        to_run = {number for number, decision in decisions.items() if decision.choice is Choice.RUN}
        self._schedule = Schedule(workflow.steps, to_run)
        self._visible = None if self._schedule.is_linear else Visibility(workflow.steps, recorded.published)
        self._judge = Judge(layout, workflow.project, recorded.identities)
        self._course = Course(
            layout,
            self._board,
            decisions=decisions,
            recorded=recorded,
            inbox=inbox,
            executor=executor,
            teller=self._teller,
            slots=slots,
            approvals=approvals,
            schedule=self._schedule,
            visible=self._visible,
            judge=self._judge,
            reuse=reuse,
            hooks=hooks,
            budget=budget,
            keep=keep,
            end=self._end,
        )
        self._timers: list[tuple[float, int]] = []  # steps between two attempts, by the time of the next
        self._kept_back: dict[int, float] = {}
        self._most_committing = 1 if slots.jobs == 1 else 16 * slots.jobs
        self._run_deadline = None if workflow.time_limit_s is None else inbox.now() + workflow.time_limit_s
        self._last_tick = self._last_slow_look = 0.0
        self._is_master_stale = False
        for number in to_run & recorded.waits.keys():
            self._course.retries_used[number], self._kept_back[number] = recorded.waits[number]
            if self._kept_back[number]:  # a retry that was cut short is run again, and counts once
                self._course.retrying.add(number)

    @property
    def board(self) -> Board:
        """What stands where; read it when `run` has returned."""
        return self._board

    # ------------------------------------------------------------------ the loop

    def run(self) -> int:
        """Run until nothing is left to do or to wait for; return the exit code.

        Never raises for what a step does: the board says what else happened.
        """
        if self._board.epoch == 1:
            # A step may look for it. A resume finds one, and writes its own while its first step runs.
            self._save_progress()
        while True:
            self._start_ready()
            self._submit()
            if self._snapshots.is_due:
                for notice in self._snapshots.make(self._board):
                    self._tell(notice)
            if self._board.is_idle:
                idle = self._goes_on()
                if idle is Idle.END:
                    return self._board.exit_code(is_waiting=bool(self._approvals.waiting))
                if idle is Idle.AGAIN:
                    continue
            event = self._inbox.next(self._wait_s())
            if event is not None:
                self._on(event)
            self._on_time()

    def _start_ready(self) -> None:
        # Steps may run ahead of the commits of a few others, not of more: what a power cut can make run
        # again stays bounded, and a disk that is slower than the steps sets the pace. What is looked at is not run.
        board, started = self._board, 0
        while board.may_start and not self._slots.is_full:
            step = None if self._snapshots.keeps_back(board) else self._schedule.next_ready(self._fits)
            if step is None:
                break
            started += 1
            self._begin(step)
        for number, cause in self._schedule.take_blocked():
            board.move(number, Status.BLOCKED)
            self._slots.forget(number)
            self._tell_unrun(self._steps[number], Status.BLOCKED, cause)
        if started:
            self._save_progress()

    def _fits(self, step: Step) -> bool:
        may_be_behind = MOST_REUSED if self._course.is_looked_at_next(step) else self._most_committing
        if len(self._board.committing) > may_be_behind:
            return False
        # An interactive step gets the terminal when all that came before has been told.
        if step.interactive and not self._board.is_idle:
            return False
        if any(hand.step.interactive for hand in self._board.in_hand.values()):
            return False
        if step.rules is NO_RULES and not self._slots.has_claims:
            return True
        try:
            return self._slots.fits(step, self._inbox.now())
        except WorkflowError as error:
            self._board.give_up(error)
            return False

    def _begin(self, step: Step) -> None:
        next_at = self._kept_back.pop(step.number, None)
        if next_at is None:
            self._course.begin(step)
            return
        # It was between two attempts when its runner ended; what is left of the wait is waited for.
        self._slots.give_back(step)
        self._board.move(step.number, Status.WAITING)
        self._not_before(step, next_at)

    def _goes_on(self) -> Idle:
        """Return how it goes on, now that nothing runs and nothing is being committed."""
        board = self._board
        if board.is_stopping:
            while self._timers:
                self._end_between(heappop(self._timers)[1], None)
            return Idle.END
        if board.root is not None and not board.is_closed:
            self._close(board.root)
            return Idle.AGAIN
        if self._timers or self._schedule.has_ready:
            return Idle.WAIT
        answered: list[Step] = []
        try:
            with self._inbox.asking():
                answered = self._approvals.ask()
        except NotRecordedError as error:
            board.give_up(error)
        for step in answered:
            self._schedule.put_back(step.number)
        while (event := self._inbox.next(0.0)) is not None:  # a signal that ended the question
            self._on(event)
        return Idle.AGAIN if answered else Idle.END

    def _close(self, root: int) -> None:
        # Nothing runs any more: what never started is blocked, and what runs at the end gets its turn.
        self._board.is_closed = True
        for _, number in self._timers:
            self._end_between(number, root)
        self._timers.clear()
        self._approvals.waiting.clear()
        self._schedule.close(root)

    def _on(self, event: object) -> None:
        if isinstance(event, StepEnded):
            self._on_ended(event)
        elif isinstance(event, Committed):
            self._on_committed(event.record)
        elif isinstance(event, SignalCame):
            self._tell(Interrupted(event.number, self._board.interrupt(event.number)))
        elif isinstance(event, WorkerGone):
            self._on_worker_gone(event)
        elif isinstance(event, CommitFailed):
            self._on_commit_failed(event)
        elif isinstance(event, Looked | Remark | HookEnded):
            self._course.hear(event)
        elif isinstance(event, TreeKept):
            for notice in event.notices:
                self._tell(notice)
        else:
            raise InvariantError(f"an event nobody knows: {event!r}")

    # ------------------------------------------------------------------ what can happen

    def _on_ended(self, event: StepEnded) -> None:
        hand = self._board.in_hand.get(event.step)
        if hand is None or not hand.is_of(event.step, event.epoch, event.attempt, event.phase):
            return  # an answer of an attempt that is settled already
        if event.exit_code is not None:
            if event.exit_code == 0 and self._schedule.is_next_sure(event.step) and self._course.let_go(hand):
                self._start_ready()
            self._course.settle(hand, event.exit_code)
            return
        del self._board.in_hand[event.step]
        self._slots.give_back(hand.step)
        self._executor.free(hand.worker)
        self._board.move(event.step, Status.CANCELLED)
        self._board.give_up(outcome.not_started(hand.step, self._layout.log(hand.step.number)))

    def _on_worker_gone(self, event: WorkerGone) -> None:
        self._executor.lose_worker(event.worker)
        for hand in list(self._board.in_hand.values()):
            if hand.worker == event.worker and not (hand.step.interactive and hand.phase == in_hand.RUN):
                # Our own KILL reaches the worker with its step. Otherwise the step killed its parent.
                self._course.settle(hand, KILLED if hand.ladder.rung == ladder.KILL else None)

    def _end(self, step: Step, record: StepRecord) -> None:
        """Hand a record over to be committed, and let go on what waited for it."""
        number, board = step.number, self._board
        board.committing[number] = record
        board.unsubmitted.append(record)
        if record.status is Status.RUNNING:
            return  # one iteration of several: the slot stays its own
        self._slots.give_back(step)
        if record.status is Status.WAITING:
            return
        published = {**record.outputs, **record.env} if record.is_done else {}
        if published:
            self._master.publish(published)
            if self._visible is not None:
                self._visible.finish(number, published)
            else:
                self._executor.publish(number, published)
        if record.status is Status.FAILED and step.rules.continue_on_error:
            board.tolerated.add(number)
        is_good = record.is_done or record.status is Status.SKIPPED or number in board.tolerated
        cause = board.root if record.status is Status.CANCELLED and board.root is not None else number
        self._schedule.finish(number, None if is_good else cause)
        if not is_good and record.status is Status.FAILED:
            self._on_failure(number, record)

    def _on_failure(self, number: int, record: StepRecord) -> None:
        board = self._board
        if not board.may_start or board.is_closed:
            return
        if record.attempts and record.attempts[-1].timed_out:
            board.is_out_of_time = True
        if not self._keep_going:
            board.root = number
            board.climb_all(ladder.INTERRUPT, in_hand.FAILURE)

    def _submit(self) -> None:
        # After the next steps were started: their shells come up while the commit goes on.
        for record in self._board.unsubmitted:
            self._committer.submit(record)
            if record.status is not Status.RUNNING:
                self._executor.release(record.step)
        self._board.unsubmitted.clear()

    def _on_committed(self, record: StepRecord) -> None:
        step, number = record.step, record.step.number
        del self._board.committing[number]
        self._teller.tell_start_of(number)
        self._is_master_stale = True
        for notice in self._snapshots.on_recorded(record, self._board):
            self._tell(notice)
        if not record.is_done and record.worker:
            self._executor.is_recorded(record.worker)
        if record.status is Status.RUNNING:
            self._on_iterated(record)
        elif record.status is Status.WAITING:
            self._on_waiting(record)
        else:
            self._board.move(number, record.status)
            self._tell(
                StepFinished(
                    step,
                    record.status,
                    record.attempts[-1] if record.attempts else None,
                    record.duration_s,
                    self._layout.log(number),
                    record.failure,
                    record.tail,
                    record.files if record.failure else (),
                    record.warnings,
                    detail=record.reason.detail if record.status is Status.SKIPPED else "",
                    is_tolerated=number in self._board.tolerated,
                )
            )
        self._teller.is_told(number)

    def _on_iterated(self, record: StepRecord) -> None:
        self._tell(StepIterated(record.step, record.iteration, record.duration_s))
        if self._board.may_start:
            self._course.after_iteration(record.step, record.iteration)
        else:
            self._slots.give_back(record.step)
            self._end_between(record.step.number, self._board.root)

    def _on_waiting(self, record: StepRecord) -> None:
        step, next_at = record.step, record.next_at or time.time()
        self._board.move(step.number, Status.WAITING)
        self._course.retries_used[step.number] = record.retries_used
        self._course.retrying.add(step.number)
        attempt = record.attempts[-1].number
        self._tell(StepWaiting(step, "retry", "", attempt, record.failure, max(0.0, next_at - time.time())))
        if self._board.may_start:
            self._not_before(step, next_at)
        else:
            self._end_between(step.number, self._board.root)

    def _not_before(self, step: Step, next_at: float) -> None:
        """Keep a step back until an instant; a clock that was set back must not make that longer than it was."""
        retries = step.rules.retries
        longest_s = retries.max_delay_s if retries.max_delay_s is not None else LONGEST_WAIT_S
        wait_s = min(max(0.0, next_at - time.time()), longest_s * (1.0 + retries.jitter))
        heappush(self._timers, (self._inbox.now() + wait_s, step.number))

    def _end_between(self, number: int, cause: int | None) -> None:
        """Stop a step between two attempts or iterations; its state on the disk says how it goes on."""
        self._board.move(number, Status.CANCELLED)
        self._schedule.finish(number, number if cause is None else cause)
        self._tell_unrun(self._steps[number], Status.CANCELLED, cause)

    def _tell_unrun(self, step: Step, status: Status, cause: int | None) -> None:
        because = "" if cause is None else self._steps[cause].title
        self._tell(StepFinished(step, status, None, 0.0, self._layout.log(step.number), detail=because))
        self._is_master_stale = True

    def _on_commit_failed(self, event: CommitFailed) -> None:
        record, board = event.record, self._board
        del board.committing[record.step.number]
        board.move(record.step.number, Status.CANCELLED)
        self._course.forget(record)
        if record.failure is None and record.attempts and record.worker:
            # It did its work, and its exit record says so: the next resume takes that over.
            board.uncommitted[record.worker] = (*board.uncommitted.get(record.worker, ()), board.note(record))
        board.give_up(event.error)

    # ------------------------------------------------------------------ time

    def _on_time(self) -> None:
        now, board = self._inbox.now(), self._board
        while self._timers and self._timers[0][0] <= now:
            self._schedule.put_back(heappop(self._timers)[1])
        if now - self._last_tick < TICK_S:
            return
        self._last_tick = now
        if self._run_deadline is not None and now >= self._run_deadline and not board.is_stopping:
            board.is_stopping = board.is_out_of_time = True
            limit = errors.duration_text(self._workflow.time_limit_s or 0)
            self._tell(Notice(f"the run is out of time (limit {limit}); stopping"))
            board.climb_all(ladder.TERMINATE, in_hand.LIMIT)
        for hand in board.in_hand.values():
            self._snapshots.look(hand, self._course.look_at(hand, now))
        self._snapshots.on_tick(now, list(board.in_hand))
        self._executor.reap()
        for step in self._approvals.answered(now):
            self._schedule.put_back(step.number)
        if now - self._last_slow_look >= SLOW_LOOK_S:
            self._last_slow_look = now
            self._judge.look()
            for step, held_by in self._slots.kept_waiting(now):
                self._tell(StepWaiting(step, "lock", f"{step.rules.lock}, held by {held_by}"))
        if self._is_master_stale:
            self._save_progress()
        self._tell(Tick(time.time()))

    def _wait_s(self) -> float:
        now = self._inbox.now()
        wake_at = self._last_tick + TICK_S
        if self._run_deadline is not None:
            wake_at = min(wake_at, self._run_deadline)
        if self._timers:
            wake_at = min(wake_at, self._timers[0][0])
        for hand in self._board.in_hand.values():
            for at in (hand.ladder.next_at, hand.deadline if hand.ladder.rung == 0 else None):
                if at is not None:
                    wake_at = min(wake_at, at)
        return max(0.0, wake_at - now)

    def _save_progress(self) -> None:
        try:
            running = [(hand.worker, number) for number, hand in self._board.in_hand.items()]
            self._is_master_stale = not self._master.write_if_due(self._board.statuses, running)
        except NotRecordedError as error:
            # It is derived, but a disk that refuses it will refuse the marker too.
            self._board.give_up(error)
