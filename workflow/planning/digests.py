"""Digests of files, kept by what stat says of them, so that ten thousand unchanged inputs are looked at and not read.

An entry counts only while size, time of change, time of the inode's change, inode and device are all the same. The
time of the inode's change cannot be set by a program, so a file that was given back its size and its time of change
does not pass. A file that changed shortly before it was read is not kept: within one tick of the clock it could change
again without a trace. The cache is one file; damaged, of another machine or of another algorithm it is begun anew.
"""

from __future__ import annotations

import os
import stat
import time
from typing import NamedTuple

from blake3 import blake3

from workflow.checkpoint.durable import Disk
from workflow.errors import NotRecordedError

_KIND = b"workflow digests "
HEADER = _KIND + b"1 blake3 "
# Clocks of file systems tick every few milliseconds, those of some every second or two; a file server's may be off.
RECENT_NS = 3_000_000_000
CHUNK_BYTES = 1 << 20
HEX_LENGTH = 64
LARGEST_CACHE_BYTES = 512 << 20


class UnreadableError(OSError):
    """A file that is there and of which nothing can be said: not readable, or different each time it is read."""


class Seen(NamedTuple):
    """What a path was: `text` is equal for equal content, kind, executability and target; ABSENT where nothing is."""

    text: str

    @property
    def is_there(self) -> bool:
        return self.text != ABSENT.text


ABSENT = Seen("absent")


def file_digest(text: str) -> str | None:
    """Return `blake3:<hex>` of the file, or the one behind the link, of which `text` (Seen.text) is said; else None."""
    *_, kind, digest = ("", *text.split(":"))
    return f"blake3:{digest}" if kind in ("file", "exe") and len(digest) == HEX_LENGTH else None


class Digests:
    """The digests of files. One thread at a time; `save` when all is said."""

    def __init__(self, path: str, machine: str) -> None:
        """`path` is where the cache lies, `machine` what tells this machine from others."""
        self._path = path
        self._header = HEADER + machine.encode("utf-8", "surrogateescape").hex().encode("ascii") + b"\n"
        self._known: dict[bytes, bytes] = {}
        self._kept: dict[bytes, bytes] = {}
        self._is_changed = False
        self._is_loaded = False
        self.problem = ""
        self.read_count = 0

    def of(self, path: str) -> Seen:
        """Return what is at `path` now. Raises UnreadableError."""
        try:
            return self._of(path)
        except UnreadableError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        except OSError as error:
            raise UnreadableError(error.errno, error.strerror, path) from error

    def _of(self, path: str) -> Seen:
        status = os.lstat(path)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            return Seen(f"{'exe' if mode & 0o111 else 'file'}:{self._content(path, status)}")
        if stat.S_ISLNK(mode):
            return self._link(path)
        if stat.S_ISDIR(mode):
            return Seen("directory")
        return Seen(f"special:{stat.S_IFMT(mode):o}:{status.st_rdev}")

    def _link(self, path: str) -> Seen:
        try:
            target = os.readlink(path)
            status = os.stat(path)
        except FileNotFoundError:
            return Seen(f"link:{os.readlink(path)}:absent") if os.path.islink(path) else ABSENT
        except OSError as error:  # a loop
            return Seen(f"link:{os.readlink(path)}:{error.strerror}")
        if stat.S_ISREG(status.st_mode):
            kind = "exe" if status.st_mode & 0o111 else "file"
            return Seen(f"link:{target}:{kind}:{self._content(path, status)}")
        return Seen(f"link:{target}:{stat.S_IFMT(status.st_mode):o}")

    def _content(self, path: str, status: os.stat_result) -> str:
        self.load()
        name = os.fsencode(path)
        key = _key(status)
        known = self._known.get(name)
        if known is not None and known.startswith(key):
            self._kept[name] = known
            return known[len(key) :].decode("ascii")
        for _ in range(2):
            text, read_as, at_ns = self._read(path)
            if text is not None:
                entry = _key(read_as) + text.encode("ascii")
                if _is_settled(read_as, at_ns):
                    self._kept[name] = entry
                    self._is_changed = True
                return text
        raise UnreadableError(0, "it changes while it is being read", path)

    def _read(self, path: str) -> tuple[str | None, os.stat_result, int]:
        """Return the digest, None when the file changed meanwhile; what it was when it was read; and when that was."""
        self.read_count += 1
        at_ns = time.time_ns()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                before = os.fstat(fd)
                hasher = blake3()
                while piece := os.read(fd, CHUNK_BYTES):
                    hasher.update(piece)
                after = os.fstat(fd)
            finally:
                os.close(fd)
        except FileNotFoundError as error:
            raise UnreadableError(error.errno, "it vanished while it was looked at", path) from error
        except OSError as error:
            raise UnreadableError(error.errno, error.strerror, path) from error
        return (hasher.hexdigest() if _key(before) == _key(after) else None), before, at_ns

    # ------------------------------------------------------------------ the file

    def load(self) -> None:
        """Read the cache, if that has not been done; `problem` says what is wrong with it."""
        if self._is_loaded:
            return
        self._is_loaded = True
        try:
            with open(self._path, "rb") as file:
                data = file.read(LARGEST_CACHE_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            self.problem = f"the cache of digests cannot be read ({error.strerror}); it is begun anew"
            return
        if data.startswith(_KIND) and not data.startswith(HEADER):
            self.problem = "the cache of digests is of another version or algorithm; it is begun anew"
            return
        body, _, closing = data.rpartition(b"\n")
        if not data.startswith(HEADER) or closing != blake3(body).hexdigest().encode("ascii"):
            self.problem = "the cache of digests is damaged; it is begun anew"
            return
        if not data.startswith(self._header):
            self.problem = "the cache of digests is of another machine; it is begun anew"
            return
        parts = body[len(self._header) :].split(b"\0")
        self._known = dict(zip(parts[0::2], parts[1::2], strict=False))

    def save(self, disk: Disk) -> None:
        """Write the cache when it has changed; what was not asked for stays as long as it is not too much."""
        if not self._is_changed:
            return
        entries = {**self._known, **self._kept}
        body = self._header + b"".join(b"%s\0%s\0" % pair for pair in entries.items())
        try:
            disk.write(self._path, b"%s\n%s" % (body, blake3(body).hexdigest().encode("ascii")), sync=False)
        except NotRecordedError:  # a cache: the next run reads more
            return
        self._is_changed = False


def _key(status: os.stat_result) -> bytes:
    return b"%d:%d:%d:%d:%d:" % (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def _is_settled(status: os.stat_result, at_ns: int) -> bool:
    """Return whether a file had not changed for long enough when it was read, by its clock and by ours."""
    latest = max(status.st_mtime_ns, status.st_ctime_ns)
    return latest + RECENT_NS < at_ns
