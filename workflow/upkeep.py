"""What is known of the runs of a project, and how one is taken away or given up."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable

from workflow.checkpoint import locks, packed, records, removal, store, tags
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import ARCHIVE_ENDINGS, RUN_ID, CheckpointRoot, RunLayout
from workflow.checkpoint.retention import Facts, Seen
from workflow.errors import (
    CheckpointError,
    RunBusyError,
    UsageError,
    one_line,
)
from workflow.model import RunStatus
from workflow.rerunning import is_complete

# Between making its directory and taking its lock a run that starts is held by nobody.
STARTING_S = 60.0
BY_RETENTION = "retention"


class RunPinnedError(UsageError):
    """The run is to be kept."""

    def __init__(self, layout: RunLayout) -> None:
        super().__init__(
            f"{layout.run_id} is pinned{_said_by(layout.pinned)}: nothing removes it",
            help=f"if it may go after all: workflow checkpoint pin {layout.run_id} --off",
        )


def _said_by(path: str) -> str:
    tag = tags.read(path)
    if tag is None or not tag.by:
        return ""
    return f" by {one_line(tag.by)}" + (f" ({one_line(tag.note)})" if tag.note else "")


def runs_there(root: CheckpointRoot) -> dict[str, bool]:
    """Return the runs there are by id, oldest first; the value says whether it is an archive without a directory."""
    try:
        names = os.listdir(root.path)
    except OSError:
        return {}
    return runs_among(names)


def runs_among(names: Iterable[str]) -> dict[str, bool]:
    """Return the runs that names in the checkpoint directory stand for, as `runs_there` does."""
    found: dict[str, bool] = {}
    for name in names:
        if RUN_ID.match(name):
            found[name] = False
        elif name.endswith(ARCHIVE_ENDINGS):
            stem = name[: -max(len(it) for it in ARCHIVE_ENDINGS if name.endswith(it))]
            if RUN_ID.match(stem):
                found.setdefault(stem, True)
    return dict(sorted(found.items(), key=lambda item: store.by_time(item[0])))


def is_ours(layout: RunLayout) -> bool:
    """Return whether the run is a directory of ours, and not reached through a link."""
    try:
        status = os.lstat(layout.path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def whose(layout: RunLayout) -> str:
    """Return what is wrong with the directory of a run that is not simply ours."""
    try:
        status = os.lstat(layout.path)
    except OSError:
        return "gone"
    if stat.S_ISLNK(status.st_mode):
        return "a link"
    if not stat.S_ISDIR(status.st_mode):
        return "no directory"
    return f"of another user (uid {status.st_uid})"


def seen(root: CheckpointRoot, run_id: str, *, is_archive: bool, with_size: bool = False) -> Seen | None:
    """Return when a run was last touched, and how large it is; None when it is gone."""
    layout = root.run(run_id)
    latest = None
    paths = (
        [layout.path + ending for ending in ARCHIVE_ENDINGS]
        if is_archive
        else (layout.path, layout.state_dir, layout.master)
    )
    for path in paths:
        try:
            at = os.lstat(path).st_mtime
        except OSError:
            continue
        latest = at if latest is None else max(latest, at)
    if latest is None:
        return None
    return Seen(run_id, latest, removal.size_of_run(layout) if with_size else 0)


def facts_of(layout: RunLayout, *, is_archive: bool) -> Facts:
    """Return what decides about a run: whether it is live, pinned, complete. Opens as little as that takes.

    A run that is not complete is told as paused, also where a step of it failed.
    """
    if is_archive:
        return _facts_of_archive(layout)
    if not is_ours(layout):
        return Facts(RunStatus.PAUSED, is_kept=True)
    if os.path.lexists(layout.pinned):
        return Facts(RunStatus.PAUSED, is_pinned=True)
    if os.path.lexists(layout.abandoned):  # whoever carries it on takes that away first
        return Facts(RunStatus.ABANDONED, is_abandoned=True)
    if is_live(layout):
        return Facts(RunStatus.PAUSED, is_live=True)
    try:
        return Facts(status_of(layout))
    except CheckpointError:
        # What cannot be read now may be mended, or be newer than we are.
        return Facts(RunStatus.PAUSED, is_kept=True)


def _facts_of_archive(layout: RunLayout) -> Facts:
    """Return what the manifest at the head of an archive says of its run."""
    if not is_archive_ours(layout):
        return Facts(RunStatus.PAUSED, is_kept=True)
    try:
        archive = packed.archive_of(layout)
        summary = {} if archive is None else packed.manifest_of(layout, archive).summary
        status = RunStatus(summary["status"])
    except (CheckpointError, OSError, KeyError, TypeError, ValueError):
        return Facts(RunStatus.PAUSED, is_kept=True)
    return Facts(status, is_pinned=bool(summary.get("pinned")), is_abandoned=True)


def is_archive_ours(layout: RunLayout) -> bool:
    """Return whether every archive of a run is a plain file of ours."""
    for ending in ARCHIVE_ENDINGS:
        try:
            status = os.lstat(layout.path + ending)
        except FileNotFoundError:
            continue
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return False
    return True


def status_of(layout: RunLayout) -> RunStatus:
    """Return whether a run that nobody holds is completed, paused (or failed), or has not begun.

    Raises CheckpointError when that cannot be told.
    """
    try:
        stored = store.read_definition(layout)
    except CheckpointError:
        # It died before its first step, or the file was removed.
        if os.path.lexists(layout.definition) or has_tried(layout):
            raise
        return RunStatus.CREATED
    if is_complete(layout, stored):
        return RunStatus.COMPLETED
    return RunStatus.PAUSED if has_tried(layout) else RunStatus.CREATED


def has_tried(layout: RunLayout) -> bool:
    """Return whether anything tells of a step that ran."""
    for directory in (layout.path, layout.state_dir):
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        if any(name.startswith("step_") or name.endswith((".exits", ".running")) for name in names):
            return True
    return False


def is_live(layout: RunLayout) -> bool:
    """Return whether a runner holds the run, steps of a dead one still go on in it, or it is just being started."""
    if locks.is_held(layout):
        return True
    return locks.has_orphans(layout) or _is_starting(layout)


def _is_starting(layout: RunLayout) -> bool:
    if os.path.lexists(layout.definition):
        return False
    try:
        return abs(time.time() - os.lstat(layout.path).st_mtime) < STARTING_S and not has_tried(layout)
    except OSError:
        return False


def to_write_in(root: CheckpointRoot, layout: RunLayout, disk: Disk) -> RunLayout:
    """Return the directory of a run for words to be written in; an archive becomes one again, durably.

    Raises CheckpointError, NotRecordedError.
    """
    # An archive beside the directory: somebody put that back and was killed before the rest of it was done.
    if layout.archive is None and not any(map(os.path.lexists, layout.archives)):
        return layout
    own = store.find_run(root, layout.run_id, disk)
    try:
        lock = locks.acquire_run(own)
    except RunBusyError:  # who carries it on removes the archive
        return own
    try:
        packed.forget_archives(own, disk)
    finally:
        lock.release()
    return own


def take_away(
    disk: Disk, layout: RunLayout, *, is_archive: bool, forget: Callable[[str], None] | None = None
) -> int | None:
    """Remove a run under its lock; return the bytes freed, None when it was gone already. Durable on return.

    `forget` is called with its id before anything is removed, for what goes along with it: a kill in between leaves
    a run that can be removed again, and nothing that nobody knows of.
    Raises RunBusyError (live), RunPinnedError, CheckpointError (a link, or somebody else's), NotRecordedError.
    """
    if is_archive and not os.path.lexists(layout.path):
        if not is_archive_ours(layout):
            raise CheckpointError(
                f"the archive of {layout.run_id} is no plain file of ours: it is left alone",
                help=f"look at it: ls -l {one_line(layout.path)}.*",
            )
        if _facts_of_archive(layout).is_pinned:
            raise RunPinnedError(layout)
        if forget is not None:
            forget(layout.run_id)
        return removal.remove_archives(disk, layout) or None
    if not os.path.lexists(layout.path):
        return None
    if not is_ours(layout):
        raise CheckpointError(
            f"{layout.run_id} is {whose(layout)}: it is left alone",
            help=f"look at it: ls -ld {one_line(layout.path)}",
        )
    try:
        lock = locks.acquire_run(layout)
    except CheckpointError:
        if os.path.lexists(layout.path):
            raise
        return None
    try:
        if os.path.lexists(layout.pinned):
            raise RunPinnedError(layout)
        if _is_starting(layout) or locks.has_orphans(layout):
            raise RunBusyError(f"steps of {layout.run_id} still run", help=f"watch it: workflow status {layout.run_id}")
        if forget is not None:
            forget(layout.run_id)
        # Before the directory: where both are there it is the directory that counts.
        freed = removal.remove_archives(disk, layout)
        return freed + removal.remove_run(disk, layout)
    finally:
        lock.release()


def abandon(disk: Disk, layout: RunLayout, *, by: str, note: str = "") -> None:
    """Say of a run that nobody will carry it on; durable on return.

    Raises RunBusyError when it is live, UsageError when it is complete, NotRecordedError.
    """
    lock = locks.acquire_run(layout)
    try:
        refuse_complete(layout)
        tags.write(disk, layout.abandoned, tags.Tag(by, records.utc_text(time.time()) or "", note))
    finally:
        lock.release()


def refuse_complete(layout: RunLayout) -> None:
    """Refuse to say of a run that is complete that nobody will carry it on. Raises UsageError, CheckpointError."""
    if status_of(layout) is RunStatus.COMPLETED:
        raise UsageError(
            f"{layout.run_id} is complete: there is nothing to carry on",
            help=f"to remove it: workflow checkpoint delete {layout.run_id}",
        )
