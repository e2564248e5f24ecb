"""`workflow checkpoint import`: a run from elsewhere, checked before anything of it is in place."""

from __future__ import annotations

import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from typing import Any

from workflow import upkeep
from workflow.auditing import audited
from workflow.checkpoint import archive, archive_reader, locks, packed, portable, records, removal, store, streams
from workflow.checkpoint.archive_format import EXPORTED, Manifest, Member, parent
from workflow.checkpoint.archive_reader import Archive
from workflow.checkpoint.durable import Disk, planned_faults
from workflow.checkpoint.layout import FORMAT_VERSION, IMPORTED, RESUME_SH, STEPS_SH, CheckpointRoot, RunLayout
from workflow.definition import graph, loader, steps_directory
from workflow.errors import CheckpointError, UsageError, WorkflowError, listed, one_line
from workflow.execution.shell_files import write_all
from workflow.inspection import definition_of
from workflow.keeping.exporting import read_or_none
from workflow.model import Workflow
from workflow.opening import DEFAULT_DIRECTORY
from workflow.planning.record import identities
from workflow.session import environment, library_directory, locks_directory, prepare_root, project_directory

_MADE_ANEW = re.compile(
    rf"(?:lib(?:/|\Z)|(?:{re.escape(STEPS_SH)}|{re.escape(RESUME_SH)}|pinned|abandoned)\Z|state/{IMPORTED}|state/values\Z)"
)


def import_run(
    root: CheckpointRoot, file: str, *, with_outputs: bool, force: bool, as_new: bool, user: str
) -> dict[str, Any]:
    """Put the run in an archive among ours, durably; return what was done.

    All of it is read, checked and translated in a directory that nobody knows before it gets its name. `force` lets
    it take the place of a run with its id, and its outputs that of files. Raises CheckpointError for an archive that
    is not right, UsageError for what is in the way, RunBusyError, NotRecordedError; then nothing was changed but
    outputs that were put where nothing was.
    """
    above, name = os.path.split(os.path.join(project_directory(), file))
    path = os.path.join(os.path.realpath(above), name)
    again = f"workflow checkpoint import {shlex.quote(file)}"
    with Archive(path) as opened, streams.told_as(f"{one_line(file)} could not be imported", again):
        manifest = opened.manifest
        run_id = _free_id(root, manifest.run_id) if as_new else manifest.run_id
        _refuse_known(root, run_id, file, force=force)
        is_private = manifest.summary.get("private") is True
        disk = Disk(private=is_private, faults=planned_faults(environment()))
        try:
            prepare_root(root, disk)
            origin = {"file": one_line(path), "digest": opened.digest, "was": manifest.run_id, "force": force}
            with (
                audited(root, disk, "import", run_id, is_destructive=force, **origin),
                streams.nursery(disk, root.path, 0o700) as nursery,
            ):
                grown = RunLayout(f"{nursery}/{run_id}")
                outputs = f"{nursery}/outputs"
                for directory in (grown.path, outputs):
                    streams.make_directory(disk, directory, disk.directory_mode)
                mask = 0o700 if is_private else 0o755
                archive_reader.unpack(
                    opened, disk, grown.path, outputs, is_wanted=lambda it: not _MADE_ANEW.match(it), mask=mask
                )
                workflow = _translate(disk, grown, manifest)
                _complete(disk, grown, root, workflow)
                _say_imported(disk, grown, opened, user)
                restored = _outputs(manifest, root, workflow, force=force) if with_outputs else []
                for member in restored:
                    _restore(disk, f"{outputs}/{member.path}", f"{project_directory()}/{member.path}", member)
                _put(disk, grown, root, run_id, force=force)
            _forget_archives(root.run(run_id), disk)
        finally:
            disk.close()
        return {
            "run_id": run_id,
            "status": manifest.summary.get("status"),
            "file": path,
            "digest": opened.digest,
            "run_dir": root.run(run_id).path,
            "files": sum(not it.is_output for it in manifest.members),
            "outputs": sum(it.is_output for it in manifest.members),
            "restored_outputs": [it.path for it in restored],
            "resume_command": f"workflow resume {run_id} --trust",
        }


def _forget_archives(layout: RunLayout, disk: Disk) -> None:
    if any(os.path.lexists(path) for path in layout.archives):
        lock = locks.acquire_run(layout)
        try:
            packed.forget_archives(layout, disk)
        finally:
            lock.release()


def _free_id(root: CheckpointRoot, run_id: str) -> str:
    known = set(store.run_ids(root))
    stem, again = run_id[:24], 1
    while run_id in known:
        again += 1
        run_id = f"{stem}_{again}"
    return run_id


def _refuse_known(root: CheckpointRoot, run_id: str, file: str, *, force: bool) -> None:
    if run_id not in store.run_ids(root) or force:
        return
    again = f"workflow checkpoint import {shlex.quote(file)}"
    raise UsageError(
        f"there is a run {run_id} already",
        help=f"beside it, under a free id: {again} --as-new; in its place: {again} --force",
    )


def _translate(disk: Disk, grown: RunLayout, manifest: Manifest) -> Workflow:
    """Make the documents of a run those of this project. Raises CheckpointError."""
    project = project_directory()
    stored = store.read_definition(grown)
    if stored.get("workflow_id") != manifest.run_id:
        raise CheckpointError(
            f"the archive says that it holds {manifest.run_id}, and what it holds is another run",
            help="export it again where it came from",
        )
    change = portable.arriving(project)
    if manifest.kind != EXPORTED:
        old = str(stored.get("definition", {}).get("project", ""))
        leave, arrive = portable.leaving(old) if old.startswith(os.sep) else (lambda text: text), change
        change = lambda text: arrive(leave(text))  # noqa: E731 - two steps in one
    plan_hash = stored.get("plan_hash")
    if isinstance(plan_hash, str):
        change = portable.renamed(
            change, {plan_hash: records.plan_hash(portable.changed(stored["definition"], change))}
        )
    run_ids = None if grown.run_id == manifest.run_id else (manifest.run_id, grown.run_id)
    # A marker is made anew from the state as it came, so all is worked out before any of it is written; one at a time
    # is enough where markers come first.
    translation = portable.Translation(lambda it: read_or_none(f"{grown.path}/{it}"), change, run_ids)
    paths = [it.path for it in manifest.members if not (it.is_output or _MADE_ANEW.match(it.path))]
    for path in sorted(paths, key=_order):
        data = translation.bytes_of(path)
        if data is not None and data != read_or_none(f"{grown.path}/{path}"):
            streams.replace(disk, f"{grown.path}/{path}", data)
    return definition_of(grown)[0]


def _order(path: str) -> int:
    """Sort what is worked out from other files before those: markers, then states, then values."""
    return 0 if portable.marked_step(path) is not None else 1 if path.endswith(".json") else 2


def _complete(disk: Disk, grown: RunLayout, root: CheckpointRoot, workflow: Workflow) -> None:
    for directory in (grown.state_dir, grown.logs_dir):
        disk.make_directory(directory)
    fingerprints = {number: identity.fingerprint for number, identity in identities(workflow).items()}
    write_all(
        disk,
        grown,
        workflow,
        graph.order(workflow.steps),
        fingerprints,
        place=root.run(grown.run_id).path,
        library=library_directory(),
        lock_directory=locks_directory(),
    )


def _say_imported(disk: Disk, grown: RunLayout, opened: Archive, user: str) -> None:
    document = {
        "version": FORMAT_VERSION,
        "run_id": opened.manifest.run_id,
        "file": opened.path,
        "digest": opened.digest,
        "kind": opened.manifest.kind,
        "workflow": opened.manifest.workflow,
        "imported_at": records.utc_text(time.time()),
        "by": user,
    }
    disk.write(grown.imported, records.encode_document(document), sync=False)


def _outputs(manifest: Manifest, root: CheckpointRoot, workflow: Workflow, *, force: bool) -> list[Member]:
    """Return the outputs that are to be put into the project; those that are there already, the same, are not.

    Raises UsageError when one is in the way, CheckpointError when one is to go where no output belongs.
    """
    project = project_directory()
    wanted, in_the_way = [], []
    for member in manifest.members:
        if not member.is_output:
            continue
        _refuse_place(member.path, project, root, workflow)
        path = os.path.join(project, member.path)
        if not os.path.lexists(path):
            wanted.append(member)
        elif not _is_same(path, member):
            in_the_way.append(member.path)
            wanted.append(member)
            if not stat.S_ISREG(os.lstat(path).st_mode):
                force = False
    if in_the_way and not force:
        raise UsageError(
            f"in the way of outputs: {listed(one_line(it) for it in in_the_way)}",
            help="move them away; or --force to overwrite plain files; or leave out --with-outputs",
        )
    return wanted


def _refuse_place(inside: str, project: str, root: CheckpointRoot, workflow: Workflow) -> None:
    """Refuse an output that would be planted: among checkpoints, in git's own files, as a step, through a link."""
    path = os.path.join(project, inside)
    kept = (root.path, os.path.join(project, DEFAULT_DIRECTORY))
    is_checkpoint = any(os.path.realpath(path).startswith(os.path.realpath(it) + os.sep) for it in kept)
    if is_checkpoint or _would_run(path, project, workflow) or ".git" in inside.split(os.sep):
        raise CheckpointError(
            f"the archive wants to put an output where none belongs: {one_line(inside)}",
            help="look at it without its outputs: leave out --with-outputs",
        )
    above = parent(inside)
    while above:
        way = os.path.join(project, above)
        if os.path.lexists(way) and not stat.S_ISDIR(os.lstat(way).st_mode):
            raise UsageError(
                f"in the way of output {one_line(inside)}: {one_line(above)} is a link or a file",
                help="move it away, or leave out --with-outputs",
            )
        above = parent(above)


def _would_run(path: str, project: str, workflow: Workflow) -> bool:
    """Return whether a run would go by a file: one of the archive's definition, or one of this project as it is.

    What the archive calls its definition is its own word: a step could be slipped into ours beside it.
    """
    sources = {workflow.source, *(os.path.join(project, name) for name in loader.STANDARD_SOURCES)}
    if any(path == it or path.startswith(it + os.sep) for it in sources):
        return True
    steps = list(workflow.steps)
    try:
        steps += loader.load(project, None).steps
    except WorkflowError:  # nothing that would run
        pass
    scripts = {os.path.normpath(os.path.join(project, step.script)) for step in steps if step.script}
    directory, name = os.path.split(path)
    is_beside = any(os.path.dirname(it) == directory for it in scripts)
    return path in scripts or (is_beside and steps_directory.parts(name) is not None)


def _is_same(path: str, member: Member) -> bool:
    try:
        found = archive.describe(archive.Entry(member.path, member.mode, archive.reader(path)))
    except CheckpointError:
        return False
    return (found.size_bytes, found.digest) == (member.size_bytes, member.digest)


def _restore(disk: Disk, source: str, path: str, member: Member) -> None:
    """Put one output into the project, whole or not at all, durably. Raises NotRecordedError."""
    disk.make_directories(os.path.dirname(path))
    with streams.new_file(disk, path, member.mode) as file:
        for data in _pieces(source):
            file.write(data)
        file.sync()
        file.put()


def _pieces(path: str) -> Iterator[bytes]:
    yield from archive.reader(path)()


def _put(disk: Disk, grown: RunLayout, root: CheckpointRoot, run_id: str, *, force: bool) -> None:
    """Give the run its name; a run that has it already, and may go, is gone in the same step."""
    layout = root.run(run_id)
    if upkeep.runs_there(root).get(run_id) and upkeep.facts_of(layout, is_archive=True).is_pinned:
        raise upkeep.RunPinnedError(layout)
    if streams.move_into_place(disk, grown.path, layout.path):
        return
    if not force:
        raise UsageError(f"there is a run {layout.run_id} already", help="try again with --as-new")
    store.refuse_unsafe(layout)
    lock = locks.acquire_run(layout)
    try:
        if os.path.lexists(layout.pinned):
            raise upkeep.RunPinnedError(layout)
        if not streams.exchange(disk, grown.path, layout.path):
            raise UsageError(
                f"this system cannot put one run in the place of another; {layout.run_id} is as it was",
                help=f"workflow checkpoint delete {layout.run_id}, then import again",
            )
        removal.remove_run(disk, grown)
    finally:
        lock.release()
