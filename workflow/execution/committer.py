"""Commits beside the loop: one thread that makes finished steps durable while the next ones run.

The engine starts a step while the commit of the one before is on its way, and tells nobody that
the one before is done until the thread says that its marker is durable. Steps that end while the
disk is busy are committed together.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from workflow.checkpoint import commits
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.errors import NotRecordedError
from workflow.model import Status

SLOW_TOGETHER_S = 0.05
ONE_BY_ONE_TIMES = 20.0
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
        self._jobs: SimpleQueue[StepRecord | None] = SimpleQueue()
        self._unsettled_error: NotRecordedError | None = None
        self._is_closing = threading.Event()
        self._one_by_one_until = 0.0
        self._thread = threading.Thread(target=self._work, name="workflow-committer", daemon=True)
        self._thread.start()

    def submit(self, record: StepRecord) -> None:
        """Record an outcome. With durability `process` it is answered before this returns, and settled behind."""
        if self._durability == "full" or record.status is not Status.SUCCEEDED:
            self._jobs.put(record)
            return
        self._answer(record)
        self._jobs.put(record)

    def close(self) -> None:
        """Wait until everything submitted is durable. Raises NotRecordedError when that failed behind our back."""
        self._is_closing.set()
        self._jobs.put(None)
        self._thread.join()
        if self._unsettled_error is not None:
            raise self._unsettled_error

    def _answer(self, record: StepRecord) -> None:
        try:
            record = with_digests(record)
            if record.status is Status.RUNNING:
                commits.commit_iteration(
                    self._disk, self._layout, record, epoch=self._epoch, durability=self._durability
                )
            elif record.status is Status.SUCCEEDED:
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
            jobs = [self._jobs.get()]
            # What came up while the disk was busy is recorded at once.
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            is_open = jobs[-1] is not None
            records = [record for record in jobs if record is not None]
            if self._durability == "full":
                self._commit(records)
            else:
                self._settle(records)

    def _commit(self, records: list[StepRecord]) -> None:
        # A step with outputs goes by itself: a flush that failed for one must fail its commit, not be asked twice.
        done = [record for record in records if record.status is Status.SUCCEEDED and not record.files]
        is_together = len(done) > 1 and time.monotonic() >= self._one_by_one_until and self._commit_together(done)
        for record in records:
            if is_together and record.status is Status.SUCCEEDED and not record.files:
                self._put(Committed(record))
            else:
                self._answer(record)

    def _commit_together(self, done: list[StepRecord]) -> bool:
        """Commit steps with one call for all their bytes; return whether they are durable."""
        started = time.monotonic()
        try:
            return commits.commit_all_done(self._disk, self._layout, done, epoch=self._epoch)
        except Exception:  # noqa: BLE001 whatever it was, each by itself says better which step it met
            return False
        finally:
            # That call waits for everything on the file system. Where steps write much, single files are quicker.
            took_s = time.monotonic() - started
            if took_s > SLOW_TOGETHER_S:
                self._one_by_one_until = time.monotonic() + ONE_BY_ONE_TIMES * took_s

    def _settle(self, records: list[StepRecord]) -> None:
        started = time.monotonic()
        for record in records:
            if record.status is not Status.SUCCEEDED:
                self._answer(record)
        done = [record for record in records if record.status is Status.SUCCEEDED]
        try:
            if done:
                commits.settle(self._disk, self._layout, done)
        except NotRecordedError as error:
            self._unsettled_error = error
        # A journal that is flushed after every step holds up the files of the next; ten times as
        # long as it took leaves the steps nine tenths of the disk.
        self._is_closing.wait(min(MOST_UNSETTLED_S, 10 * (time.monotonic() - started)))


def with_digests(record: StepRecord) -> StepRecord:
    """Return the record with the digests of the declared outputs that are there (directories have none)."""
    if not record.files:
        return record
    from blake3 import blake3

    digests = {}
    for path in record.files:
        if os.path.isfile(path):
            try:
                digests[path] = f"blake3:{blake3().update_mmap(path).hexdigest()}"
            except (OSError, ValueError):  # it vanished or cannot be read: the marker then vouches for nothing about it
                continue
    return record._replace(output_digests=digests)
