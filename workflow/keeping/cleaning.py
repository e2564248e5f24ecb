"""`checkpoint delete`, `clean` and `prune`: what would go, without touching anything; then its removal.

A proposal is made first, so that people can be asked about exactly what will be done. What became live or pinned
meanwhile is left alone all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from workflow import upkeep
from workflow.auditing import audited, noted
from workflow.checkpoint import locks, removal, retention, snapshots, store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import ARCHIVE_ENDINGS, CheckpointRoot, RunLayout
from workflow.checkpoint.retention import DAY_S, Facts, Seen, days_text
from workflow.errors import CheckpointError, NotRecordedError, RunBusyError, UsageError, listed, nearest, one_line
from workflow.model import CheckpointSettings, RunStatus
from workflow.session import environment, project_directory
from workflow.tree_forgetting import KeptTrees

UNREADABLE = "unreadable"


class Filters(NamedTuple):
    """Which runs `clean` is to remove: those that pass every filter. None and False: no such filter.

    `is_failed` lets failed and abandoned runs pass, `is_completed` completed ones. `keep` spares the newest of them.
    """

    older_than_s: float | None = None
    is_failed: bool = False
    is_completed: bool = False
    keep: int | None = None

    @property
    def has_any(self) -> bool:
        return self != Filters()


class Item(NamedTuple):
    """A run, or (`snapshot` not None) one snapshot of it, that is to go, and why."""

    run_id: str
    status: str
    why: str
    size_bytes: int
    is_archive: bool = False
    snapshot: int | None = None

    @property
    def name(self) -> str:
        return self.run_id if self.snapshot is None else f"{self.run_id}@{self.snapshot}"


class Left(NamedTuple):
    """A run that is not touched, and why; or one that is to be marked abandoned, and why."""

    run_id: str
    why: str


class Proposal(NamedTuple):
    """What a verb is about to do."""

    verb: str
    going: Sequence[Item]
    left: Sequence[Left] = ()
    abandoned: Sequence[Left] = ()

    @property
    def size_bytes(self) -> int:
        return sum(item.size_bytes for item in self.going)

    @property
    def is_empty(self) -> bool:
        return not self.going and not self.abandoned


class Cleaned(NamedTuple):
    """What was done. `error` is the first thing that could not be removed; the rest was, all the same."""

    removed: Sequence[Item]
    left: Sequence[Left]
    abandoned: Sequence[Left]
    freed_bytes: int
    error: NotRecordedError | None = None


def propose_clean(root: CheckpointRoot, filters: Filters, settings: CheckpointSettings) -> Proposal:
    """Return which runs pass the filters; without any, what the retention says. Writes nothing."""
    if filters.has_any:
        return _filtered(root, filters, "clean")
    there = upkeep.runs_there(root)
    left: list[Left] = []
    looked: dict[str, Facts] = {}

    def look(run_id: str) -> Facts:
        looked[run_id] = facts = upkeep.facts_of(root.run(run_id), is_archive=there[run_id])
        if facts.is_live or facts.is_pinned or facts.is_kept:
            left.append(Left(run_id, _why_left(root.run(run_id), facts)))
        return facts

    has_cap = settings.max_size_mb is not None
    runs = _seen(root, there, with_size=has_cap)
    verdicts = list(
        retention.judge(
            runs.values(),
            look,
            settings.retention,
            now_at=time.time(),
            max_size_bytes=(settings.max_size_mb or 0.0) * retention.MEGABYTE_BYTES if has_cap else None,
        )
    )
    going = [
        _item(root, it.run_id, it.why, is_archive=there[it.run_id], status=looked[it.run_id].status.value)
        for it in verdicts
        if it.is_removed
    ]
    return Proposal("clean", going, left, [Left(it.run_id, it.why) for it in verdicts if not it.is_removed])


def propose_prune(root: CheckpointRoot) -> Proposal:
    """Return all runs, as far as they may be removed. Writes nothing."""
    return _filtered(root, Filters(), "prune")


def propose_delete(root: CheckpointRoot, names: Iterable[str]) -> Proposal:
    """Return the runs (`RUN`) and snapshots (`RUN@N`) that were named. Writes nothing.

    Raises CheckpointError (no such run or snapshot, a link, somebody else's), RunBusyError, RunPinnedError, UsageError
    for the newest snapshot of a run.
    """
    there = upkeep.runs_there(root)
    going: dict[str, Item] = {}
    for name in names:
        run, at, digits = name.partition("@")
        layout, is_archive = _named(root, run, there)
        if not is_archive:
            refuse_kept(layout)
        elif upkeep.facts_of(layout, is_archive=True).is_pinned:
            raise upkeep.RunPinnedError(layout)
        elif at:
            raise _archived(layout)
        if at:
            item = _snapshot_item(layout, digits, name)
        else:
            item = _item(root, layout.run_id, "named", is_archive=is_archive)
        going[item.name] = item
    # A snapshot goes with its run.
    whole = {item.run_id for item in going.values() if item.snapshot is None}
    items = [it for it in going.values() if it.snapshot is None or it.run_id not in whole]
    for item in items:
        _refuse_newest(root.run(item.run_id), item)
    return Proposal("delete", items)


def carry_out(root: CheckpointRoot, disk: Disk, proposal: Proposal) -> Cleaned:
    """Remove what was proposed, and what earlier removals that were cut short left. Durable on return.

    A run that became live or pinned meanwhile is left alone. Raises RunBusyError or RunPinnedError for that only
    where the run was named.
    """
    if proposal.is_empty:
        return _carry_out(root, disk, proposal)
    named = {it.run_id for it in proposal.going} | {it.run_id for it in proposal.abandoned}
    run_id = min(named) if len(named) == 1 else None
    with audited(root, disk, proposal.verb, run_id, is_destructive=True, runs=len(named)) as about:
        cleaned = _carry_out(root, disk, proposal)
        about |= {"removed": len(cleaned.removed), "abandoned": len(cleaned.abandoned)}
        if cleaned.error is not None:
            about["outcome"], about["error"] = "failed", cleaned.error.message
    return cleaned


def _carry_out(root: CheckpointRoot, disk: Disk, proposal: Proposal) -> Cleaned:
    removed: list[Item] = []
    left = list(proposal.left)
    abandoned: list[Left] = []
    freed_bytes = 0
    failure: NotRecordedError | None = None
    trees = KeptTrees(project_directory(), environment())
    for item in proposal.going:
        try:
            freed = _remove(disk, root.run(item.run_id), item, trees)
        except (RunBusyError, CheckpointError, upkeep.RunPinnedError) as error:
            if proposal.verb == "delete":
                raise
            left.append(Left(item.run_id, error.message))
        except NotRecordedError as error:
            failure = failure or error
        else:
            if freed is not None:
                # One by one: a kill in the middle leaves told what went before it.
                noted(root, disk, "remove", item.run_id, name=item.name, why=item.why)
                removed.append(item._replace(size_bytes=freed))
                freed_bytes += freed
    for it in proposal.abandoned:
        try:
            upkeep.abandon(disk, root.run(it.run_id), by=upkeep.BY_RETENTION, note=it.why)
            noted(root, disk, "abandon", it.run_id, why=it.why)
            abandoned.append(it)
        except (RunBusyError, CheckpointError, UsageError) as error:
            left.append(Left(it.run_id, error.message))
        except NotRecordedError as error:
            failure = failure or error
    try:
        freed_bytes += removal.sweep_trash(root, disk) + _remove_leftover_archives(root, disk)
    except NotRecordedError as error:
        failure = failure or error
    if trees.problem:
        left.append(Left("git", f"kept files stay there: {trees.problem}"))
    return Cleaned(removed, left, abandoned, freed_bytes, failure)


def document(proposal: Proposal, cleaned: Cleaned | None) -> dict[str, Any]:
    """Return what was done as a document; with `cleaned` None, what would be."""
    said = cleaned if cleaned is not None else Cleaned(proposal.going, proposal.left, proposal.abandoned, 0)
    return {
        "verb": proposal.verb,
        "is_dry_run": cleaned is None,
        "removed": [
            {
                "name": it.name,
                "run_id": it.run_id,
                "snapshot": it.snapshot,
                "status": it.status,
                "why": it.why,
                "size_bytes": it.size_bytes,
            }
            for it in said.removed
        ],
        "left": [it._asdict() for it in said.left],
        "abandoned": [it._asdict() for it in said.abandoned],
        "removed_count": len(said.removed),
        "freed_bytes": proposal.size_bytes if cleaned is None else said.freed_bytes,
        "problem": None if said.error is None else said.error.message,
    }


def refuse_kept(layout: RunLayout) -> None:
    """Refuse to touch a run that is pinned or live. Raises RunPinnedError, RunBusyError."""
    if layout.archive is not None:
        raise _archived(layout)
    if os.path.lexists(layout.pinned):
        raise upkeep.RunPinnedError(layout)
    if upkeep.is_live(layout):
        raise _busy(layout)


def _archived(layout: RunLayout) -> UsageError:
    return UsageError(
        f"{layout.run_id} is an archive: nothing in it is changed",
        help=f"to remove it as a whole: workflow checkpoint delete {layout.run_id}",
    )


def trimmed_document(layout: RunLayout, numbers: Sequence[int], freed_bytes: int, *, is_dry: bool) -> dict[str, Any]:
    """Return what became of the snapshots of one run, as `document` does for runs."""
    each = freed_bytes // len(numbers) if numbers else 0
    items = [Item(layout.run_id, "snapshot", "trimmed", each, snapshot=number) for number in numbers]
    said = document(Proposal("prune", items), None if is_dry else Cleaned(items, (), (), freed_bytes))
    return {**said, "freed_bytes": freed_bytes}


def _remove(disk: Disk, layout: RunLayout, item: Item, trees: KeptTrees) -> int | None:
    if item.snapshot is None:
        return upkeep.take_away(disk, layout, is_archive=item.is_archive, forget=trees.forget)
    there = [entry for entry in snapshots.listed(layout) if entry.number == item.snapshot]
    if not there:
        return None
    trees.forget(layout.run_id, {item.snapshot})
    return snapshots.remove(disk, layout, there)


def _remove_leftover_archives(root: CheckpointRoot, disk: Disk) -> int:
    """Remove archives beside the directory of their run: what a compression that was cut short left."""
    freed = 0
    for run_id, is_archive in upkeep.runs_there(root).items():
        layout = root.run(run_id)
        if is_archive or not any(os.path.lexists(layout.path + ending) for ending in ARCHIVE_ENDINGS):
            continue
        try:
            lock = locks.acquire_run(layout)
        except (RunBusyError, CheckpointError):
            continue
        try:
            freed += removal.remove_archives(disk, layout)
        finally:
            lock.release()
    return freed


def _filtered(root: CheckpointRoot, filters: Filters, verb: str) -> Proposal:
    there = upkeep.runs_there(root)
    now_at = time.time()
    runs = _seen(root, there)
    statuses: dict[str, str] = {}
    if filters.is_failed or filters.is_completed:
        statuses = {run_id: status_of(root.run(run_id), is_archive=there[run_id]) for run_id in runs}
        wanted = _wanted(filters)
        runs = {run_id: run for run_id, run in runs.items() if statuses[run_id] in wanted}
    spared = retention.newest(runs.values(), filters.keep or 0)
    going: list[Item] = []
    left: list[Left] = []
    for run_id, run in runs.items():
        age_s = now_at - run.touched_at
        if run_id in spared or (filters.older_than_s is not None and age_s <= filters.older_than_s):
            continue
        layout = root.run(run_id)
        facts = upkeep.facts_of(layout, is_archive=True) if there[run_id] else _guards(layout)
        if there[run_id] and upkeep.is_archive_ours(layout):
            facts = facts._replace(is_kept=False)  # it cannot be read, and was asked for by its age
        if facts.is_live or facts.is_pinned or facts.is_kept:
            left.append(Left(run_id, _why_left(layout, facts)))
            continue
        status = statuses.get(run_id) or status_of(layout, is_archive=there[run_id])
        going.append(_item(root, run_id, _why(filters, status), is_archive=there[run_id], status=status))
    return Proposal(verb, going, left)


def _wanted(filters: Filters) -> set[str]:
    wanted = set()
    if filters.is_failed:
        wanted |= {RunStatus.FAILED.value, RunStatus.ABANDONED.value}
    if filters.is_completed:
        wanted.add(RunStatus.COMPLETED.value)
    return wanted


def _why(filters: Filters, status: str) -> str:
    said = []
    if filters.is_failed or filters.is_completed:
        said.append(status)
    if filters.older_than_s is not None:
        said.append(f"older than {days_text(filters.older_than_s / DAY_S)}")
    if filters.keep is not None:
        said.append(f"not among the newest {filters.keep:,}")
    return ", ".join(said) or "all runs"


def _guards(layout: RunLayout) -> Facts:
    """Return what keeps a run from being removed, whatever else it is."""
    if not upkeep.is_ours(layout):
        return Facts(RunStatus.PAUSED, is_kept=True)
    return Facts(RunStatus.PAUSED, is_live=upkeep.is_live(layout), is_pinned=os.path.lexists(layout.pinned))


def _why_left(layout: RunLayout, facts: Facts) -> str:
    if facts.is_pinned:
        return "pinned"
    if facts.is_live:
        holder = locks.read_holder(layout) if locks.is_held(layout) else None
        return f"live: run by {holder.text}" if holder is not None else "live"
    if os.path.lexists(layout.path) and not upkeep.is_ours(layout):
        return upkeep.whose(layout)
    return "it cannot be read, so nothing is decided about it"


def _busy(layout: RunLayout) -> RunBusyError:
    holder = locks.read_holder(layout) if locks.is_held(layout) else None
    who = f"is being run by {holder.text}" if holder is not None else "is live: steps of it still run"
    return RunBusyError(
        f"{layout.run_id} {who}: a live run is not removed", help=f"watch it: workflow status {layout.run_id}"
    )


def _seen(root: CheckpointRoot, there: dict[str, bool], *, with_size: bool = False) -> dict[str, Seen]:
    found = (upkeep.seen(root, run_id, is_archive=it, with_size=with_size) for run_id, it in there.items())
    return {run.run_id: run for run in found if run is not None}


def _item(root: CheckpointRoot, run_id: str, why: str, *, is_archive: bool, status: str | None = None) -> Item:
    layout = root.run(run_id)
    said = status if status is not None else status_of(layout, is_archive=is_archive)
    return Item(run_id, said, why, removal.size_of_run(layout), is_archive)


def _snapshot_item(layout: RunLayout, digits: str, name: str) -> Item:
    is_number = digits.isascii() and digits.isdigit() and len(digits) < 19
    entries = [entry for entry in snapshots.listed(layout) if is_number and entry.number == int(digits)]
    if not entries:
        raise CheckpointError(
            f"there is no snapshot {one_line(name[:80])}",
            help=f"which there are: workflow checkpoint list {layout.run_id}",
        )
    size_bytes = sum(os.lstat(entry.path).st_size for entry in entries)
    return Item(layout.run_id, "snapshot", "named", size_bytes, snapshot=int(digits))


def _refuse_newest(layout: RunLayout, item: Item) -> None:
    newest = snapshots.newest(layout)
    if item.snapshot is not None and newest is not None and newest.number == item.snapshot:
        raise UsageError(
            f"{item.name} is the newest snapshot of its run, and stays: its number would be given again",
            help=f"make a newer one first: workflow checkpoint create {layout.run_id}; "
            f"or remove the run as a whole: workflow checkpoint delete {layout.run_id}",
        )


def _named(root: CheckpointRoot, name: str, there: dict[str, bool]) -> tuple[RunLayout, bool]:
    """Return the run that was named, by its id or a path of it, and whether it is an archive."""
    run_id = os.path.basename(name.rstrip(os.sep))
    for ending in ARCHIVE_ENDINGS:
        run_id = run_id.removesuffix(ending)
    if run_id not in there:
        like = nearest(run_id, there)
        known = f"runs there are: {listed(reversed(list(there)))}" if there else "there are no runs"
        raise CheckpointError(
            f"there is no run {one_line(name[:80])}", help=f"did you mean {like}? {known}" if like else known
        )
    layout = root.run(run_id)
    if not there[run_id] and not upkeep.is_ours(layout):
        store.refuse_unsafe(layout)
    return layout, there[run_id]


def status_of(layout: RunLayout, *, is_archive: bool) -> str:
    """Return what `status` says of a run in one word; `unreadable` where it can say nothing."""
    if is_archive:
        facts = upkeep.facts_of(layout, is_archive=True)
        return UNREADABLE if facts.is_kept else facts.status.value
    from workflow.definition import graph
    from workflow.inspection import definition_of
    from workflow.planning import documents

    if not os.path.lexists(layout.definition) and not upkeep.has_tried(layout):
        return RunStatus.CREATED.value
    try:
        workflow, stored = definition_of(layout)
        said = documents.status_document(layout, workflow, stored, graph.order(workflow.steps))["status"]
    except (CheckpointError, OSError):
        return UNREADABLE
    if said in (RunStatus.FAILED.value, RunStatus.PAUSED.value) and os.path.lexists(layout.abandoned):
        return RunStatus.ABANDONED.value
    return str(said)
