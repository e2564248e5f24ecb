"""Recording what became of steps, in the order that keeps a marker true: the state durable, then the marker.

Only then may anyone be told. Nothing here decides anything; it says when something is recorded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk, Staged
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import Marker, MarkerDamagedError, decode, encode
from workflow.checkpoint.records import StepRecord
from workflow.checkpoint.store import read_small
from workflow.errors import NotRecordedError, one_line


def commit_done(
    disk: Disk, layout: RunLayout, record: StepRecord, *, run_id: str, epoch: int, durability: str = "full"
) -> Marker:
    """Commit a finished step: state file durable, then marker durable. Only then may anyone be told.

    With durability `process` both are renamed at once, which survives every death of processes;
    `settle` makes them durable later. Raises NotRecordedError; then there is no marker.
    """
    sync = durability == "full"
    for path in record.files if sync and not record.is_settled else ():
        disk.sync_file(path)
    state = records.encode_state(record)
    marker = _marker_of(record, state, run_id, epoch)
    disk.write(layout.state(record.step.number), state, sync=sync)
    disk.write(layout.marker(record.step.number), encode(marker), sync=sync)
    return marker


class StagedDone(NamedTuple):
    """A finished step whose files are written and wait for their names."""

    record: StepRecord
    state: Staged
    marker: Staged


def stage_done(disk: Disk, layout: RunLayout, record: StepRecord, *, epoch: int) -> StagedDone:
    """Write the files of a finished step, for `commit_all_done`: see there which. Raises NotRecordedError."""
    state = records.encode_state(record)
    marker = _marker_of(record, state, layout.run_id, epoch)
    staged_state = disk.stage(layout.state(record.step.number), state)
    try:
        return StagedDone(record, staged_state, disk.stage(layout.marker(record.step.number), encode(marker)))
    except NotRecordedError:
        disk.unstage((staged_state,))
        raise


def commit_all_done(disk: Disk, layout: RunLayout, done: Sequence[StagedDone]) -> bool:
    """Commit many finished steps at once, as durably and in the same order as one: all states, then all markers.

    None of them may have declared outputs that are not settled: whether those could be made durable is a matter of
    each step.
    Returns False, with nothing done, where the system cannot. Raises NotRecordedError; then each wants `commit_done`.
    """
    return disk.put_in_order(layout.path, ([it.state for it in done], [it.marker for it in done]))


def unstage_done(disk: Disk, done: Sequence[StagedDone]) -> None:
    """Take back what was staged for steps that are committed in another way."""
    for it in done:
        disk.unstage((it.state, it.marker))


def _marker_of(record: StepRecord, state: bytes, run_id: str, epoch: int) -> Marker:
    ended_at = record.attempts[-1].ended_at if record.attempts else time.time()
    return Marker(
        record.step.number,
        records.utc_text(ended_at) or "",
        round(record.duration_s),
        0,
        run_id,
        record.step.name,
        epoch,
        record.fingerprint,
        records.digest(state),
        record.completed_by,
        len(record.outputs) + len(record.env),
    )


def settle(disk: Disk, layout: RunLayout, done: Sequence[StepRecord]) -> None:
    """Make durable what `commit_done` renamed with durability `process`, many at once. Raises NotRecordedError."""
    for record in done:
        for path in () if record.is_settled else record.files:
            disk.sync_file(path)
    if disk.sync_file_system(layout.path):
        return
    for record in done:
        for path in (layout.state(record.step.number), layout.marker(record.step.number)):
            disk.sync_file(path)
    for directory in (layout.state_dir, layout.path):
        try:
            disk.sync_directory(directory)
        except OSError as error:
            raise NotRecordedError(
                f"cannot make {one_line(directory)} durable: {error.strerror}",
                help="look at the disk, then: workflow resume",
            ) from error


def commit_not_done(disk: Disk, layout: RunLayout, record: StepRecord) -> None:
    """Record an outcome that is no completion, durably. A marker of an earlier pass goes first."""
    if os.path.lexists(layout.marker(record.step.number)):
        disk.remove(layout.marker(record.step.number))
    disk.write(layout.state(record.step.number), records.encode_state(record))


def commit_iteration(disk: Disk, layout: RunLayout, record: StepRecord, *, epoch: int, durability: str) -> None:
    """Record that one iteration of a repeated step ended well, durably. Raises NotRecordedError."""
    sync = durability == "full"
    for path in record.files if sync else ():
        disk.sync_file(path)
    last = record.attempts[-1]
    marker = Marker(
        record.step.number,
        records.utc_text(last.ended_at) or "",
        round(record.duration_s),
        0,
        layout.run_id,
        record.step.name,
        epoch,
        record.fingerprint,
        records.digest(b""),
        record.completed_by,
        len(record.outputs) + len(record.env),
        record.iteration,
    )
    disk.write(layout.iteration(record.step.number, record.iteration), encode(marker), sync=sync)


def iterations_done(layout: RunLayout, number: int, name: str) -> int:
    """Return how many iterations of a step, from the first on, have a whole marker.

    The number alone says nothing: another step may have had it before.
    """
    done = 0
    while True:
        try:
            marker = decode(read_small(layout.iteration(number, done + 1)), run_id=layout.run_id, number=number)
        except (OSError, MarkerDamagedError):
            return done
        if (marker.iteration, marker.name) != (done + 1, name):
            return done
        done += 1


def forget_iterations(disk: Disk, layout: RunLayout, number: int, name: str, *, keep: int = 0) -> None:
    """Remove the markers of the iterations of a step behind the first `keep`, the last one first.

    Raises NotRecordedError.
    """
    for iteration in range(iterations_done(layout, number, name), keep, -1):
        disk.remove(layout.iteration(number, iteration), sync=iteration == keep + 1)
