"""Commits beside the loop: one thread that makes finished steps durable while the next ones run.

The engine starts a step while the commit of the one before is on its way, and tells nobody that
the one before is done until the thread says that its marker is durable. Steps that end while the
disk is busy are committed together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from workflow.checkpoint import commits
from workflow.checkpoint.commits import StagedDone
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.outputs import digest_of
from workflow.checkpoint.records import StepRecord
from workflow.errors import NotRecordedError
from workflow.model import Status

SLOW_TOGETHER_S = 0.05
# How long short steps are gathered for one commit: fewer flushes, and fewer turns between the two threads.
GATHER_S = 0.005
ONE_BY_ONE_TIMES = 20.0
ONE_ALONE_S = 0.004  # what a step by itself takes on a disk that has something to do
MOST_UNSETTLED_S = 0.1  # with durability `process`: how long a finished step may wait to survive a power cut


class Committed(NamedTuple):
    """What became of a step is recorded: its end, a wait, or (status RUNNING) one iteration of it."""

    record: StepRecord


class CommitFailed(NamedTuple):
    """The outcome could not be recorded; there is no marker."""

    record: StepRecord
    error: NotRecordedError


class Committer:
    """Takes records, answers on the inbox in the same order."""

    def __init__(
        self, disk: Disk, layout: RunLayout, epoch: int, durability: str, put: Callable[[object], None]
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._epoch = epoch
        self._durability = durability
        self._put = put
        # Seconds in which outcomes were being recorded, in the thread and before it.
        self.busy_s = 0.0
        self._jobs: SimpleQueue[StepRecord | StagedDone | None] = SimpleQueue()
        self._unsettled_error: NotRecordedError | None = None
        self._is_closing = threading.Event()
        self._one_by_one_until = 0.0
        self._together_s = 0.0
        self._is_waiting = True  # the thread has nothing to do: a step that ends now is committed alone, at once
        self._thread = threading.Thread(target=self._work, name="workflow-committer", daemon=True)
        self._thread.start()

    def submit(self, record: StepRecord) -> None:
        """Record an outcome. With durability `process` it is answered before this returns, and settled behind."""
        if self._durability == "full" or not record.is_done:
            self._jobs.put(self._staged(record) or record)
            return
        started = time.monotonic()
        self._answer(record)
        self.busy_s += time.monotonic() - started
        self._jobs.put(record)

    def close(self) -> None:
        """Wait until everything submitted is durable. Raises NotRecordedError when that failed behind our back."""
        self._is_closing.set()
        self._jobs.put(None)
        self._thread.join()
        if self._unsettled_error is not None:
            raise self._unsettled_error

    def _staged(self, record: StepRecord) -> StagedDone | None:
        """Write the files of a step that will be committed together with others; None: it goes by itself.

        Here and not in the thread: two threads that take turns at every open, write and close of a small file spend
        more on the turns than on the files. What is left to the thread are the calls that wait for the disk.
        """
        # A step with outputs goes by itself: a flush that failed for one must fail its commit, not be asked twice.
        # Those of a reused step were made durable when its success was recorded.
        is_together = record.is_done and (record.is_settled or not record.files) and record.spent is None
        if not is_together or self._is_waiting:
            return None
        if not record.is_settled and time.monotonic() < self._one_by_one_until:
            return None  # reused ones come by the hundred, and that many are worth a slow flush
        try:
            return commits.stage_done(self._disk, self._layout, record, epoch=self._epoch)
        except NotRecordedError:  # by itself it will meet the same, and says so
            return None

    def _answer(self, record: StepRecord) -> None:
        try:
            record = with_digests(record)
            if record.spent is not None:
                from workflow.checkpoint import spending

                spending.append(self._disk, self._layout, record.spent, sync=self._durability == "full")
            if record.status is Status.RUNNING:
                commits.commit_iteration(
                    self._disk, self._layout, record, epoch=self._epoch, durability=self._durability
                )
            elif record.is_done:
                commits.commit_done(
                    self._disk,
                    self._layout,
                    record,
                    run_id=self._layout.run_id,
                    epoch=self._epoch,
                    durability=self._durability,
                )
            else:
                commits.commit_not_done(self._disk, self._layout, record)
        except NotRecordedError as error:
            self._put(CommitFailed(record, error))
        except Exception as error:  # noqa: BLE001 a thread that dies in silence would leave the engine waiting for ever
            self._put(
                CommitFailed(
                    record, NotRecordedError(f"step {record.step.title}: {error!r} (this is a bug in workflow)")
                )
            )
        else:
            self._put(Committed(record))

    def _work(self) -> None:
        is_open = True
        while is_open:
            self._is_waiting = self._jobs.empty()
            jobs = [self._jobs.get()]
            self._is_waiting = False
            if isinstance(jobs[0], StagedDone):
                time.sleep(GATHER_S)
            # What came up while the disk was busy is recorded at once.
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            is_open = jobs[-1] is not None
            if self._durability == "full":
                started = time.monotonic()
                self._commit([job for job in jobs if job is not None])
                self.busy_s += time.monotonic() - started
            else:
                self._settle([job for job in jobs if isinstance(job, StepRecord)])

    def _commit(self, jobs: list[StepRecord | StagedDone]) -> None:
        staged = [job for job in jobs if isinstance(job, StagedDone)]
        is_together = bool(staged) and self._commit_together(staged)
        for job in jobs:
            if isinstance(job, StepRecord):
                self._answer(job)
            elif is_together:
                self._put(Committed(job.record))
            else:
                self._answer(job.record)

    def _commit_together(self, done: list[StagedDone]) -> bool:
        """Commit steps with one call for all their bytes; return whether they are durable."""
        started = time.monotonic()
        is_durable = False
        try:
            if started >= self._one_by_one_until or len(done) * ONE_ALONE_S > self._together_s:
                is_durable = commits.commit_all_done(self._disk, self._layout, done)
        except Exception:  # noqa: BLE001 whatever it was, each by itself says better which step it met
            is_durable = False
        if not is_durable:
            commits.unstage_done(self._disk, done)
        # That call waits for everything on the file system. Where steps write much, single files are quicker.
        took_s = time.monotonic() - started
        if is_durable:
            self._together_s = took_s
        if took_s > max(SLOW_TOGETHER_S, len(done) * ONE_ALONE_S):
            self._one_by_one_until = time.monotonic() + ONE_BY_ONE_TIMES * took_s
        return is_durable

    def _settle(self, records: list[StepRecord]) -> None:
        started = time.monotonic()
        for record in records:
            if not record.is_done:
                self._answer(record)
        done = [record for record in records if record.is_done]
        try:
            if done:
                commits.settle(self._disk, self._layout, done)
        except NotRecordedError as error:
            self._unsettled_error = error
        self.busy_s += time.monotonic() - started
        # A journal that is flushed after every step holds up the files of the next; ten times as
        # long as it took leaves the steps nine tenths of the disk.
        self._is_closing.wait(min(MOST_UNSETTLED_S, 10 * (time.monotonic() - started)))


def with_digests(record: StepRecord) -> StepRecord:
    """Return the record with the digests of the declared outputs that are there (directories have none)."""
    if not record.files or record.output_digests is not None:
        return record
    # What vanished or cannot be read has none, either: the marker then vouches for nothing about it.
    digests = ((path, digest_of(path)) for path in record.files)
    return record._replace(output_digests={path: digest for path, digest in digests if digest is not None})
