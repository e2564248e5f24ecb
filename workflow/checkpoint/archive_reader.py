"""Reading an archive that anybody may have made: nothing in it is believed before it was checked.

The manifest comes first and says what may follow; every header, size, order and digest is held against it, and
nothing may stand behind the end. Memory stays small whatever is fed, and no more is unpacked than the manifest and
the caps allow.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from blake3 import blake3

from workflow.checkpoint import archive_format as form
from workflow.checkpoint import compression, streams
from workflow.checkpoint.archive_format import ArchiveError, Manifest, Member
from workflow.checkpoint.durable import Disk
from workflow.errors import CheckpointError, one_line

_PIECE_BYTES = 64 << 10
# What is fed and not used yet is copied at each step: small files want small bites.
_FED_BYTES = 16 << 10


class UnusableArchiveError(CheckpointError):
    """The file is damaged, or never was an archive of ours."""


class Archive:
    """An archive opened for reading, from its head to its end. Close it in any case, or use it in a `with`."""

    def __init__(self, path: str) -> None:
        """Open it and read its manifest. Raises CheckpointError."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise CheckpointError(
                f"{one_line(path)} cannot be read: {error.strerror}", help="say which file: FILE.tar.gz"
            ) from error
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError("it is no plain file")
            self.size_bytes = status.st_size
            self.mode = stat.S_IMODE(status.st_mode)
            self._open()
            self.manifest = self._read_manifest()
        except (ArchiveError, OSError) as error:
            os.close(self._fd)
            raise refused(path, error) from error
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Archive:  # noqa: PYI034 - typing has Self from 3.11 on
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._fd)

    @property
    def digest(self) -> str:
        """What the head says the rest of the file digests to; true once all was read."""
        return f"blake3:{self._expected.hex()}"

    def _open(self) -> None:
        head = os.read(self._fd, compression.GZIP.head_bytes)
        kind = compression.of_head(head)
        if kind is None:
            raise ArchiveError("it was not made by workflow checkpoint compress or export, or its first bytes changed")
        if len(head) < kind.head_bytes:
            raise ArchiveError("it ends too early")
        self._kind = kind
        self._expected = head[len(kind.start) : kind.head_bytes]
        os.lseek(self._fd, kind.head_bytes, os.SEEK_SET)
        self._hasher = blake3()
        self._stream = kind.decompressor()
        self._left = form.most_bytes(self.size_bytes)

    def _fed(self) -> bytes:
        data = os.read(self._fd, _FED_BYTES)
        self._hasher.update(data)
        return data

    def _piece(self, most: int) -> bytes:
        """Return between one and `most` bytes of the tar file."""
        # What was fed and not used yet comes first; only a stream that has nothing left wants more.
        data = fed = b""
        while not data:
            if self._stream.is_over:
                raise ArchiveError("it ends before all files that its manifest lists")
            data = self._decompress(fed, most)
            if not data and not self._stream.is_over:
                fed = self._fed()
                if not fed:
                    raise ArchiveError("it ends too early")
            else:
                fed = b""
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError("it unpacks to more than any run of its size")
        return data

    def _decompress(self, fed: bytes, most: int) -> bytes:
        try:
            return self._stream.decompress(fed, most)
        except ValueError as error:
            raise ArchiveError(str(error)) from error

    def _exactly(self, size_bytes: int) -> bytes:
        pieces = []
        while size_bytes:
            pieces.append(self._piece(min(size_bytes, _PIECE_BYTES)))
            size_bytes -= len(pieces[-1])
        return b"".join(pieces)

    def _read_manifest(self) -> Manifest:
        block = self._exactly(form.BLOCK)
        size = form.size_in(block)
        if size > form.LARGEST_MANIFEST_BYTES or size > form.most_bytes(self.size_bytes):
            raise ArchiveError("its manifest is larger than that of any run")
        data = self._exactly(size)
        manifest = form.decode_manifest(data)
        expected = form.header(form.manifest_name(manifest.run_id), size, 0o644)
        if block != expected:
            raise ArchiveError(form.difference(block, expected))
        self._pad(size)
        if form.whole_bytes(size, manifest.members) > form.most_bytes(self.size_bytes):
            raise ArchiveError("it unpacks to more than any run of its size")
        return manifest

    def _pad(self, size_bytes: int) -> None:
        if any(self._exactly(form.padding(size_bytes))):
            raise ArchiveError("something stands between its files")

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yield each file and its content, which is to be read to its end before the next; then check the end.

        Only once this is exhausted all that it yielded is known to be right. Raises CheckpointError.
        """
        try:
            for index, member in enumerate(self.manifest.members):
                expected = form.header(form.name_of(self.manifest, index), member.size_bytes, member.mode)
                block = self._exactly(form.BLOCK)
                if block != expected:
                    raise ArchiveError(form.difference(block, expected))
                yield member, self._content(member)
                self._pad(member.size_bytes)
            self._end()
        except (ArchiveError, OSError) as error:
            raise refused(self.path, error) from error

    def _content(self, member: Member) -> Iterator[bytes]:
        hasher = blake3()
        left = member.size_bytes
        while left:
            try:
                data = self._piece(min(left, _PIECE_BYTES))
            except (ArchiveError, OSError) as error:
                raise refused(self.path, error) from error
            left -= len(data)
            hasher.update(data)
            yield data
        if hasher.hexdigest() != member.digest:
            raise refused(self.path, ArchiveError(f"{one_line(member.path)} in it is not what its manifest says"))

    def _end(self) -> None:
        if any(self._exactly(2 * form.BLOCK)):
            raise ArchiveError("it holds more than its manifest lists")
        fed = b""
        while True:
            if self._decompress(fed, 1):
                raise ArchiveError("something stands behind its end")
            if self._stream.is_over:
                break
            fed = self._fed()
            if not fed:
                raise ArchiveError("it ends too early")
        rest = self._stream.unused
        while len(rest) <= self._kind.trailer_bytes and (data := self._fed()):
            rest += data
        if len(rest) != self._kind.trailer_bytes:
            is_long = len(rest) > self._kind.trailer_bytes
            raise ArchiveError("something stands behind its end" if is_long else "it ends too early")
        if self._hasher.digest() != self._expected:
            raise ArchiveError("it is not what it was when it was written: its digest is another")


def refused(path: str, error: Exception) -> UnusableArchiveError:
    """Return the error for a file that is no archive that can be used."""
    why = str(error) if isinstance(error, ArchiveError) else f"it cannot be read ({error})"
    return UnusableArchiveError(
        f"{one_line(path)} cannot be used: {one_line(why)}",
        help="make it again where it came from, or take a copy of it",
    )


def read_manifest(path: str) -> Manifest:
    """Return the manifest of an archive; nothing behind it is read. Raises CheckpointError."""
    with Archive(path) as archive:
        manifest: Manifest = archive.manifest
        return manifest


def verify(path: str) -> Manifest:
    """Read an archive to its end and return its manifest when all of it is right. Raises CheckpointError."""
    with Archive(path) as archive:
        for _, content in archive.members():
            for _ in content:
                pass
        manifest: Manifest = archive.manifest
        return manifest


def unpack(
    archive: Archive,
    disk: Disk,
    directory: str,
    outputs: str = "",
    *,
    is_wanted: Callable[[str], bool] = lambda _: True,
    mask: int = 0o777,
) -> None:
    """Write the files of a run into `directory`, which must be empty and nobody else's, its outputs below `outputs`.

    Nothing in it may be used unless this returned. Not durable. Without `outputs` they are checked and forgotten, as
    are files that are not wanted. Raises CheckpointError, NotRecordedError.
    """
    for path, mode in archive.manifest.directories:
        if is_wanted(path):
            streams.make_directory(disk, f"{directory}/{path}", (mode & mask) | 0o700)
    made: set[str] = set()
    for member, content in archive.members():
        top = outputs if member.is_output else directory
        if not top or not (member.is_output or is_wanted(member.path)):
            for _ in content:
                pass
            continue
        if member.is_output:
            _make_above(disk, outputs, member.path, made)
        streams.fill(disk, f"{top}/{member.path}", content, (member.mode & mask) | 0o600)


def _make_above(disk: Disk, top: str, path: str, made: set[str]) -> None:
    above = form.parent(path)
    if above and above not in made:
        _make_above(disk, top, above, made)
        streams.make_directory(disk, f"{top}/{above}", 0o700)
        made.add(above)
