"""What stands where in a run. One thread owns it; one method moves the status of a step."""

from __future__ import annotations

import enum
import time

from workflow import errors
from workflow.checkpoint.records import RunningNote, StepRecord
from workflow.errors import InvariantError, WorkflowError
from workflow.execution import in_hand, ladder
from workflow.execution.executor import Executor
from workflow.execution.in_hand import InHand
from workflow.execution.inbox import Inbox
from workflow.model import LEGAL_MOVES, Attempt, Status


class Idle(enum.Enum):
    """How it goes on when nothing runs: AGAIN (something may start now), WAIT (for a time, a lock), or END."""

    AGAIN = "again"
    WAIT = "wait"
    END = "end"


class Board:
    """The steps in hand, those being committed, and why the run stops, if it does.

    `root` is the first step whose failure stops the run; `is_closed` says that everything it stopped has ended.
    `looked_at` are steps whose world is being looked at, to see whether they must run.
    `tolerated` are failed steps with `continue_on_error`. `uncommitted` holds, by worker, attempts that ended well
    and could not be recorded.
    """

    def __init__(self, statuses: dict[int, Status], executor: Executor, inbox: Inbox, epoch: int) -> None:
        self.statuses = statuses
        self.epoch = epoch
        self.in_hand: dict[int, InHand] = {}
        self.committing: dict[int, StepRecord] = {}
        self._ended: InHand | None = None
        self.looked_at: set[int] = set()
        self.unsubmitted: list[StepRecord] = []
        self.tolerated: set[int] = set()
        self.uncommitted: dict[int, tuple[RunningNote, ...]] = {}
        self.root: int | None = None
        self.is_closed = False
        self.is_stopping = False
        self.is_out_of_time = False
        self.is_spent_out = False
        self.interrupted_by: int | None = None
        self.error: WorkflowError | None = None
        self._executor = executor
        self._inbox = inbox

    @property
    def may_start(self) -> bool:
        """Whether anything may be started at all. After a failure nothing is, until what ran has ended."""
        return not self.is_stopping and (self.root is None or self.is_closed)

    @property
    def is_idle(self) -> bool:
        return not (self.in_hand or self.committing or self.looked_at) and self._ended is None

    @property
    def is_judging(self) -> bool:
        """Whether an attempt has ended and left its worker, and is not judged yet."""
        return self._ended is not None

    def move(self, number: int, status: Status) -> None:
        """Change the status of a step; staying where it is, is no move. Raises InvariantError for one that is wrong."""
        old = self.statuses[number]
        if status is old:
            return
        if status not in LEGAL_MOVES.get(old, ()):
            raise InvariantError(f"step {number:02d} cannot go from {old.value} to {status.value}")
        self.statuses[number] = status

    def notes_of(self, worker: int) -> list[RunningNote]:
        """Return the attempts that a worker ran and that are not committed yet."""
        notes = [self.note(record) for record in self.committing.values() if record.worker == worker]
        hand = self._ended
        if hand is not None and hand.worker == worker:
            notes.append(
                RunningNote(hand.step.number, self.epoch, hand.attempt.number, hand.attempt.started_at, hand.iteration)
            )
        return notes

    def is_to_be_judged(self, hand: InHand, now: float) -> None:
        """Note that an attempt has ended and left its worker before it is judged; `take_out` comes next."""
        del self.in_hand[hand.step.number]
        hand.ended = now
        self._ended = hand

    def take_out(self, hand: InHand) -> bool:
        """Take an attempt that ended off the board; return whether it still has its worker."""
        if self._ended is hand:
            self._ended = None
            return False
        del self.in_hand[hand.step.number]
        return True

    def note(self, record: StepRecord) -> RunningNote:
        last = record.attempts[-1] if record.attempts else Attempt(0, self.epoch, time.time())
        return RunningNote(record.step.number, self.epoch, last.number, last.started_at, record.iteration)

    # ------------------------------------------------------------------ bringing it to an end

    def climb(self, hand: InHand, rung: int, why: str) -> None:
        """Bring a step to its end with the force of a rung, unless that was used already."""
        number = hand.ladder.climb(rung, self._inbox.now())
        if number is None:
            return
        # A step that is being ended for one thing, and then for another, was cut short by the latter.
        if not hand.why_ended or why in (in_hand.INTERRUPT, in_hand.ERROR):
            hand.why_ended = why
        self._executor.signal(hand.worker, hand.step, number)

    def climb_all(self, rung: int, why: str) -> None:
        for hand in self.in_hand.values():
            self.climb(hand, rung, why)

    def interrupt(self, number: int) -> int:
        """Bring everything to its end because of a signal; return the rung of force that is used now."""
        self.is_stopping = True
        self.interrupted_by = self.interrupted_by or number
        if not self.in_hand:
            return ladder.INTERRUPT
        # The first Ctrl-C asks; TERM and HUP, and the next Ctrl-C, insist.
        rung = 1 + max(hand.ladder.rung for hand in self.in_hand.values())
        if number != 2:
            rung = max(rung, ladder.TERMINATE)
        self.climb_all(rung, in_hand.INTERRUPT)
        return min(rung, ladder.KILL)

    def give_up(self, error: WorkflowError) -> None:
        """Stop because of something that is no step's failure; the first one counts."""
        self.is_stopping = True
        self.error = self.error or error
        self.climb_all(ladder.TERMINATE, in_hand.ERROR)

    def spend_out(self) -> None:
        """Let nothing more start, because a limit of what the run may spend is reached; what runs may end."""
        self.is_stopping = self.is_spent_out = True

    def exit_code(self, *, is_waiting: bool) -> int:
        """Return the exit code of the run. `is_waiting`: steps wait for a person."""
        if self.error is not None:
            return self.error.exit_code
        if self.interrupted_by is not None:
            return 128 + self.interrupted_by
        if self.is_out_of_time:
            return errors.EXIT_TIMED_OUT
        # What was not started for want of money waits for a person, as what wants an approval does.
        is_waiting = is_waiting or self.is_spent_out
        bad = (Status.FAILED,) if self.is_spent_out else (Status.FAILED, Status.CANCELLED, Status.BLOCKED)
        if any(status in bad and number not in self.tolerated for number, status in self.statuses.items()):
            return errors.EXIT_STEP_FAILED
        return errors.EXIT_WAITING if is_waiting else errors.EXIT_OK
