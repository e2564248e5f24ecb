"""Runs that are archives: finding them, reading them, and putting them back.

Where a run has a directory and an archive, the directory counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from workflow.checkpoint import archive_reader, records, removal, streams
from workflow.checkpoint.archive_format import COMPRESSED, Manifest
from workflow.checkpoint.archive_reader import Archive, UnusableArchiveError
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import ARCHIVE_ENDINGS, DEFINITION, RUN_ID, RunLayout
from workflow.checkpoint.owner import refuse_others
from workflow.errors import CheckpointError, NotRecordedError, one_line

_open: dict[str, RunLayout] = {}


def run_of(name: str) -> str | None:
    """Return the run whose directory or archive has this name; None when it is neither."""
    for ending in ARCHIVE_ENDINGS:
        name = name.removesuffix(ending)
    return name if RUN_ID.match(name) else None


def archive_of(layout: RunLayout) -> str | None:
    """Return the archive that stands for a run; None where the run has a directory, or is not there."""
    if os.path.lexists(layout.path):
        return None
    return next((path for path in layout.archives if os.path.lexists(path)), None)


def manifest_of(layout: RunLayout, archive: str) -> Manifest:
    """Return the manifest of a run's archive; nothing behind it is read. Raises CheckpointError."""
    refuse_unsafe(archive)
    with _told_of(layout):
        manifest = archive_reader.read_manifest(archive)
    _refuse_other(layout, archive, manifest)
    return manifest


def definition_of(layout: RunLayout, archive: str) -> records.Document:
    """Return `workflow.json` of an archived run; nothing is unpacked. Raises CheckpointError."""
    refuse_unsafe(archive)
    with _told_of(layout), Archive(archive) as opened:
        _refuse_other(layout, archive, opened.manifest)
        for member, content in opened.members():
            is_wanted = member.path == DEFINITION and not member.is_output
            kept = b"".join(piece for piece in content if is_wanted)
            if is_wanted:
                try:
                    return records.decode_document(kept)
                except ValueError as error:
                    raise archive_reader.refused(archive, error) from error
    raise CheckpointError(f"{one_line(archive)} holds no {DEFINITION}", help="look at: workflow checkpoint list")


def in_short(layout: RunLayout, archive: str) -> records.Document:
    """Return an archived run as a list of runs shows it, from its manifest alone; `problem` where that cannot be read.

    Keys: `run_id, status, completed_tasks, total_tasks, failed_tasks, progress_percent, created_at, updated_at, epoch,
    size_bytes` (of the archive), `marks[], run_dir` (the archive), `problem`. Never raises.
    """
    keys = ("status", "completed_tasks", "total_tasks", "failed_tasks", "progress_percent", "created_at", "updated_at")
    summary: records.Document = {}
    problem = size = None
    try:
        size = os.lstat(archive).st_size
        summary = manifest_of(layout, archive).summary
    except CheckpointError as error:
        problem = error.message
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
    epoch = summary.get("epoch")
    return {
        "run_id": layout.run_id,
        **{key: summary.get(key) for key in keys},
        "epoch": epoch if isinstance(epoch, int) else 0,
        "size_bytes": size,
        "marks": [mark for mark in ("pinned", "abandoned", "imported") if summary.get(mark) is True],
        "run_dir": archive,
        "problem": problem,
    }


def open_to_read(layout: RunLayout, archive: str) -> RunLayout:
    """Return a copy of an archived run in a private directory outside the project, gone when this process ends.

    Raises CheckpointError, NotRecordedError.
    """
    known = _open.get(archive)
    if known is not None:
        return known
    refuse_unsafe(archive)
    with _told_of(layout), Archive(archive) as opened:
        _refuse_other(layout, archive, opened.manifest)
        place = streams.ReadingPlace()
        try:
            copy = RunLayout(f"{place.path}/{layout.run_id}", archive)
            disk = Disk(private=True)
            streams.make_directory(disk, copy.path, 0o700)
            archive_reader.unpack(opened, disk, copy.path)
        except NotRecordedError as error:
            place.remove()
            raise NotRecordedError(
                f"{one_line(archive)} cannot be unpacked to be read: {error.message}",
                help="free space there, or name a place that has some: TMPDIR=DIR workflow ...",
            ) from error
        except BaseException:
            place.remove()
            raise
        at = records.utc_seconds(opened.manifest.summary.get("updated_at"))
    if at is not None:
        streams.set_time((copy.path, copy.state_dir, copy.master), at)
    _open[archive] = copy
    return copy


def put_back(layout: RunLayout, archive: str, disk: Disk) -> None:
    """Make a directory of an archived run again, whole and durable before it has its name.

    The archive stays until somebody holds the lock of the run (`forget_archives`): the directory counts. Two of these
    at once are fine, one of them comes first. Raises CheckpointError, NotRecordedError.
    """
    refuse_unsafe(archive)
    root = os.path.dirname(layout.path)
    with _told_of(layout), Archive(archive) as opened, streams.nursery(disk, root, 0o700) as nursery:
        _refuse_other(layout, archive, opened.manifest)
        grown = f"{nursery}/{layout.run_id}"
        streams.make_directory(disk, grown, 0o755 if opened.mode & 0o044 else 0o700)
        archive_reader.unpack(opened, disk, grown)
        streams.move_into_place(disk, grown, layout.path)


def forget_archives(layout: RunLayout, disk: Disk) -> None:
    """Remove archives of a run that has its directory, and what putting it back left; only under its lock.

    Raises NotRecordedError.
    """
    if any(os.path.lexists(path) for path in layout.archives) and os.path.isdir(layout.path):
        streams.sweep_nurseries(os.path.dirname(layout.path))
        removal.remove_archives(disk, layout)


def refuse_unsafe(archive: str) -> None:
    """Refuse an archive that somebody else could have planted or can change. Raises CheckpointError."""
    status = os.lstat(archive)
    name = one_line(archive)
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{name} is a link or a directory, not an archive", help="put the archive itself there")
    refuse_others(archive, status)


@contextmanager
def _told_of(layout: RunLayout) -> Iterator[None]:
    """Say of an archive that cannot be used what becomes of its run: nobody else has made it, or can make it again."""
    try:
        yield
    except UnusableArchiveError as error:
        raise CheckpointError(
            error.message,
            help="put a copy of that file back, if there is one; "
            f"without one the run is lost: workflow checkpoint delete {layout.run_id}",
        ) from error


def _refuse_other(layout: RunLayout, archive: str, manifest: Manifest) -> None:
    if manifest.kind != COMPRESSED:
        raise CheckpointError(
            f"{one_line(archive)} is an exported run, and not one of this project",
            help=f"mv {one_line(archive)} somewhere else, then: workflow checkpoint import FILE",
        )
    if manifest.run_id != layout.run_id:
        raise CheckpointError(
            f"{one_line(archive)} holds another run, {manifest.run_id}",
            help=f"give it back its name: {manifest.run_id}{os.path.splitext(archive)[1]}",
        )
