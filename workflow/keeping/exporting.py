"""`workflow checkpoint export`: a run as one file that can go on elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from workflow import __version__, packing
from workflow.auditing import audited
from workflow.checkpoint import archive, compression, locks, portable, records, store, streams
from workflow.checkpoint.archive import Entry
from workflow.checkpoint.archive_format import EXPORTED, ArchiveError, Manifest, path_bytes
from workflow.checkpoint.archive_reader import Archive
from workflow.checkpoint.durable import Disk, planned_faults
from workflow.checkpoint.layout import ARCHIVE_ENDINGS, CheckpointRoot, RunLayout
from workflow.errors import UsageError, count, listed, one_line
from workflow.inspection import choose_run, definition_of
from workflow.model import Workflow
from workflow.session import environment, project_directory


def export(
    root: CheckpointRoot, name: str | None, out: str, *, with_outputs: bool, force: bool
) -> tuple[dict[str, Any], list[str]]:
    """Write a run into one file, durably; return what was written, and what is to be told about it.

    The same run gives the same bytes, wherever it lies. Raises UsageError (FILE is in use, or says no compression),
    CheckpointError, RunBusyError, NotRecordedError; then what stood at `out` still stands there.
    """
    layout = choose_run(root, name)
    target, ending = _target(out, force=force)
    lock = locks.acquire_run(layout) if layout.archive is None else None
    disk = Disk(faults=planned_faults(environment()))
    try:
        packing.refuse_orphans(layout)
        workflow, stored = definition_of(layout)
        disk.file_mode = 0o600 if workflow.checkpoints.private else 0o644
        entries, directories = _entries(layout, workflow, stored)
        notices: list[str] = []
        if with_outputs:
            outputs, notices = _outputs(layout, workflow, project_directory(), root)
            entries += outputs
        summary = packing.summary_of(layout, workflow, stored, is_live=False)
        # What is left behind is not told of either.
        summary |= {"pinned": False, "abandoned": False, "imported": False}
        summary["plan_hash"] = _plan_hash(stored, portable.leaving(workflow.project))
        members = tuple(archive.describe(entry) for entry in entries)
        manifest = Manifest(layout.run_id, EXPORTED, __version__, summary, tuple(directories), members)
        again = f"workflow checkpoint export {layout.run_id} --out FILE"
        with (
            streams.told_as(f"{one_line(out)} could not be written", again),
            audited(root, disk, "export", layout.run_id, file=one_line(target), with_outputs=with_outputs),
        ):
            size = archive.write(disk, target, manifest, entries, ending=ending, mode=disk.file_mode, to_verify=True)
    finally:
        if lock is not None:
            lock.release()
        disk.close()
    with Archive(target) as written:
        digest = written.digest
    return {
        "run_id": layout.run_id,
        "status": summary["status"],
        "file": target,
        "size_bytes": size,
        "files": sum(not it.is_output for it in members),
        "outputs": sum(it.is_output for it in members),
        "digest": digest,
    }, notices


def _target(out: str, *, force: bool) -> tuple[str, str]:
    """Return where the archive goes and how it is to be compressed. Raises UsageError."""
    above, name = os.path.split(os.path.join(project_directory(), out))
    above = os.path.realpath(above)
    target = os.path.join(above, name)
    ending = next((it for it in ARCHIVE_ENDINGS if target.endswith(it)), None)
    if target.endswith(".tgz"):
        ending = ARCHIVE_ENDINGS[0]
    if ending is None or os.path.isdir(target):
        raise UsageError(f"--out {one_line(out)} is to be the name of an archive", help="for example: --out run.tar.gz")
    compression.for_writing(ending)
    if not os.path.isdir(above):
        raise UsageError(f"there is no directory {one_line(above)}", help=f"mkdir -p {one_line(above)}")
    if os.path.lexists(target):
        if not force:
            raise UsageError(f"{one_line(out)} is there already", help="another name, or --force to overwrite it")
        if not stat.S_ISREG(os.lstat(target).st_mode):
            raise UsageError(f"{one_line(out)} is no plain file, so it is not overwritten", help="another name")
    return target, ending


def _plan_hash(stored: dict[str, Any], change: portable.Change) -> str:
    """Return the hash of the definition as it stands in the archive."""
    return records.plan_hash(portable.changed(stored["definition"], change))


def _entries(
    layout: RunLayout, workflow: Workflow, stored: dict[str, Any]
) -> tuple[list[Entry], list[tuple[str, int]]]:
    held = archive.contents(layout, EXPORTED)
    change = portable.leaving(workflow.project)
    plan_hash = stored.get("plan_hash")
    if isinstance(plan_hash, str):
        change = portable.renamed(change, {plan_hash: _plan_hash(stored, change)})
    translation = portable.Translation(lambda path: read_or_none(f"{layout.path}/{path}"), change)
    # A directory that may be executed is one that may be entered.
    return [_translated(entry, translation) for entry in held.files], [(path, 0o755) for path, _ in held.directories]


def _translated(entry: Entry, translation: portable.Translation) -> Entry:
    def content() -> Iterator[bytes]:
        data = translation.bytes_of(entry.path)
        if data is None:
            yield from entry.content()
        else:
            yield data

    return entry._replace(content=content)


def read_or_none(path: str) -> bytes | None:
    """Return the bytes of a file that is small as a rule; None when it cannot be read."""
    try:
        return store.read_small(path)
    except OSError:
        return None


def _outputs(layout: RunLayout, workflow: Workflow, here: str, root: CheckpointRoot) -> tuple[list[Entry], list[str]]:
    """Return the declared outputs of completed steps that lie in the project, and what is to be told of the others."""
    done = store.read_markers(layout).whole
    project = here if store.project_inside(root, here) else workflow.project
    found: dict[str, Entry] = {}
    missing: list[str] = []
    left: list[str] = []
    for step in workflow.steps:
        for name in step.outputs if step.number in done else ():
            inside = os.path.normpath(os.path.join(step.working_directory, name))
            if os.path.isabs(inside):
                inside = os.path.relpath(inside, project)
            if inside.split(os.sep)[0] in (os.pardir, os.curdir) or _is_linked(project, inside):
                left.append(name)
            elif not _collect(project, inside, found, left):
                missing.append(name)
    notices = []
    if missing:
        notices.append(f"{count(len(missing), 'output')} not there: {listed(one_line(it) for it in missing)}")
    if left:
        notices.append(f"not plain files of this project, left out: {listed(one_line(it) for it in left)}")
    return sorted(found.values(), key=lambda it: path_bytes(it.path)), notices


def _is_linked(project: str, inside: str) -> bool:
    """Return whether the way from the project to a file leads through a link."""
    way = project
    for part in inside.split(os.sep):
        way = os.path.join(way, part)
        if os.path.islink(way):
            return True
    return False


def _collect(project: str, inside: str, found: dict[str, Entry], left: list[str]) -> bool:
    path = os.path.join(project, inside)
    try:
        mode = os.lstat(path).st_mode
        path_bytes(inside)
    except (OSError, ArchiveError):
        return False
    if stat.S_ISREG(mode):
        found[inside] = Entry(inside, 0o755 if mode & 0o100 else 0o644, archive.reader(path), is_output=True)
    elif stat.S_ISDIR(mode):
        for name in os.listdir(path):
            _collect(project, os.path.join(inside, name), found, left)
    else:
        left.append(inside)
    return True
