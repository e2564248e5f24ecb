"""Writing an archive of a run: the same run gives the same bytes, whenever and wherever that is done.

Files are read twice, once for the manifest that comes first and once to be packed; what changed in between is an
error, never a wrong archive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from blake3 import blake3

from workflow.checkpoint import archive_format as form
from workflow.checkpoint import archive_reader, compression, streams
from workflow.checkpoint.archive_format import COMPRESSED, Manifest, Member
from workflow.checkpoint.compression import Compression
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import IMPORTED, TEMPORARY, RunLayout
from workflow.errors import CheckpointError, listed, one_line

_PIECE_BYTES = 1 << 20
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
Content = Callable[[], Iterator[bytes]]


class Entry(NamedTuple):
    """A file that is to be packed; `content` gives its bytes, the same each time it is called."""

    path: str
    mode: int
    content: Content
    is_output: bool = False


class Contents(NamedTuple):
    """What a run holds: directories with their modes, and files, both sorted."""

    directories: list[tuple[str, int]]
    files: list[Entry]


def contents(layout: RunLayout, kind: str) -> Contents:
    """Return what of a run goes into an archive of this kind. Raises CheckpointError for what no archive can hold.

    Locks, notes for people beside them and what crashes left are not taken along. An exported run leaves behind what
    is made anew where it arrives, and whether it was itself imported.
    """
    directories: list[tuple[str, int]] = []
    files: list[Entry] = []
    strange: list[str] = []
    _walk(layout.path, "", kind, directories, files, strange)
    if strange:
        raise CheckpointError(
            f"{layout.run_id} holds what an archive cannot: {listed(strange, most=4)}",
            help=f"move it away from {one_line(layout.path)}, then try again",
        )
    directories.sort(key=lambda it: form.path_bytes(it[0]))
    files.sort(key=lambda it: form.path_bytes(it.path))
    return Contents(directories, files)


def _walk(
    top: str,
    below: str,
    kind: str,
    directories: list[tuple[str, int]],
    files: list[Entry],
    strange: list[str],
) -> None:
    with os.scandir(f"{top}/{below}" if below else top) as found:
        entries = list(found)
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if _is_left(path, kind):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # of a run that goes on: nobody needs what went away
            continue
        mode = stat.S_IMODE(status.st_mode) & 0o777
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and form.may_hold_directory(path, kind):
            directories.append((path, _portable(mode, kind)))
            _walk(top, path, kind, directories, files, strange)
        elif stat.S_ISREG(status.st_mode) and form.may_hold(path, kind):
            files.append(Entry(path, _portable(mode, kind), reader(f"{top}/{path}")))
        else:
            what = "a directory" if is_directory else "a file" if stat.S_ISREG(status.st_mode) else "a link or device"
            strange.append(f"{one_line(path)} ({what})")


def _is_left(path: str, kind: str) -> bool:
    above, _, name = path.rpartition("/")
    if name.startswith(TEMPORARY) and above in ("", "state", "lib", "logs", "snapshots"):
        return True
    if above == "state" and (name == "run.holder" or name.endswith(".lock")):
        return True
    if kind == COMPRESSED:
        return False
    return path in ("lib", "steps.sh", "resume.sh", "pinned", "abandoned", "state/values") or (
        above == "state" and name.startswith(IMPORTED)
    )


def _portable(mode: int, kind: str) -> int:
    """Return a mode; of an exported run only whether it may be executed, as what else it was is of that machine."""
    if kind == COMPRESSED:
        return mode
    return 0o755 if mode & 0o100 else 0o644


def reader(path: str) -> Content:
    """Return what reads a file from its beginning each time it is called. Raises CheckpointError then."""

    def read() -> Iterator[bytes]:
        try:
            fd = os.open(path, _READ_FLAGS)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise CheckpointError(f"{one_line(path)} is no plain file any more", help="try again")
                while data := os.read(fd, _PIECE_BYTES):
                    yield data
            finally:
                os.close(fd)
        except OSError as error:
            raise CheckpointError(
                f"{one_line(path)} cannot be read: {error.strerror}", help=f"ls -l {one_line(path)}"
            ) from error

    return read


def describe(entry: Entry) -> Member:
    """Return an entry as the manifest lists it. Raises CheckpointError."""
    hasher = blake3()
    size = 0
    for data in entry.content():
        hasher.update(data)
        size += len(data)
    if size > form.LARGEST_MEMBER_BYTES:
        raise CheckpointError(
            f"{one_line(entry.path)} is larger than 8 GiB, the most that a file in an archive can be",
            help="move it away, or make it smaller",
        )
    return Member(entry.path, size, entry.mode, hasher.hexdigest(), entry.is_output)


def write(
    disk: Disk, path: str, manifest: Manifest, entries: list[Entry], *, ending: str, mode: int, to_verify: bool = False
) -> int:
    """Write an archive durably in place of what stands at `path`; return its size in bytes.

    `manifest` lists the entries in their order. With `to_verify` it is read back before it gets its name.
    Raises CheckpointError (a file changed meanwhile), NotRecordedError; then nothing of it is left.
    """
    try:
        form.decode_manifest(form.encode_manifest(manifest))
    except form.ArchiveError as error:
        raise CheckpointError(
            f"{manifest.run_id} cannot be packed: {error}", help="move what is in the way out of the run"
        ) from error
    kind = compression.for_writing(ending)
    for is_plain in (False, True):
        with streams.new_file(disk, path, mode) as file:
            size, whole = _write_into(file, kind, manifest, entries, is_plain=is_plain)
            if whole > form.most_bytes(size):
                # So regular that a reader would take it for a bomb: pack it less tightly, without repetitions.
                if kind is not compression.GZIP:
                    break
                continue
            if to_verify:
                archive_reader.verify(file.temporary)
            file.put()
            return size
    raise CheckpointError(
        f"{manifest.run_id} is so regular that nobody would unpack it from zstd", help="use gzip: FILE.tar.gz"
    )


def _write_into(
    file: streams.NewFile, kind: Compression, manifest: Manifest, entries: list[Entry], *, is_plain: bool
) -> tuple[int, int]:
    """Return how large the archive is, and the tar file in it."""
    file.write(bytes(kind.head_bytes))
    hasher = blake3()
    compressor = kind.compressor(is_plain)
    whole = 0
    for data in _tar(manifest, entries):
        whole += len(data)
        packed = compressor.compress(data)
        hasher.update(packed)
        file.write(packed)
    packed = compressor.flush()
    hasher.update(packed)
    file.write(packed)
    file.write_at_start(kind.start + hasher.digest())
    return file.sync(), whole


def _tar(manifest: Manifest, entries: Iterable[Entry]) -> Iterator[bytes]:
    data = form.encode_manifest(manifest)
    yield form.header(form.manifest_name(manifest.run_id), len(data), 0o644)
    yield data
    yield bytes(form.padding(len(data)))
    for index, entry in enumerate(entries):
        member = manifest.members[index]
        yield form.header(form.name_of(manifest, index), member.size_bytes, member.mode)
        yield from _unchanged(entry, member)
        yield bytes(form.padding(member.size_bytes))
    yield bytes(2 * form.BLOCK)


def _unchanged(entry: Entry, member: Member) -> Iterator[bytes]:
    hasher = blake3()
    size = 0
    for data in entry.content():
        size += len(data)
        hasher.update(data)
        if size > member.size_bytes:
            break
        yield data
    if size != member.size_bytes or hasher.hexdigest() != member.digest:
        raise CheckpointError(f"{one_line(entry.path)} changed while it was packed", help="try again when nothing runs")
