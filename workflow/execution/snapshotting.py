"""When the engine makes a snapshot: by number of steps, by the clock, at a failure, when a step asks, at the end.

A snapshot claims only what is recorded: it is made from what the engine was told is durable. One that cannot be
written is a warning, and never stops a run: nothing rests on it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from workflow.checkpoint import records, snapshots
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.master import MasterWriter
from workflow.checkpoint.records import StepRecord
from workflow.errors import NotRecordedError, one_line
from workflow.events import Notice, SnapshotMade
from workflow.execution.board import Board
from workflow.execution.in_hand import RUN, InHand
from workflow.execution.printed_marks import MOST_A_LOOK_BYTES, MarkScan
from workflow.model import RunStatus, Status, Workflow
from workflow.planning.outcome import with_past
from workflow.planning.record import Recorded
from workflow.planning.tasks import WORDS, Tasks

if TYPE_CHECKING:
    from workflow.execution.tree_keeping import TreeKeeper

# A step that asks again and again, in one breath, is given this many.
MOST_ASKED_AT_ONCE = 20

News = Notice | SnapshotMade

_AT_THE_END = {RunStatus.COMPLETED: "completion", RunStatus.FAILED: "error"}


class ToKeep(NamedTuple):
    """A snapshot whose files are to be kept; `about` is what the message of the commit says beside its first line."""

    number: int
    trigger: str
    name: str
    step: str
    about: tuple[tuple[str, str], ...]


class TreeKept(NamedTuple):
    """The files of snapshots were looked at, or could not be: steps may start again."""

    notices: tuple[Notice, ...]


class Snapshotting:
    """The snapshots of one invocation. `is_due` says that `make` has something to do.

    Times are those of the inbox: the time we were stopped does not count.
    """

    def __init__(
        self,
        layout: RunLayout,
        disk: Disk,
        workflow: Workflow,
        recorded: Recorded,
        master: MasterWriter,
        *,
        epoch: int,
        now: float,
        trees: TreeKeeper | None = None,
    ) -> None:
        """`trees` keeps the files of the work tree with every snapshot; None: they are not kept."""
        settings = workflow.checkpoints
        self._layout = layout
        self._disk = disk
        self._recorded = recorded
        self._master = master
        self._epoch = epoch
        self._trees = trees
        self._last: StepRecord | None = None
        self._most = settings.max_snapshots
        self._is_on = settings.enabled
        self._task_interval = settings.task_interval if self._is_on else None
        self._interval_s = 60 * settings.interval_minutes if self._is_on and settings.interval_minutes else None
        self._next_at = None if self._interval_s is None else now + self._interval_s
        self._tasks = Tasks(workflow, layout, recorded)
        self._tolerant = {step.number for step in workflow.steps if step.rules.continue_on_error}
        self._recorded_now = 0  # outcomes recorded in this invocation
        self._recorded_then = 0  # how many of them the last snapshot tells of
        self._completed = 0  # steps and iterations, since the last snapshot by number
        self._running_then: tuple[int, ...] = ()
        self._is_auto_due = False
        self._is_error_due = False
        self._asked: list[str] = []
        self._heard: dict[int, tuple[int, int]] = {}
        self._scans: dict[int, MarkScan] = {}
        self._scanned: dict[int, int] = {}
        self._objections: set[str] = set()
        self.is_due = False
        self.busy_s = 0.0  # seconds in which snapshots were being made

    # ------------------------------------------------------------------ what may ask for one

    def on_recorded(self, record: StepRecord, board: Board) -> Sequence[News]:
        """Take note that an outcome is recorded; call it once for each, before the board shows it or anybody is told.

        What the step asked for while nobody looked is made up for now: it asked while it ran, and there its snapshot
        has it. Returns what people should know of that.
        """
        if not self._is_on:
            return ()
        number, status = record.step.number, record.status
        if record.snapshots:
            self._hear(record, record.attempts[-1].number if record.attempts else 0)
        self._look_to_the_end(record)
        notices: Sequence[News] = self._make_asked(board) if self._asked else ()
        self._tasks.put(record, self._epoch)
        self._recorded_now += 1
        self._last = record
        if record.is_done or status is Status.RUNNING:  # a step, or an iteration of one that is repeated
            self._completed += 1
            if self._task_interval is not None and self._completed >= self._task_interval:
                self._is_auto_due = self.is_due = True
            if self._trees is not None and self.is_due and status is Status.RUNNING:
                # The next iteration starts at once, and would change what this one left.
                notices = [*notices, *self.make(board)]
                self._trees.wait()
        elif status is Status.FAILED and number not in self._tolerant:
            self._is_error_due = self.is_due = True
        return notices

    def keeps_back(self, board: Board) -> bool:
        """Return whether no step may start now: the files are to be kept as those before it left them."""
        if self._trees is None or not self._is_on:
            return False
        if self._trees.is_looking:
            return True
        ending = len(board.committing) + board.is_judging
        return self._task_interval is not None and self._completed + ending >= self._task_interval

    def look(self, hand: InHand, asked: Sequence[str]) -> None:
        """Look at a step that runs: what it printed, and `asked`, the names it gave step_checkpoint so far."""
        if not self._is_on or hand.phase != RUN:
            return
        number, attempt = hand.step.number, hand.attempt.number
        scan = self._scans.get(number)
        if scan is None or scan.attempt != attempt:
            scan = MarkScan(self._layout.log(number), hand.attempt.log_offset_bytes, attempt)
            self._scans[number] = scan
        if scan.look(MOST_A_LOOK_BYTES):
            self._ask(f"[CHECKPOINT] in step {one_line(hand.step.title)}")
        if asked:
            self._hear_names(number, 0 if hand.iteration else attempt, asked)

    def on_tick(self, now: float, running: Sequence[int]) -> None:
        """Look at the clock. Where nothing happened since the last snapshot, another one would say nothing."""
        if self._next_at is None or self._interval_s is None or now < self._next_at:
            return
        self._next_at = now + self._interval_s
        # A step that has ended and is not recorded yet is told as running still: no news.
        if self._recorded_now != self._recorded_then or not set(running) <= set(self._running_then):
            self._is_auto_due = self.is_due = True

    def _hear(self, record: StepRecord, attempt: int) -> None:
        self._hear_names(record.step.number, 0 if record.step.rules.repeat else attempt, record.snapshots)

    def _hear_names(self, number: int, attempt: int, names: Sequence[str]) -> None:
        """Ask for what a step asked since we last heard of it. The iterations of a step write into one file."""
        before, heard = self._heard.get(number, (attempt, 0))
        if before != attempt or heard > len(names):
            heard = 0
        self._heard[number] = (attempt, len(names))
        for name in names[heard:][-MOST_ASKED_AT_ONCE:]:
            self._ask(name)

    def _ask(self, name: str) -> None:
        if len(self._asked) < MOST_ASKED_AT_ONCE:
            self._asked.append(name)
        self.is_due = True

    def _look_to_the_end(self, record: StepRecord) -> None:
        """Look through what an attempt printed since we last looked; once for each."""
        number = record.step.number
        last = record.attempts[-1] if record.attempts else None
        if last is None or last.epoch != self._epoch or self._scanned.get(number) == last.number:
            return
        self._scanned[number] = last.number
        scan = self._scans.pop(number, None)
        if scan is None or scan.attempt != last.number:
            scan = MarkScan(self._layout.log(number), last.log_offset_bytes, last.number)
        if scan.look():
            self._ask(f"[CHECKPOINT] in step {one_line(record.step.title)}")

    # ------------------------------------------------------------------ making them

    def make(self, board: Board) -> list[News]:
        """Make the snapshots that are due; return what people should know of it."""
        # While a failure brings others to their end, there is more to tell in a moment.
        is_error_due = self._is_error_due and (board.root is None or board.is_closed or board.is_stopping)
        notices = self._make_asked(board)
        if is_error_due:
            notices += self._make_now(board, [("error", "")])
        elif self._is_auto_due and not self._is_error_due:
            notices += self._make_now(board, [("auto", "")])
        if self._is_auto_due:
            self._completed = 0
        self._is_auto_due = False
        self._is_error_due = self.is_due = self._is_error_due and not is_error_due
        return notices

    def _make_asked(self, board: Board) -> list[News]:
        asked = [("manual", name) for name in self._asked]
        self._asked.clear()
        return self._make_now(board, asked)

    def _make_now(self, board: Board, triggers: Sequence[tuple[str, str]]) -> list[News]:
        if not triggers:
            return []
        going = RunStatus.IN_PROGRESS if self._epoch == 1 else RunStatus.RETRYING
        # The failure that stops a run is known before it is recorded; nothing here runs ahead of that.
        has_failed = board.root is not None and board.statuses[board.root] is Status.FAILED
        status = RunStatus.FAILED if has_failed else going
        running = [(hand.worker, number) for number, hand in board.in_hand.items()]
        return self._write(triggers, board.statuses, running, status)

    def finish(self, statuses: Mapping[int, Status], status: RunStatus) -> list[News]:
        """Make the last snapshot of an invocation; return what people should know of it.

        Where nothing happened that the last one does not tell, none is made; but a completed run has one that says so.
        """
        trigger = _AT_THE_END.get(status, "auto")
        if self._recorded_now == 0:  # an outcome may have been taken over, or marked by hand, since the last one
            newest = snapshots.newest(self._layout)
            is_told = newest is not None and snapshots.head(newest).status == status.value
            # A kill can come between a snapshot and the commit of its files; then one is made that has them.
            if newest is not None and self._trees is not None and self._trees.lacks(newest.number):
                is_told = False
        else:
            is_told = self._recorded_now == self._recorded_then and trigger != "completion"
        if is_told or not self._is_on:
            return []
        return self._write([(trigger, "")], statuses, (), status)

    def close(self) -> list[Notice]:
        """Wait until all files are kept; return what people should know of it."""
        return [] if self._trees is None else self._trees.close()

    def _write(
        self,
        triggers: Sequence[tuple[str, str]],
        statuses: Mapping[int, Status],
        running: Sequence[tuple[int, int]],
        status: RunStatus,
    ) -> list[News]:
        began = time.monotonic()
        statuses = with_past(dict(statuses), self._recorded)
        words = {number: WORDS.get(it, "pending") for number, it in statuses.items()}
        document = self._master.document(statuses, running, status)
        document["tasks"] = records.Streamed(lambda: self._tasks.items(words))
        self._recorded_then = self._recorded_now
        self._running_then = tuple(number for _, number in running)
        notices: list[News] = []
        for trigger, name in triggers:
            try:
                made = snapshots.write(self._disk, self._layout, document, trigger=trigger, name=name, most=self._most)
            except NotRecordedError as error:
                # Said once: a run of ten thousand steps is not to say it ten thousand times.
                if error.message not in self._objections:
                    self._objections.add(error.message)
                    notices.append(Notice(f"no snapshot was made: {error.message}", error.help))
                continue
            made_id = snapshots.snapshot_id(self._layout, made.number)
            notices.append(SnapshotMade(made_id, made.number, made.path, trigger, name))
            if self._trees is not None:
                self._trees.keep(self._to_keep(made.number, trigger, name, document))
            if trigger == "manual":
                said = f" ({one_line(name)})" if name else ""
                notices.append(Notice(f"snapshot {made_id} made{said}", level="note"))
        self.busy_s += time.monotonic() - began
        return notices

    def _to_keep(self, number: int, trigger: str, name: str, document: Mapping[str, object]) -> ToKeep:
        """Return what the message of a commit says of a snapshot: what the snapshot itself says of the run."""
        last = self._last
        about = [
            ("Status", str(document.get("status"))),
            ("Completed", f"{document.get('completed_tasks')} of {document.get('total_tasks')} steps"),
            ("Invocation", str(self._epoch)),
        ]
        if last is not None and last.iteration:
            about.append(("Iteration", str(last.iteration)))
        return ToKeep(number, trigger, name, "" if last is None else last.step.title, tuple(about))
