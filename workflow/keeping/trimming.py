"""`checkpoint prune RUN`: the snapshots inside one run that are to go."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from workflow.auditing import audited
from workflow.checkpoint import durable, locks, records, snapshots
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.snapshots import Entry, Head
from workflow.session import environment, project_directory
from workflow.tree_forgetting import KeptTrees
from workflow.upkeep import RunPinnedError

# What holds when neither an age nor a number is given.
USUAL_OLDER_THAN_S = 30 * 86400.0
USUAL_KEEP = 5


class Trimmed(NamedTuple):
    """What was removed (with `is_dry`: would be): numbers of snapshots, oldest first, and how much they took."""

    run_id: str
    removed: list[int]
    kept: list[int]
    freed_bytes: int
    is_dry: bool


def trim(layout: RunLayout, older_than_s: float | None, keep: int | None, is_dry: bool) -> Trimmed:
    """Remove the snapshots of a run that are older than `older_than_s` and not among the newest `keep`.

    Only one of them given: that one alone decides; neither: 30 days and 5. The newest always stays, so that no number
    is given twice. Durable on return; `is_dry` writes nothing and needs no lock.
    Raises RunBusyError for a run that is going, RunPinnedError for one that is pinned, NotRecordedError.
    """
    if older_than_s is None and keep is None:
        older_than_s, keep = USUAL_OLDER_THAN_S, USUAL_KEEP
    if os.path.lexists(layout.pinned):
        raise RunPinnedError(layout)
    if is_dry:
        return _trimmed(layout, _chosen(layout, older_than_s, keep), is_dry=True)
    lock = locks.acquire_run(layout)
    disk = durable.Disk(faults=durable.planned_faults(environment()))
    try:
        chosen = _chosen(layout, older_than_s, keep)
        told = _trimmed(layout, chosen, is_dry=False)
        if not chosen:
            return told
        root = CheckpointRoot(os.path.dirname(layout.path))
        with audited(root, disk, "prune", layout.run_id, is_destructive=True, snapshots=told.removed):
            KeptTrees(project_directory(), environment()).forget(layout.run_id, {entry.number for entry in chosen})
            return told._replace(freed_bytes=snapshots.remove(disk, layout, chosen))
    finally:
        disk.close()
        lock.release()


def _chosen(layout: RunLayout, older_than_s: float | None, keep: int | None) -> list[Entry]:
    heads = snapshots.heads(layout)
    most = max(1, 0 if keep is None else keep)
    now_at = time.time()
    return [
        Entry(it.number, it.trigger, it.path)
        for it in heads[:-most]
        if older_than_s is None or now_at - _made_at(it) > older_than_s
    ]


def _made_at(head: Head) -> float:
    """Return when a snapshot was made: as it says, else as its file does."""
    said = records.utc_seconds(head.created)
    if said is not None:
        return said
    try:
        return os.lstat(head.path).st_mtime
    except OSError:  # it is gone already
        return time.time()


def _trimmed(layout: RunLayout, chosen: list[Entry], *, is_dry: bool) -> Trimmed:
    numbers = [entry.number for entry in chosen]
    kept = [entry.number for entry in snapshots.listed(layout) if entry.number not in numbers]
    return Trimmed(layout.run_id, numbers, kept, sum(map(_size_bytes, chosen)), is_dry)


def _size_bytes(entry: Entry) -> int:
    try:
        return os.lstat(entry.path).st_size
    except OSError:
        return 0
