"""A run becomes an archive: what its manifest says of it, and the order in which one takes the place of the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from workflow import __version__
from workflow.checkpoint import archive, audit, locks, records, removal, store, streams
from workflow.checkpoint.archive_format import COMPRESSED, Manifest
from workflow.checkpoint.compression import GZIP_ENDING
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition import graph
from workflow.errors import RunBusyError, WorkflowError
from workflow.events import Event, LogsMoving, Notice
from workflow.model import Workflow
from workflow.planning import documents

# What of a status document a list shows, or a resume decides by; nothing that depends on where the run lies.
_SUMMARY = (
    "status",
    "plan_hash",
    "created_at",
    "epoch",
    "total_tasks",
    "completed_tasks",
    "failed_tasks",
    "skipped_tasks",
    "progress_percent",
)


class Packed(NamedTuple):
    """What became of a run: sizes of its files before, of the archive after, and where that is."""

    run_id: str
    path: str
    files: int
    before_bytes: int
    after_bytes: int

    @property
    def saved_percent(self) -> float:
        """The share of the room that is free now; negative where the archive is larger."""
        return round(100 * (1 - self.after_bytes / self.before_bytes), 1) if self.before_bytes else 0.0


def summary_of(layout: RunLayout, workflow: Workflow, stored: dict[str, Any], *, is_live: bool) -> dict[str, Any]:
    """Return the status of a run in short, the same wherever the run lies. `is_live` False: we hold its lock."""
    order = graph.order(workflow.steps)
    document = documents.status_document(layout, workflow, stored, order, is_live=is_live)
    asking = [it["step"] for it in document["steps"] if it.get("approval", {}).get("answer", "") is None]
    summary = {key: document[key] for key in _SUMMARY}
    if os.path.lexists(layout.abandoned) and summary["status"] in ("failed", "paused", "created"):
        summary["status"] = "abandoned"
    return {
        "name": workflow.name,
        **({"run_name": stored["run_name"]} if stored.get("run_name") else {}),
        **summary,
        "updated_at": updated_at(layout, stored),
        "private": workflow.checkpoints.private,
        "asking": [number for number in asking if _waits(document, number)],
        "pinned": os.path.lexists(layout.pinned),
        "abandoned": os.path.lexists(layout.abandoned),
        "imported": os.path.lexists(layout.imported),
    }


def _waits(document: dict[str, Any], number: int) -> bool:
    return any(it["step"] == number and it["status"] == "waiting" for it in document["steps"])


def updated_at(layout: RunLayout, stored: dict[str, Any]) -> str | None:
    """Return when a run last said something of itself, as text: that is the same in every copy of it."""
    try:
        said = records.decode_document(store.read_small(layout.master)).get("updated_at")
    except (OSError, ValueError):
        said = None
    latest = [it for it in (said, stored.get("started_at")) if isinstance(it, str)]
    return max(latest, default=None)


def pack(
    layout: RunLayout, workflow: Workflow, stored: dict[str, Any], disk: Disk, ending: str = GZIP_ENDING
) -> Packed:
    """Put an archive in the place of a run's directory. Whoever calls holds the lock of the run.

    The archive is durable, read back and right before the directory goes. Raises CheckpointError, RunBusyError,
    NotRecordedError; then the directory is as it was, or the archive has taken its place.
    """
    refuse_orphans(layout)
    streams.sweep_nurseries(os.path.dirname(layout.path))
    disk.sweep_temporaries(os.path.dirname(layout.path), older_than_s=store.LONGEST_WRITE_S)
    held = archive.contents(layout, COMPRESSED)
    summary = summary_of(layout, workflow, stored, is_live=False)
    members = tuple(archive.describe(entry) for entry in held.files)
    manifest = Manifest(layout.run_id, COMPRESSED, __version__, summary, tuple(held.directories), members)
    path = layout.path + ending
    after = archive.write(disk, path, manifest, held.files, ending=ending, mode=disk.file_mode, to_verify=True)
    for other in layout.archives:
        if other != path:
            disk.remove(other)
    removal.remove_run(disk, layout)
    return Packed(layout.run_id, path, len(members), manifest.size_bytes, after)


def refuse_orphans(layout: RunLayout) -> None:
    """Refuse a run of which a step outlived its runner. Raises RunBusyError."""
    if locks.has_orphans(layout):
        raise RunBusyError(
            f"a step of {layout.run_id} outlived its runner and still runs",
            help=f"wait for it, or end it: workflow resume {layout.run_id} --end-running",
        )


def pack_finished(layout: RunLayout, workflow: Workflow, disk: Disk) -> Notice | None:
    """Pack a run that has just completed, where its settings say so; return what went wrong, as a warning.

    Under the lock of the run. The run itself is complete whatever comes of this.
    """
    if not workflow.checkpoints.compress:
        return None
    try:
        pack(layout, workflow, store.read_definition(layout), disk)
    except (WorkflowError, OSError) as error:
        message = error.message if isinstance(error, WorkflowError) else str(error)
        return Notice(
            f"{layout.run_id} was not compressed: {message}", f"later: workflow checkpoint compress {layout.run_id}"
        )
    return None


def pack_at_end(
    root: CheckpointRoot,
    layout: RunLayout,
    workflow: Workflow,
    disk: Disk,
    tell: Callable[[Event], None],
    *,
    user: str,
) -> None:
    """Pack a run that has just completed, say so and note it; what goes wrong is a warning, and the run stays."""
    tell(LogsMoving())
    notice = pack_finished(layout, workflow, disk)
    if notice is not None:
        tell(notice)
    outcome, about = ("done", {}) if notice is None else ("failed", {"error": notice.message})
    audit.note(root, disk, "compress", outcome, by=user, run_id=layout.run_id, sync=False, about=about)
