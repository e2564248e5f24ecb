"""The runs there are, each in one line; ten thousand of them within a second.

For a run that nobody holds, checkpoint.json is believed where it is whole, counts as many completed steps as there
are markers, and nobody resumed the run or marked a step that had failed since. Every other run is worked out as
`status` does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from typing import Any

from workflow.checkpoint import locks, packed, records, store
from workflow.checkpoint.layout import IMPORTED, STATE_DIR, CheckpointRoot, RunLayout
from workflow.checkpoint.records import Document
from workflow.checkpoint.sizing import size_of
from workflow.errors import CheckpointError, UsageError, nearest, one_line
from workflow.model import RunStatus

_FINAL = frozenset({"completed", "failed", "paused"})
_TOLERANCE = b'"continue_on_error"'


def runs(root: CheckpointRoot, status: str | None = None, *, with_size: bool = False) -> list[Document]:
    """Return the runs there are, newest first, or those of one status. Writes nothing and waits for nothing.

    Each has `run_id, status` (None: it cannot be read, `problem` says why), `completed_tasks, total_tasks,
    failed_tasks, progress_percent, created_at, updated_at, epoch, size_bytes` (None without `with_size`),
    `marks[]`, `run_dir, problem`. Raises UsageError for a status that there is not.
    """
    if status is not None:
        status = _known_status(status)
    entries = (described(layout) for layout in _layouts(root))
    chosen = [entry for entry in entries if status is None or entry["status"] == status]
    if with_size:
        for entry in chosen:  # an archive is one file
            entry["size_bytes"] = size_of(entry["run_dir"]).size_bytes
    return chosen


def _known_status(word: str) -> str:
    words = [status.value for status in RunStatus]
    given = word.lower().replace("-", "_").replace(" ", "_")
    if given not in words:
        like = nearest(given, words, cutoff=0.75)  # `done` is no slip of the hand for `abandoned`
        there = f"there are: {', '.join(words)}"
        raise UsageError(
            f"--status {one_line(word)}: no run can be that",
            help=f"did you mean {like}? {there}" if like else there,
        )
    return given


def _layouts(root: CheckpointRoot) -> Iterator[RunLayout]:
    return (root.run(run_id) for run_id in reversed(store.run_ids(root)))


def described(layout: RunLayout) -> Document:
    """Return one run in short; see `runs`."""
    try:
        fd = os.open(layout.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        archive = packed.archive_of(layout)
        return _in_full(layout, ()) if archive is None else _archived(layout, archive)
    names: list[str] = []
    try:
        names = os.listdir(fd)
        is_live = not _try_shared(fd)
        quick = _believed(layout, fd, names) if not is_live else _live(layout, fd, names)
    except (OSError, KeyError, TypeError, ValueError):
        quick = None
    finally:
        os.close(fd)
    return _in_full(layout, names) if quick is None else quick


def _archived(layout: RunLayout, archive: str) -> Document:
    """Return an archived run by the manifest at its head; the sizes of archives are asked for like all others."""
    entry = packed.in_short(layout, archive)
    return {**entry, "size_bytes": None, "marks": ["archive", *entry["marks"]]}


def _try_shared(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody can hold the run
        return True
    return True


def _believed(layout: RunLayout, fd: int, names: list[str]) -> Document | None:
    """Return what checkpoint.json says, None where it does not count."""
    here = os.fstat(fd)
    if here.st_uid != os.geteuid() or here.st_mode & 0o002 or "workflow.json" not in names:
        return None
    master = records.decode_document(store.read_small("checkpoint.json", fd))
    status, done, total = master["status"], int(master["completed_tasks"]), int(master["total_tasks"])
    if status not in _FINAL or done != _count_markers(names) or master["run_id"] != layout.run_id:
        return None
    written_at = os.stat("checkpoint.json", dir_fd=fd, follow_symlinks=False).st_mtime
    # Every resume writes the epoch first; a person's word replaces the state of a step.
    later = ("epoch", *(f"step_{label}_state.json" for label in (*master["failed"], *master["skipped"])))
    if any(os.stat(f"state/{name}", dir_fd=fd).st_mtime > written_at for name in later):
        return None
    failed = int(master["failed_tasks"])
    if status == "completed":
        percent, failed = 100.0, 0
    else:
        if failed and _TOLERANCE in store.read_small("workflow.json", fd):
            return None  # which of the failures count is not said there
        percent = round(100 * (done + len(master["skipped"])) / total, 1) if total else 100.0
        if "abandoned" in names:
            status = RunStatus.ABANDONED.value
    return {
        "run_id": layout.run_id,
        "status": status,
        "completed_tasks": done,
        "total_tasks": total,
        "failed_tasks": failed,
        "progress_percent": percent,
        "created_at": master["created_at"],
        "updated_at": records.utc_text(max(written_at, here.st_mtime)),
        "epoch": int(master["epoch"]),
        "size_bytes": None,
        "marks": _marks(names, is_live=False, is_imported=_is_imported(fd)),
        "run_dir": layout.path,
        "problem": None,
    }


def _count_markers(names: Iterable[str]) -> int:
    return sum(1 for name in names if name.endswith(".complete") and name.startswith("step_"))


def _live(layout: RunLayout, fd: int, names: list[str]) -> Document | None:
    """Return a run that is going on: its markers counted, the rest as checkpoint.json had it last."""
    master = records.decode_document(store.read_small("checkpoint.json", fd))
    epoch = store.read_epoch(layout)
    done, total = _count_markers(names), int(master["total_tasks"])
    settled = min(done + len(master["skipped"]), total)
    return {
        "run_id": layout.run_id,
        "status": (RunStatus.RETRYING if epoch > 1 else RunStatus.IN_PROGRESS).value,
        "completed_tasks": done,
        "total_tasks": total,
        "failed_tasks": int(master["failed_tasks"]),
        "progress_percent": round(100 * settled / total, 1) if total else 100.0,
        "created_at": master["created_at"],
        "updated_at": records.utc_text(os.fstat(fd).st_mtime),
        "epoch": epoch,
        "size_bytes": None,
        "marks": _marks(names, is_live=True, is_imported=_is_imported(fd)),
        "run_dir": layout.path,
        "problem": None,
    }


def _is_imported(fd: int) -> bool:
    return os.access(f"{STATE_DIR}/{IMPORTED}", os.F_OK, dir_fd=fd)


def _marks(names: Iterable[str], *, is_live: bool, is_imported: bool) -> list[str]:
    marks = ["live"] if is_live else []
    marks += [mark for mark in ("pinned", "abandoned") if mark in names]
    if is_imported:
        marks.append("imported")
    return marks


def _in_full(layout: RunLayout, names: Iterable[str]) -> Document:
    """Return a run as `status` would tell it; one that cannot be read with its problem."""
    from workflow.definition import graph
    from workflow.inspection import definition_of
    from workflow.planning import documents

    entry: dict[str, Any] = dict.fromkeys(
        ("status", "completed_tasks", "total_tasks", "failed_tasks", "progress_percent", "created_at", "updated_at")
    )
    problem = None
    is_live = False
    try:
        store.refuse_unsafe(layout)
        is_live = locks.is_held(layout)
        workflow, stored = definition_of(layout)
        document = documents.status_document(layout, workflow, stored, graph.order(workflow.steps))
        entry = {key: document[key] for key in entry}
    except CheckpointError as error:
        problem = error.message
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
    return {
        "run_id": layout.run_id,
        **entry,
        "epoch": store.read_epoch(layout),
        "size_bytes": None,
        "marks": _marks(names, is_live=is_live, is_imported=os.path.lexists(layout.imported)),
        "run_dir": layout.path,
        "problem": problem,
    }
