"""The snapshots of one run, each in one line."""

from __future__ import annotations

import os

from workflow.checkpoint import snapshots
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import Document
from workflow.errors import CheckpointError, UsageError
from workflow.keeping.choosing import Chosen


def snapshots_of(chosen: Chosen, status: str | None = None) -> list[Document]:
    """Return the snapshots of a run, newest first; those of one status when it is given. Empty when there are none.

    Each has `checkpoint_id, run_id, number, trigger, name, created, status, completed_tasks, total_tasks,
    progress_percent, size_bytes, problem` (a damaged one has only the name of its file to go by).
    """
    if chosen.snapshot_number is not None:
        raise UsageError(
            "list wants a run, and that is a snapshot of one",
            help=f"workflow checkpoint show {chosen.layout.run_id}@{chosen.snapshot_number}",
        )
    entries = [_entry(chosen.layout, it) for it in reversed(snapshots.listed(chosen.layout))]
    return [entry for entry in entries if status is None or entry["status"] == status]


def _entry(layout: RunLayout, of: snapshots.Entry) -> Document:
    document: Document = {}
    problem = None
    try:
        document = snapshots.read(layout, of.number)
    except CheckpointError as error:
        problem = error.message
    total, done = document.get("total_tasks"), document.get("completed_tasks")
    tasks = document.get("tasks") or {}
    settled = sum(1 for task in tasks.values() if task.get("status") in ("completed", "skipped"))
    is_complete = document.get("status") == "completed"
    return {
        "checkpoint_id": snapshots.snapshot_id(layout, of.number),
        "run_id": layout.run_id,
        "number": of.number,
        "trigger": of.trigger,
        "name": document.get("name") or None,
        "created": document.get("created"),
        "status": document.get("status"),
        "completed_tasks": done,
        "total_tasks": total,
        "progress_percent": None if not total else 100.0 if is_complete else round(100 * settled / total, 1),
        "size_bytes": _length(of.path),
        "problem": problem,
    }


def _length(path: str) -> int | None:
    try:
        return os.lstat(path).st_size
    except OSError:  # trimmed meanwhile
        return None
