"""`workflow checkpoint compress`: runs that are over become archives."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from workflow import packing
from workflow.auditing import audited
from workflow.checkpoint import archive, archive_format, compression, locks, packed, store, streams
from workflow.checkpoint.durable import Disk, planned_faults
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.errors import CheckpointError, RunBusyError, WorkflowError
from workflow.inspection import choose_run, definition_of
from workflow.session import environment

# Runs that nobody is expected to carry on; the others only when they are named.
FINISHED = frozenset({"completed", "failed", "abandoned"})


def compress(
    root: CheckpointRoot,
    name: str | None,
    *,
    all_runs: bool,
    ending: str,
    dry_run: bool,
    tell: Callable[[WorkflowError], None],
) -> dict[str, Any]:
    """Make archives of the run that was named, of the newest, or of all that are over; return what was done.

    With `all_runs` a run that cannot be packed is told and passed over. Raises CheckpointError, RunBusyError,
    NotRecordedError.
    """
    compression.for_writing(ending)
    rows: list[dict[str, Any]] = []
    failed: list[WorkflowError] = []
    for run_id in store.run_ids(root) if all_runs else [_named(root, name)]:
        layout = root.run(run_id)
        try:
            row = _compress(layout, ending, only_finished=all_runs, dry_run=dry_run)
        except RunBusyError as error:
            if not all_runs:
                raise
            row = _row(run_id, "live", detail=error.message)
        except WorkflowError as error:
            if not all_runs or error.exit_code != CheckpointError.exit_code:
                raise
            tell(error)
            failed.append(error)
            row = _row(run_id, "refused", detail=error.message)
        rows.append(row)
    done = [row for row in rows if row["result"] in ("compressed", "would be compressed")]
    before = sum(row["before_bytes"] or 0 for row in done)
    after = sum(row["after_bytes"] or 0 for row in done)
    return {
        "dry_run": dry_run,
        "runs": rows,
        "compressed": len(done),
        "refused": len(failed),
        "before_bytes": before,
        "after_bytes": None if dry_run else after,
        "saved_percent": None if dry_run or not before else round(100 * (1 - after / before), 1),
    }


def _named(root: CheckpointRoot, name: str | None) -> str:
    """Return the id of the run that was named; of one that is an archive, without unpacking it."""
    bare = packed.run_of(os.path.basename((name or "").rstrip(os.sep)))
    if bare is not None and packed.archive_of(root.run(bare)) is not None:
        return bare
    return choose_run(root, name).run_id


def _compress(layout: RunLayout, ending: str, *, only_finished: bool, dry_run: bool) -> dict[str, Any]:
    if (there := packed.archive_of(layout)) is not None:
        manifest = packed.manifest_of(layout, there)
        return _row(layout.run_id, "already", there, manifest.summary.get("status"))
    store.refuse_unsafe(layout)
    lock = locks.acquire_run(layout)
    disk = None
    try:
        workflow, stored = definition_of(layout)
        status = str(packing.summary_of(layout, workflow, stored, is_live=False)["status"])
        if only_finished and status not in FINISHED:
            return _row(layout.run_id, "unfinished", status=status)
        disk = Disk(private=workflow.checkpoints.private, faults=planned_faults(environment()))
        if dry_run:
            packing.refuse_orphans(layout)
            held = archive.contents(layout, archive_format.COMPRESSED)
            size = sum(os.stat(f"{layout.path}/{entry.path}").st_size for entry in held.files)
            return _row(layout.run_id, "would be compressed", layout.path + ending, status, len(held.files), size)
        again = f"workflow checkpoint compress {layout.run_id}"
        root = CheckpointRoot(os.path.dirname(layout.path))
        with (
            streams.told_as(f"{layout.run_id} could not be made an archive", again),
            audited(root, disk, "compress", layout.run_id, is_destructive=True, archive=layout.run_id + ending),
        ):
            made = packing.pack(layout, workflow, stored, disk, ending)
    finally:
        lock.release()
        if disk is not None:
            disk.close()
    row = _row(layout.run_id, "compressed", made.path, status, made.files, made.before_bytes)
    return {**row, "after_bytes": made.after_bytes, "saved_percent": made.saved_percent}


def _row(
    run_id: str,
    result: str,
    path: str | None = None,
    status: object = None,
    files: int | None = None,
    before_bytes: int | None = None,
    detail: str | None = None,
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "result": result,
        "status": status,
        "archive": path,
        "files": files,
        "before_bytes": before_bytes,
        "after_bytes": None,
        "saved_percent": None,
        "detail": detail,
    }
