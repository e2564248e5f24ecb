"""Bringing the files of one run in order: what is damaged is kept aside, what is derived is made again.

Nothing here makes a step complete. Each thing done is one rename or one whole file, and what is not done yet is found
again by the next repair or resume, so a kill at any moment costs nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from workflow.auditing import audited
from workflow.checkpoint import durable, locks, records, store, validation
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import TEMPORARY, CheckpointRoot, RunLayout
from workflow.checkpoint.records import Document
from workflow.checkpoint.validation import REPAIR
from workflow.definition import graph
from workflow.errors import CheckpointError, UsageError
from workflow.execution import shell_files
from workflow.inspection import definition_of
from workflow.keeping.choosing import choose
from workflow.keeping.validating import told
from workflow.model import Workflow
from workflow.opening import project_of
from workflow.planning import documents
from workflow.planning.present import present
from workflow.planning.record import Recorded, read_record
from workflow.recovery import damaged_files
from workflow.session import environment, library_directory, locks_directory, open_disk, project_directory, user_name

SWEEP, SET_ASIDE, REBUILD = "sweep", "set-aside", "rebuild"


class Action(NamedTuple):
    """One thing to do. `path` is absolute; `content` of what is made again."""

    kind: str
    path: str
    why: str
    content: bytes = b""


def repaired(root: CheckpointRoot, name: str | None, *, is_dry: bool) -> Document:
    """Repair a run under its lock, or with `is_dry` say what would be done and write nothing.

    Return `run_id, dry_run, actions[]` (`action, path, why, kept_as`), `runs_again[]` (`step, name, why`): complete
    steps that no longer count; `left[]`: findings that no repair mends. Durable on return.
    Raises CheckpointError (no such run; its workflow.json cannot be used), RunBusyError, NotRecordedError, UsageError.
    """
    chosen = choose(root, name)
    layout = chosen.layout
    if chosen.snapshot_number is not None:
        raise UsageError(
            "repair wants a run; its snapshots are looked at with it",
            help=f"workflow checkpoint repair {layout.run_id}",
        )
    if layout.archive is not None:
        # Reading it has held every byte against its digest.
        return {"run_id": layout.run_id, "dry_run": is_dry, "actions": [], "runs_again": [], "left": []}
    lock = locks.acquire_run(layout)
    try:
        if is_dry:
            return _repaired(root, layout, is_dry=True)
        with contextlib.closing(open_disk(layout)) as disk, audited(root, disk, "repair", layout.run_id) as about:
            done = _repaired(root, layout, is_dry=False)
            about |= {"actions": len(done["actions"]), "left": len(done["left"])}
            if not done["actions"]:
                about["outcome"] = ""
            return done
    finally:
        lock.release()


def _repaired(root: CheckpointRoot, layout: RunLayout, *, is_dry: bool) -> Document:
    workflow, stored = definition_of(layout)
    workflow = replace(workflow, project=_project(root, layout, stored, workflow))
    order = graph.order(workflow.steps)
    disk = durable.Disk(private=workflow.checkpoints.private, faults=durable.planned_faults(environment()))
    try:
        recorded = read_record(layout, workflow, order)
        findings = _findings(layout, workflow)
        to_mend = (*_sweeping(layout), *_setting_aside(layout, recorded, findings))
        actions = [_done(disk, layout, action, is_dry=is_dry) for action in to_mend]
        # What is derived is made from what is left, and in a dry run from what would be.
        to_make = (
            *_epoch(layout, recorded, findings),
            *_programs(layout, workflow, order, recorded),
            *_master(layout, workflow, stored, order, findings),
        )
        actions += [_done(disk, layout, action, is_dry=is_dry) for action in to_make]
        left = findings if is_dry else _findings(layout, workflow)
    finally:
        disk.close()
    names = {step.number: step.name for step in workflow.steps}
    return {
        "run_id": layout.run_id,
        "dry_run": is_dry,
        "actions": actions,
        "runs_again": [
            {"step": number, "name": names[number], "why": why}
            for number, why in sorted(recorded.damaged.items())
            if number in names
        ],
        "left": [told(it, root, layout) for it in left if not is_dry or it.remedy != REPAIR],
    }


def _project(root: CheckpointRoot, layout: RunLayout, stored: Document, workflow: Workflow) -> str:
    try:
        return project_of(layout, root, project_directory(), stored, [])
    except CheckpointError:  # it is gone, and a resume says so; the files of the run are mended all the same
        return workflow.project


def _findings(layout: RunLayout, workflow: Workflow) -> list[validation.Finding]:
    checks = validation.validate(layout, workflow.steps, workflow.project, is_live=False, with_digests=False)
    return [it for check in checks if check.name in ("metadata", "state", "progress") for it in check.findings]


def _sweeping(layout: RunLayout) -> Iterator[Action]:
    own = (layout.path, layout.state_dir, layout.lib, layout.snapshots_dir, layout.copies_dir, layout.metrics_dir)
    for directory in own:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if name.startswith(TEMPORARY):
                yield Action(SWEEP, f"{directory}/{name}", "a write that was cut off")


def _setting_aside(layout: RunLayout, recorded: Recorded, findings: list[validation.Finding]) -> Iterator[Action]:
    """Yield what does not count: a marker before the state it vouches for."""
    why = {f"{layout.path}/{it.path}": it.what for it in findings}
    # What is derived is made again where it stands.
    seen = {layout.epoch, *layout.programs}
    for path in damaged_files(layout, recorded):
        seen.add(path)
        number = next((it for it in recorded.damaged if layout.marker(it) == path), None)
        yield Action(SET_ASIDE, path, why.get(path) or (recorded.damaged[number] if number is not None else "damaged"))
    for it in findings:
        path = f"{layout.path}/{it.path}"
        if it.remedy == REPAIR and path not in seen and _is_bad(path, it):
            seen.add(path)
            yield Action(SET_ASIDE, path, it.what)


def _is_bad(path: str, finding: validation.Finding) -> bool:
    """Return whether the file itself is what is wrong: a state may be whole and only have lost its marker's word."""
    if not os.path.lexists(path):
        return False
    if finding.step is None or not path.endswith("_state.json"):
        return True
    try:
        return records.decode_document(store.read_small(path)).get("step") != finding.step
    except (OSError, ValueError):
        return True


def _epoch(layout: RunLayout, recorded: Recorded, findings: list[validation.Finding]) -> Iterator[Action]:
    if any(it.path == "state/epoch" for it in findings) or not os.path.lexists(layout.epoch):
        last = max((marker.epoch for marker in recorded.markers.values()), default=1)
        yield Action(REBUILD, layout.epoch, "it did not hold", b"%d\n" % max(last, store.read_epoch(layout)))


def _programs(layout: RunLayout, workflow: Workflow, order: list[int], recorded: Recorded) -> Iterator[Action]:
    fingerprints = {number: identity.fingerprint for number, identity in recorded.identities.items()}
    for path, content in shell_files.contents_of(
        *(layout, workflow, order, fingerprints),
        place=layout.path,
        library=library_directory(),
        lock_directory=locks_directory(),
    ):
        try:
            with open(path, "rb") as file:
                if file.read() == content:
                    continue
            why = "it is not what the definition gives"
        except OSError:
            why = "it is missing"
        yield Action(REBUILD, path, why, content)


def _master(
    layout: RunLayout, workflow: Workflow, stored: Document, order: list[int], findings: list[validation.Finding]
) -> Iterator[Action]:
    recorded = read_record(layout, workflow, order)
    # The lock is ours, and we run nothing.
    status = documents.status_document(layout, workflow, stored, order, recorded, is_live=False)
    document: dict[str, Any] = present(
        layout, workflow, stored, order, user=user_name(), recorded=recorded, status=status, is_live=False
    )
    document.pop("tasks")
    why = "it is missing"
    try:
        last = records.decode_document(store.read_small(layout.master))
        told_as = ("status", "completed_steps", "failed", "skipped", "total_tasks")
        if all(last.get(key) == document[key] for key in told_as) and _is_sound(findings):
            return
        why = "it was behind the markers"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        why = f"it is damaged: {error}"
    yield Action(REBUILD, layout.master, why, records.encode_document(document))


def _is_sound(findings: list[validation.Finding]) -> bool:
    return all(it.path != "checkpoint.json" for it in findings)


def _done(disk: Disk, layout: RunLayout, action: Action, *, is_dry: bool) -> Document:
    kept = None
    if not is_dry:
        if action.kind == SWEEP:
            disk.remove(action.path, sync=False)
        elif action.kind == SET_ASIDE:
            kept = os.path.relpath(store.set_aside(disk, action.path), layout.path)
        else:
            if not os.path.isdir(os.path.dirname(action.path)):
                disk.make_directory(os.path.dirname(action.path))
            disk.write(action.path, action.content)
    return {
        "action": action.kind,
        "path": os.path.relpath(action.path, layout.path),
        "why": action.why,
        "kept_as": kept,
    }
