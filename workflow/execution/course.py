"""The course of one step: a person's word, its condition, its attempts and iterations, its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from workflow.checkpoint import commits
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import RunningNote, StepRecord
from workflow.errors import InvariantError, NotRecordedError, WorkflowError, one_line
from workflow.events import Notice, StepFinished, StepProgress, StepStarted, StepWaiting
from workflow.execution import in_hand, ladder, outcome
from workflow.execution.approvals import Approvals
from workflow.execution.board import Board
from workflow.execution.budget import Budget
from workflow.execution.executor import Executor, Start
from workflow.execution.hook_news import Gate, HookEnded
from workflow.execution.in_hand import InHand
from workflow.execution.inbox import Inbox
from workflow.execution.judging import Judge, verdict
from workflow.execution.reuse import Looked, Remark, Reuse
from workflow.execution.slots import Slots
from workflow.execution.telling import Teller
from workflow.model import NO_RULES, Attempt, Decision, Failure, Reason, Status, Step
from workflow.planning.judgement import said
from workflow.planning.record import Recorded
from workflow.planning.schedule import Schedule
from workflow.planning.visibility import Visibility


class Course:
    """Takes steps whose turn has come through their phases. `end` is called with every record of what became of one."""

    def __init__(
        self,
        layout: RunLayout,
        board: Board,
        *,
        decisions: Mapping[int, Decision],
        recorded: Recorded,
        inbox: Inbox,
        executor: Executor,
        teller: Teller,
        slots: Slots,
        approvals: Approvals,
        schedule: Schedule,
        visible: Visibility | None,
        judge: Judge,
        reuse: Reuse | None,
        hooks: Gate | None,
        budget: Budget,
        keep: Callable[[StepRecord], Sequence[str]] | None,
        end: Callable[[Step, StepRecord], None],
    ) -> None:
        self._layout = layout
        self._board = board
        self._decisions = decisions
        self._recorded = recorded
        self._past = dict(recorded.past)
        self._inbox = inbox
        self._executor = executor
        self._teller = teller
        self._slots = slots
        self._approvals = approvals
        self._schedule = schedule
        self._visible = visible
        self._judge = judge
        self._reuse = reuse
        self._hooks = hooks
        self._let_pass: set[int] = set()  # steps whose hooks have had their say
        self._budget = budget
        self._keep = keep
        self._hand_over = end
        self._reasons: dict[int, Reason] = {}
        self._iterations: dict[int, int] = {}
        # A step between two attempts has passed its condition.
        self._tested: set[int] = set(recorded.waits)
        self.retries_used: dict[int, int] = {}
        self.retrying: set[int] = set()  # steps whose next attempt is one of their `retries`

    def begin(self, step: Step) -> None:
        """Start a step that is ready and fits, or say why not. Also called when it was put back after a wait."""
        number, rules = step.number, step.rules
        if self._is_held_back(step):
            return
        if self._reuse is not None and self._reuse.wants(number):
            self._slots.give_back(step)
            self._board.looked_at.add(number)
            seen = self._reuse.published if self._visible is None else self._visible.seen_by(number)
            self._reuse.look(step, seen)
            return
        if rules is NO_RULES:
            self._run(step)
            return
        if rules.condition == "failure" and self._schedule.cause_before(number) is None:
            self._refuse(step, Status.SKIPPED, None, "nothing before it failed")
            return
        if rules.approval and not self._is_approved(step):
            return
        if rules.test and number not in self._tested:
            self._start(step, in_hand.IF)
        else:
            self._run(step)

    def is_looked_at_next(self, step: Step) -> bool:
        """Return whether beginning a step means to look at it, and not yet to run it."""
        return self._reuse is not None and self._reuse.wants(step.number)

    def forget(self, record: StepRecord) -> None:
        """Have a success that could not be recorded count for nothing later, either."""
        if self._reuse is not None and record.status is Status.SUCCEEDED:
            self._reuse.forget(record.step)

    def _is_held_back(self, step: Step) -> bool:
        """Return whether the run has spent what it may; then nothing more starts, and this step is let go of."""
        said = self._budget.exceeded
        if not said:
            return False
        number = step.number
        self._slots.give_back(step)
        if not self._board.is_spent_out:
            self._board.spend_out()
            advice = f"raise it, then: workflow resume {self._layout.run_id}"
            self._teller.tell(Notice(f"{said}; nothing more is started", advice, "error"))
        if self._board.statuses[number] in (Status.WAITING, Status.RUNNING):
            # Between two attempts or iterations: its state on the disk says how it goes on.
            self._board.move(number, Status.CANCELLED)
            self._schedule.finish(number, number)
            self._teller.tell(StepFinished(step, Status.CANCELLED, None, 0.0, self._layout.log(number)))
        return True

    def hear(self, event: Looked | Remark | HookEnded) -> None:
        """Go on with a step whose world was looked at: it is reused, or ready to run with all the reasons why.

        Or with one whose hooks have had their say.
        """
        if not isinstance(event, Looked | Remark):
            self._hear_hook(event)
            return
        if isinstance(event, Remark):
            self._teller.tell(Notice(event.text))
            return
        judgement = event.judgement
        step, number = judgement.step, judgement.step.number
        self._board.looked_at.discard(number)
        for item in step.inputs:
            if item.pattern in judgement.evidence.empty and item.empty != "ignore":
                message = f"nothing matches its input {one_line(item.pattern)}"
                if item.empty == "error" and self._board.may_start:
                    self._refuse(step, Status.FAILED, Failure("input_missing", message), message)
                    return
                self._teller.tell(Notice(f"step {one_line(step.title)}: {message}"))
        if judgement.reasons:
            self._reasons[number] = Reason(judgement.reasons[0].code, said(judgement.reasons))
        elif self._board.may_start:
            record = self._judge.reused(self._unstarted(step), judgement)
            try:
                self._executor.restore(step, record.outputs, record.env)
            except NotRecordedError as error:
                self._board.give_up(error)
            else:
                self._end(step, record)
                return
        self._schedule.put_back(number)

    def _hear_hook(self, event: HookEnded) -> None:
        if event.error is not None:
            self._board.give_up(event.error)
        elif event.warning:
            self._teller.tell(Notice(event.warning))
        if event.step is not None:
            self._board.looked_at.discard(event.step)
            self._let_pass.add(event.step)
            self._schedule.put_back(event.step)

    def _is_let_pass(self, step: Step) -> bool:
        """Return whether nothing stands before an attempt; else its hooks are asked, and its turn comes again."""
        number = step.number
        if self._hooks is None or number in self._let_pass or not self._hooks.is_before_steps:
            self._let_pass.discard(number)
            return True
        self._slots.give_back(step)
        if self._board.statuses[number] is Status.RUNNING:  # its test held
            self._board.move(number, Status.WAITING)
        self._board.looked_at.add(number)
        past = self._past.get(number, ())
        self._hooks.ask(step, past[-1].number + 1 if past else 1)
        return False

    def _end(self, step: Step, record: StepRecord) -> None:
        if self._reuse is not None:
            self._reuse.ends(record)
            if record.is_done:
                self._reuse.published.update({**record.outputs, **record.env})
        self._hand_over(step, record)

    def _is_approved(self, step: Step) -> bool:
        answer = self._approvals.answer(step)
        if answer is None:
            if self._approvals.objection:
                self._teller.tell(Notice(self._approvals.objection, "ask for it again: workflow approve RUN STEP"))
            self._slots.give_back(step)
            self._board.move(step.number, Status.WAITING)
            self._approvals.waiting[step.number] = step
            self._teller.tell(StepWaiting(step, "approval", step.rules.approval))
            return False
        if not answer.is_approved:
            failure = Failure("rejected", f"{one_line(answer.by)} rejected it ({answer.at})")
            self._refuse(step, Status.FAILED, failure, failure.message)
        return answer.is_approved

    def _run(self, step: Step) -> None:
        number = step.number
        if not self._is_let_pass(step):
            return
        if step.rules.repeat is None:
            self._start(step, in_hand.RUN)
            return
        if number not in self._iterations:
            if number in self._recorded.restarted:
                try:
                    self._executor.forget_iterations(step)
                except NotRecordedError as error:
                    self._slots.give_back(step)
                    self._board.give_up(error)
                    return
            self._iterations[number] = commits.iterations_done(self._layout, number, step.name)
            if self._iterations[number]:
                self.after_iteration(step, self._iterations[number])
                return
        self._start(step, in_hand.RUN, self._iterations[number] + 1)

    def after_iteration(self, step: Step, iteration: int) -> None:
        """Go on with a repeated step after an iteration that is recorded: ask its test, go round again, or end."""
        self._iterations[step.number] = iteration
        if step.rules.repeat is not None and step.rules.repeat.until:
            self._start(step, in_hand.UNTIL, iteration)
        else:
            self._go_round(step, is_over=False)

    def _go_round(self, step: Step, *, is_over: bool) -> None:
        number, repeat = step.number, step.rules.repeat
        if repeat is None:
            raise InvariantError(f"step {step.title} is not repeated")
        done = self._iterations[number]
        failure = None
        if not is_over and repeat.max_iterations is not None and done >= repeat.max_iterations:
            is_over = True
            if repeat.until:
                limit = f"after {done} iterations, which is its limit (for more: --max-iterations N)"
                failure = Failure("repeat", f"`until` did not hold {limit}")
        if not is_over:
            if not self._is_held_back(step):
                self._start(step, in_hand.RUN, done + 1)
            return
        self._board.move(number, Status.RUNNING)  # a resume may find that all rounds are done
        self._end(step, self._judge.looped(self._unstarted(step, done), self._past.get(number, ()), failure))

    def _start(self, step: Step, phase: str, iteration: int = 0) -> None:
        """Start an attempt or a test of a step that has its slot, or takes it now."""
        number, board = step.number, self._board
        past = self._past.get(number, ())
        attempt = past[-1].number + 1 if past else 1
        reason = self._reasons.get(number) or self._decisions[number].reasons[0]
        started_at = time.time()
        log_offset = 0
        try:
            lock_fd = self._slots.take(step)
            if phase == in_hand.RUN:
                is_first = not past and board.epoch == 1
                log_offset = self._executor.prepare(step, is_first=is_first, goes_on=iteration > 1)
            worker = self._executor.assign(lock_fd)
            if phase == in_hand.RUN:
                note = RunningNote(number, board.epoch, attempt, started_at, iteration)
                self._executor.note(worker, (*board.notes_of(worker), note))
                event = StepStarted(step, attempt, self._layout.log(number), started_at, reason, log_offset)
                self._teller.hold_start(event, board.committing)
                if step.interactive:
                    self._teller.tell_starts()
            given = None if self._visible is None else self._visible.seen_by(number)
            worker = self._executor.start(worker, Start(step, board.epoch, attempt, phase, iteration, given, lock_fd))
        except WorkflowError as error:
            self._teller.drop_start(number)
            self._slots.give_back(step)
            board.give_up(error)
            return
        retries = past[-1].retries if past else 0
        if phase == in_hand.RUN and number in self.retrying:
            self.retrying.remove(number)
            retries += 1
        hand = Attempt(attempt, board.epoch, started_at, log_offset_bytes=log_offset, retries=retries)
        board.in_hand[number] = InHand(step, hand, reason, phase, iteration, worker, self._inbox.now())
        board.move(number, Status.RUNNING)
        if phase == in_hand.RUN:
            self._teller.tell_starts()

    def let_go(self, hand: InHand) -> bool:
        """Let a worker go on with another step before what has ended well is looked at; return whether it may.

        Not where looking may say that it failed after all, nor where its slot or its lock stay its own.
        `settle` comes next in any case.
        """
        step = hand.step
        is_plain = step.rules is NO_RULES and not (step.outputs or step.interactive or step.archive)
        if hand.phase != in_hand.RUN or hand.why_ended or not is_plain:
            return False
        self._board.is_to_be_judged(hand, self._inbox.now())
        self._slots.give_back(step)
        self._executor.free(hand.worker)
        return True

    def look_at(self, hand: InHand, now: float) -> Sequence[str]:
        """Hold a step that runs to its limits, and tell how far it says it is; return the snapshots it asked for."""
        if hand.ladder.next_at is not None and now >= hand.ladder.next_at:
            self._board.climb(hand, hand.ladder.rung + 1, hand.why_ended)
        elif hand.ladder.rung == 0 and hand.deadline is not None and now >= hand.deadline:
            self._board.climb(hand, ladder.TERMINATE, in_hand.LIMIT)
        self._executor.keep_log_small(hand.step)
        told = outcome.said(self._layout, hand.step.number)
        if told.progress is not None and told.progress != hand.progress:
            hand.progress = told.progress
            self._teller.tell(StepProgress(hand.step, *told.progress))
        return told.snapshots

    def settle(self, hand: InHand, exit_code: int | None) -> None:
        """Say what an attempt or a test that ended amounts to, and go on. None: nobody knows how it ended."""
        step, number = hand.step, hand.step.number
        has_worker = self._board.take_out(hand)
        past = self._past.get(number, ())
        if hand.phase != in_hand.RUN and hand.why_ended in ("", in_hand.LIMIT):
            if hand.why_ended:
                self._executor.end_leftovers(hand.worker, step, whole_session=True, is_alone=not self._board.in_hand)
            self._executor.free(hand.worker)
            self._on_test(hand, exit_code)
            return
        ended = self._inbox.now() if hand.ended is None else hand.ended
        ended_at = hand.attempt.started_at + ended - hand.started
        record = self._judge.attempt(hand, exit_code, ended_at, past, retries_used=self.retries_used.get(number, 0))
        if record.failure is not None:
            # Nothing of a step that did not end well may live on beside its next attempt.
            whole = hand.ladder.rung > 0 or exit_code is None
            is_alone = not self._board.in_hand
            self._executor.end_leftovers(hand.worker, step, whole_session=whole, is_alone=is_alone)
        if has_worker:
            self._executor.free(hand.worker)
        if hand.phase != in_hand.RUN:
            record = record._replace(attempts=past)
        else:
            record, remarks = self._budget.take(record)
            for text in remarks:
                self._teller.tell(Notice(f"step {one_line(step.title)}: {text}"))
            if self._keep is not None and step.archive:
                # Now: the next step may start before this one is recorded, and change what is to be kept.
                for text in self._keep(record):
                    self._teller.tell(Notice(text))
        self._past[number] = record.attempts
        self._end(step, record)

    def _on_test(self, hand: InHand, exit_code: int | None) -> None:
        step = hand.step
        said = verdict(hand.phase, exit_code, is_out_of_time=hand.why_ended == in_hand.LIMIT)
        if said.failure is not None:
            self._end(step, self._judge.refused(hand, self._past.get(step.number, ()), Status.FAILED, said.failure))
        elif hand.phase == in_hand.UNTIL:
            self._go_round(step, is_over=said.is_yes)
        elif said.is_yes:
            self._tested.add(step.number)
            self._run(step)
        else:
            self._refuse(step, Status.SKIPPED, None, f"if: {one_line(step.rules.test)}")

    def _unstarted(self, step: Step, iteration: int = 0) -> InHand:
        """Return what stands for a step of which nothing runs, in a record of it."""
        attempt = Attempt(0, self._board.epoch, time.time())
        return InHand(step, attempt, self._decisions[step.number].reasons[0], "", iteration, 0, self._inbox.now())

    def _refuse(self, step: Step, status: Status, failure: Failure | None, why: str) -> None:
        """End a step whose turn came and that is not run: skipped, or failed before it started."""
        hand = self._unstarted(step)
        if status is Status.SKIPPED:
            hand.reason = Reason("condition-false", why)
        record = self._judge.refused(hand, self._past.get(step.number, ()), status, failure)
        self._board.move(step.number, Status.RUNNING)
        self._end(step, record._replace(worker=None))
