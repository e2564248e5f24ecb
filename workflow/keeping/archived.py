"""The copies that a run keeps of its sources: what there is, and one of them put back into the project."""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

from workflow.checkpoint import copies, locks, records, store, streams
from workflow.checkpoint.copies import Copies, Copy, Item, NotKeptError
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.errors import CheckpointError, UsageError, listed, nearest, one_line
from workflow.keeping.choosing import choose
from workflow.opening import project_of
from workflow.session import project_directory
from workflow.upkeep import to_write_in

Document = dict[str, Any]


class Wanted(NamedTuple):
    """A copy that is to be put back: whole, and `target` (absolute) lies in the project.

    `before` is the digest of what is there now; None: nothing is.
    """

    layout: RunLayout
    project: str
    copy: Copy
    content: bytes
    target: str
    before: str | None

    @property
    def is_there(self) -> bool:
        """Whether what the copy holds is there already."""
        return self.before == self.copy.digest

    @property
    def shown(self) -> str:
        return os.path.relpath(self.target, self.project)


def list_copies(root: CheckpointRoot, run_id: str | None) -> tuple[str, list[Document]]:
    """Return the id of a run (None: the newest), and its copies, oldest first. Raises CheckpointError, UsageError."""
    layout = _run(root, run_id)
    return layout.run_id, [_document(layout, copy) for copy in copies.read_index(layout)]


def _run(root: CheckpointRoot, run_id: str | None) -> RunLayout:
    chosen = choose(root, run_id)
    if chosen.snapshot_number is not None:
        raise UsageError(
            "copies of sources are those of a run, not of a snapshot",
            help=f"which there are: workflow checkpoint restore {chosen.layout.run_id} --archive",
        )
    return chosen.layout


def _document(layout: RunLayout, copy: Copy) -> Document:
    return {
        "name": copy.name,
        "path": copy.path,
        "what": copy.what,
        "at": records.utc_text(copy.at),
        "step": copy.step,
        "iteration": copy.iteration or None,
        "size_bytes": copy.size_bytes,
        "mode": f"{copy.mode:04o}",
        "digest": copy.digest,
        "is_there": os.path.lexists(f"{layout.copies_dir}/{copy.name}"),
    }


def find(root: CheckpointRoot, run_id: str | None, name: str, to: str | None) -> Wanted:
    """Return the copy that is meant: by its name, or the newest of a file by the path of that. Changes nothing.

    `to` is another place for it. Raises CheckpointError (no such copy, or it is damaged: the one before it is named),
    UsageError (it would leave the project).
    """
    layout = _run(root, run_id)
    known = copies.read_index(layout)
    wanted = os.path.basename(name) if os.path.basename(name) in {copy.name for copy in known} else name
    plain = os.path.normpath(name) if name else name
    found = [copy for copy in known if copy.name == wanted] or [copy for copy in known if copy.path == plain]
    if not found:
        raise _absent(layout, name, known)
    copy = found[-1]
    if os.path.lexists(layout.imported):
        raise CheckpointError(
            f"{layout.run_id} was imported, and nobody said yet that what is in it may come into this project",
            help=f"look at the copy itself: {one_line(layout.copies_dir)}/{one_line(copy.name)}",
        )
    try:
        content = copies.content_of(layout, copy)
    except NotKeptError as error:
        raise _damaged(layout, copy, known, str(error)) from error
    stored = store.read_definition(layout)
    project = project_of(layout, root, project_directory(), stored, [])
    target = _target(project, copy.path if to is None else os.path.join(project_directory(), to))
    return Wanted(layout, project, copy, content, target, _digest_of(target))


def _absent(layout: RunLayout, name: str, known: list[Copy]) -> CheckpointError:
    if not known:
        return CheckpointError(
            f"{layout.run_id} keeps no copies",
            help="they are kept unless `--no-archive` or `checkpoints: {archive: false}` says otherwise",
        )
    paths = list(dict.fromkeys(copy.path for copy in known))
    near = nearest(name, [*paths, *(copy.name for copy in known)])
    advice = f"did you mean {one_line(near)}?" if near else f"there are copies of {listed(map(one_line, paths))}"
    return CheckpointError(f"{layout.run_id} keeps no copy {one_line(name)}", help=advice)


def _damaged(layout: RunLayout, copy: Copy, known: list[Copy], why: str) -> CheckpointError:
    """Return the error for a copy that does not hold what was copied; an earlier one may."""
    for other in reversed(known):
        if other.path == copy.path and other.name != copy.name and _is_whole(layout, other):
            advice = (
                f"another one is whole: workflow checkpoint restore {layout.run_id} --archive {one_line(other.name)}"
            )
            break
    else:
        advice = "there is no other copy of it in this run; older runs: workflow checkpoint list"
    return CheckpointError(f"the copy {one_line(copy.name)} cannot be used: {why}", help=advice)


def _is_whole(layout: RunLayout, copy: Copy) -> bool:
    try:
        copies.content_of(layout, copy)
    except NotKeptError:
        return False
    return True


def _target(project: str, path: str) -> str:
    """Return where a copy goes: through links, as any program would write there, and never out of the project."""
    target = os.path.realpath(os.path.join(project, path))
    if not target.startswith(os.path.realpath(project) + os.sep):
        is_led = os.path.normpath(os.path.join(project, path)).startswith(project + os.sep)
        led = f" (a link there leads out of the project, to {one_line(target)})" if is_led else ""
        raise UsageError(
            f"{one_line(path)} is not in the project{led}: nothing is put there", help="give a place in it: --to PATH"
        )
    if os.path.isdir(target):
        raise UsageError(f"{one_line(path)} is a directory", help="give the name of the file: --to PATH")
    return target


def _digest_of(path: str) -> str | None:
    try:
        # A pipe would be waited for, and for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(
                    f"{one_line(path)} is no plain file: it is left alone", help="give another place: --to PATH"
                )
            return records.digest(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            f"{one_line(path)} is there and cannot be read ({error.strerror}): it is left alone",
            help="make it readable, or give another place: --to PATH",
        ) from error


def put_back(root: CheckpointRoot, wanted: Wanted, disk: Disk) -> Document:
    """Put a copy into the project, whole or not at all, durably; what was there is kept as a copy of the run first.

    Only under the lock of the run, which it takes. Raises RunBusyError, UsageError (what is there cannot be kept, or
    changed since it was looked at), NotRecordedError; then the project is as it was.
    """
    kept = None
    if wanted.before is not None and not wanted.is_there:
        layout = to_write_in(root, wanted.layout, disk)
        lock = locks.acquire_run(layout)
        try:
            kept = _keep_present(layout, wanted, disk)
        finally:
            lock.release()
    if not wanted.is_there:
        if _digest_of(wanted.target) != wanted.before:
            raise UsageError(f"{one_line(wanted.shown)} changed just now: it is left alone", help="try again")
        disk.make_directories(os.path.dirname(wanted.target))
        with streams.new_file(disk, wanted.target, wanted.copy.mode) as file:
            file.write(wanted.content)
            file.sync()
            file.put()
    return {
        "copy": wanted.copy.name,
        "path": wanted.shown,
        "was_changed": not wanted.is_there,
        "kept_as": kept,
    }


def _keep_present(layout: RunLayout, wanted: Wanted, disk: Disk) -> str:
    """Keep a copy of what is there now; return its name. Raises UsageError where that cannot be."""
    kept = Copies(disk, layout, wanted.project, is_new=False)
    try:
        problems = kept.keep([Item(wanted.target, copies.REPLACED)])
    finally:
        kept.close()
    whole = [copy for copy in copies.read_index(layout) if copy.digest == wanted.before and _is_whole(layout, copy)]
    if not whole:
        why = problems[0] if problems else "it changed meanwhile"
        raise UsageError(
            f"{one_line(wanted.shown)} is left alone, because what is there could not be kept: {why}",
            help="put it aside yourself, or give another place: --to PATH",
        )
    return whole[-1].name
