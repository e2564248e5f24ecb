"""What a run that has ended does about others: the retention, for a short while and without asking."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from workflow.checkpoint import audit, removal, retention
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import TRASH, CheckpointRoot, RunLayout
from workflow.checkpoint.retention import Facts, Verdict
from workflow.errors import (
    CheckpointError,
    NotRecordedError,
    RunBusyError,
    UsageError,
    WorkflowError,
    count,
    listed,
    size_text,
)
from workflow.events import Notice
from workflow.model import CheckpointSettings
from workflow.upkeep import BY_RETENTION, abandon, facts_of, runs_among, seen, take_away

# What a run that has ended spends on others at most; the next one, or `checkpoint clean`, goes on.
MOST_S = 0.5
MOST_AT_ONCE = 500

# Called with the id of a run that is about to be removed.
Forget = Callable[[str], None]


def apply_at_end(
    root: CheckpointRoot,
    disk: Disk,
    layout: RunLayout,
    settings: CheckpointSettings,
    tell: Callable[[Notice], None],
    is_completed: bool,
    forget: Forget | None = None,
) -> bool:
    """Do what the retention says when a run has ended, which is still held; return whether it is itself to go."""
    notice = apply_retention(root, disk, settings, forget)
    if notice is not None:
        tell(notice)
    is_unwanted = is_completed and not settings.retention.keep_completed and not os.path.lexists(layout.pinned)
    if is_unwanted:
        tell(Notice(f"{layout.run_id} is removed: completed runs are not kept", level="note"))
    return is_unwanted


def remove_own(disk: Disk, layout: RunLayout, forget: Forget) -> None:
    """Remove the run that has just completed, by whoever holds it."""
    forget(layout.run_id)
    try:
        removal.remove_run(disk, layout)
    except NotRecordedError:  # all is told and done; `checkpoint clean` will say what is in the way
        return
    about = {"why": "completed runs are not kept"}
    root = CheckpointRoot(os.path.dirname(layout.path))
    audit.note(root, disk, "remove", "done", by=BY_RETENTION, run_id=layout.run_id, about=about)


def apply_retention(
    root: CheckpointRoot, disk: Disk, settings: CheckpointSettings, forget: Forget | None = None
) -> Notice | None:
    """Do what the retention says about other runs, for a short while and without asking; return what there is to tell.

    Called when a run has ended and is still held: it counts, and is not among those that may go. Whatever goes wrong
    is told, not raised. Where no limit is reached this reads the names in the checkpoint directory and nothing else.
    """
    try:
        names = os.listdir(root.path)
    except OSError:
        return None
    done = _Done()
    try:
        if any(name.startswith(TRASH) for name in names):
            removal.sweep_trash(root, disk)
        _apply(root, disk, settings, runs_among(names), done, forget)
    except _EnoughError:
        done.is_cut_short = True
    except (WorkflowError, OSError) as error:
        return Notice(f"old runs were not cleared: {error}", "workflow checkpoint clean --dry-run")
    return done.notice()


def _apply(
    root: CheckpointRoot,
    disk: Disk,
    settings: CheckpointSettings,
    there: dict[str, bool],
    done: _Done,
    forget: Forget | None,
) -> None:
    limits = settings.retention
    now_at = time.time()
    is_over = limits.max_count is not None and len(there) > limits.max_count
    max_size_bytes = None if settings.max_size_mb is None else settings.max_size_mb * retention.MEGABYTE_BYTES
    candidates = list(there)
    if not is_over and max_size_bytes is None and limits.keep_completed:
        # Only age can be after a run then, and what started lately cannot be old: its name says when.
        if limits.max_age_days is None:
            return
        oldest_kept = _run_id_at(now_at - limits.max_age_days * retention.DAY_S)
        candidates = [run_id for run_id in candidates if run_id < oldest_kept]
    # So many at a time, the oldest first: with ten thousand of them even asking each for its age takes a while.
    size = len(candidates) if max_size_bytes is not None else MOST_AT_ONCE
    enough_at = 0.0

    def look(run_id: str) -> Facts:
        if time.monotonic() > enough_at:
            raise _EnoughError
        return facts_of(root.run(run_id), is_archive=there[run_id])

    for start in range(0, len(candidates), size):
        batch = candidates[start : start + size]
        known = (seen(root, it, is_archive=there[it], with_size=max_size_bytes is not None) for it in batch)
        runs = [run for run in known if run is not None]
        enough_at = enough_at or time.monotonic() + MOST_S
        others = len(there) - done.removed - len(runs)
        for verdict in retention.judge(
            runs, look, limits, now_at=now_at, max_size_bytes=max_size_bytes, others=max(0, others)
        ):
            _carry_out(root, disk, verdict, done, forget, is_archive=there[verdict.run_id])
        if time.monotonic() > enough_at:
            raise _EnoughError


def _carry_out(
    root: CheckpointRoot, disk: Disk, verdict: Verdict, done: _Done, forget: Forget | None, *, is_archive: bool
) -> None:
    layout = root.run(verdict.run_id)
    about = {"why": verdict.why}
    try:
        if verdict.is_removed:
            freed_bytes = take_away(disk, layout, is_archive=is_archive, forget=forget)
            if freed_bytes is None:
                return
            done.freed_bytes += freed_bytes
            done.removed += 1
            audit.note(root, disk, "remove", "done", by=BY_RETENTION, run_id=layout.run_id, sync=False, about=about)
        else:
            abandon(disk, layout, by=BY_RETENTION, note=verdict.why)
            done.abandoned += 1
            audit.note(root, disk, "abandon", "done", by=BY_RETENTION, run_id=layout.run_id, sync=False, about=about)
    except (RunBusyError, UsageError, CheckpointError):  # not as it was a moment ago: it stays
        return
    done.reasons.setdefault(verdict.why)


def _run_id_at(at: float) -> str:
    """Return the least id of a run that started then."""
    return time.strftime("workflow_%Y%m%d_%H%M%S", time.gmtime(max(0.0, at)))


class _EnoughError(Exception):
    """The time that may be spent on other runs is over."""


class _Done:
    """What was done about other runs."""

    def __init__(self) -> None:
        self.removed = 0
        self.abandoned = 0
        self.freed_bytes = 0
        self.reasons: dict[str, None] = {}
        self.is_cut_short = False

    def notice(self) -> Notice | None:
        said = []
        if self.removed:
            said.append(f"removed {count(self.removed, 'old run')} ({size_text(self.freed_bytes)})")
        if self.abandoned:
            said.append(f"{count(self.abandoned, 'run')} marked abandoned")
        if not said:
            return None
        text = f"{' and '.join(said)}: {listed(self.reasons)}"
        if self.is_cut_short:
            return Notice(f"{text}; there is more to clear", "workflow checkpoint clean", level="note")
        return Notice(text, level="note")
