"""The copies that a run keeps of its sources, in `archive/`: written beside the run, listed, read back.

Only what changed since its last copy is copied again. Nothing rests on a copy: what cannot be kept is told, and the
run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.errors import NotRecordedError, one_line, size_text

MOST_BYTES = 16 * 1024 * 1024
# Where many are copied at once, one call for all of them is cheaper than two for each.
MOST_ONE_BY_ONE = 8
LOOKS = 3
LARGEST_INDEX_BYTES = 64 * 1024 * 1024
DEFINITION = "definition"
POLICY = "policy"
SOURCE = "step"
NAMED = "file"
REPLACED = "replaced"
COPY_NAME = re.compile(r"[^/\0]*_\d{8}_\d{6}(?:_\d+)?(?:\.[^/\0]*)?\Z")
# What people keep keys and passwords in: a copy of it would lie in every export and every backup of the run.
_SECRETS = re.compile(
    r"\.env(?:\..+)?|\.netrc|\.pgpass|\.git-credentials|\.npmrc|\.pypirc|\.htpasswd|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|credentials(?:\..+)?|secrets?(?:\..+)?|.+\.(?:pem|key|p12|pfx|jks|kdbx|keystore)",
    re.IGNORECASE,
)
_NOT_SECRETS = re.compile(r"\.env\.(?:example|sample|template|dist)", re.IGNORECASE)
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Item(NamedTuple):
    """A file to keep a copy of. `path` is absolute; `step` the number of the step that wants it, if one does.

    `digest` is that of its content, where it is known; `is_expected` False: it may well not be there yet.
    """

    path: str
    what: str
    step: int | None = None
    iteration: int = 0
    digest: str = ""
    is_expected: bool = True


class Copy(NamedTuple):
    """A copy as the index tells of it. `path` is that of the file, from the project where it lies inside it.

    `name` is that of the copy in `archive/`, `at` when it was made, `mode` the permissions of the file.
    """

    name: str
    path: str
    what: str
    at: float
    size_bytes: int
    mode: int
    digest: str
    step: int | None = None
    iteration: int = 0


class NotKeptError(Exception):
    """No copy can be made of a file; the message says why."""


class Copies:
    """Writes the copies of one invocation. Call it from one thread at a time."""

    def __init__(self, disk: Disk, layout: RunLayout, project: str, *, is_new: bool) -> None:
        """`is_new`: the run has no copies yet, and nobody need look for them."""
        self._disk = disk
        # Of a file that only its owner may read there is no copy that others may.
        self._private = Disk(private=True, faults=disk.faults)
        self._layout = layout
        self._project = project
        self._root = os.path.realpath(project)
        self._known = {} if is_new else {copy.path: copy.digest for copy in read_index(layout)}
        self._is_there = not is_new and os.path.isdir(layout.copies_dir)
        self._is_torn = not is_new
        self._told: set[str] = set()

    def close(self) -> None:
        self._private.close()

    def keep(self, items: Iterable[Item], *, sync: bool = True) -> list[str]:
        """Copy those of the files that changed since their last copy; return what people should know, each once.

        Durable on return, with `sync`. Never raises for what a file or the disk is like.
        """
        fresh: list[tuple[Item, bytes, int, str]] = []
        problems: list[str] = []
        seen = set()
        for item in items:
            shown = self._shown(item.path)
            if shown in seen or (item.digest and self._known.get(shown) == item.digest):
                continue
            seen.add(shown)
            try:
                if item.what in (NAMED, REPLACED):
                    _refuse_outside(item.path, self._root)
                data, mode = read(item.path)
            except FileNotFoundError:
                if item.is_expected:
                    problems.append(f"no copy of {one_line(shown)} was kept: it is not there")
                continue
            except NotKeptError as error:
                problems.append(f"no copy of {one_line(shown)} was kept: {error}")
                continue
            digest = records.digest(data)
            if self._known.get(shown) != digest:
                fresh.append((item, data, mode, digest))
        if fresh:
            try:
                self._write(fresh, sync)
            except NotRecordedError as error:
                problems.append(f"no copies were kept: {error.message}")
        return self._untold(problems)

    def _untold(self, problems: list[str]) -> list[str]:
        new = [text for text in problems if text not in self._told]
        self._told.update(new)
        return new

    def _shown(self, path: str) -> str:
        inside = os.path.relpath(path, self._project)
        return path if inside.startswith(os.pardir) else inside

    def _write(self, fresh: Sequence[tuple[Item, bytes, int, str]], sync: bool) -> None:
        if not self._is_there:
            self._disk.make_directories(self._layout.copies_dir)
            self._is_there = True
        at = time.time()
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(at))
        taken: set[str] = set()
        together = []
        made = []
        for item, data, mode, digest in fresh:
            shown = self._shown(item.path)
            name = self._free_name(os.path.basename(item.path), stamp, taken)
            path = f"{self._layout.copies_dir}/{name}"
            disk = self._disk if mode & 0o077 else self._private
            if sync and len(fresh) > MOST_ONE_BY_ONE:
                together.append(disk.stage(path, data))
            else:
                disk.write(path, data, sync=sync)
            made.append(Copy(name, shown, item.what, at, len(data), mode, digest, item.step, item.iteration))
        if together and not self._disk.put_in_order(self._layout.copies_dir, [together]):
            self._disk.unstage(together)
            raise NotRecordedError("this system cannot make many files durable at once")
        # A line that a crash cut off must not take the next one with it.
        lines = (b"\n" if self._is_torn else b"") + b"".join(map(_encode, made))
        self._is_torn = True
        self._disk.append(self._layout.copies_index, lines, sync=sync)
        self._is_torn = False
        self._known.update((copy.path, copy.digest) for copy in made)

    def _free_name(self, base: str, stamp: str, taken: set[str]) -> str:
        stem, ending = os.path.splitext(base)
        # Two hundred bytes leave room for the stamp, whatever the file is called.
        stem = os.fsdecode(os.fsencode(stem)[:200])
        ending = os.fsdecode(os.fsencode(ending)[:20])
        name, again = f"{stem}_{stamp}{ending}", 1
        while name in taken or os.path.lexists(f"{self._layout.copies_dir}/{name}"):
            again += 1
            name = f"{stem}_{stamp}_{again}{ending}"
        taken.add(name)
        return name


def _refuse_outside(path: str, root: str) -> None:
    """Raise NotKeptError for a file that a link leads to and that lies outside of `root`, which is free of links.

    Sources are copied wherever they lie: they are what is run.
    """
    real = os.path.realpath(path)
    if not real.startswith(root + os.sep):
        is_led = os.path.islink(path) or os.path.normpath(path).startswith(root + os.sep)
        how = f"a link leads out of the project, to {one_line(real)}" if is_led else "it lies outside of the project"
        raise NotKeptError(how)


def read(path: str) -> tuple[bytes, int]:
    """Return content and permissions of a file as it was at one moment.

    Raises FileNotFoundError, and NotKeptError for what is no file that we keep copies of.
    """
    # A link may have a harmless name.
    names = {os.path.basename(path), os.path.basename(os.path.realpath(path))}
    if any(_SECRETS.fullmatch(name) and not _NOT_SECRETS.fullmatch(name) for name in names):
        raise NotKeptError("by its name it holds secrets, and those are never copied")
    try:
        for _ in range(LOOKS):
            found = _read_whole(path)
            if found is not None:
                return found
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError(path) from error
        raise NotKeptError(f"it cannot be read ({error.strerror})") from error
    raise NotKeptError("it changed each time while it was read")


def _read_whole(path: str) -> tuple[bytes, int] | None:
    """Return content and permissions; None where the file changed meanwhile."""
    fd = os.open(path, _READ)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            kind = "a directory: name the files in it" if stat.S_ISDIR(before.st_mode) else "no plain file"
            raise NotKeptError(f"it is {kind}")
        if before.st_size > MOST_BYTES:
            raise NotKeptError(f"it has {size_text(before.st_size)}, and {size_text(MOST_BYTES)} is the most")
        pieces = []
        size = 0
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                return None
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        return None
    return b"".join(pieces), stat.S_IMODE(after.st_mode)


def _encode(copy: Copy) -> bytes:
    fields = copy._asdict() | {"at": round(copy.at, 3), "mode": f"{copy.mode:04o}"}
    return json.dumps(fields).encode("ascii") + b"\n"


def _decode(line: bytes) -> Copy | None:
    try:
        fields: dict[str, Any] = json.loads(line)
        step, name = fields["step"], fields["name"]
        copy = Copy(
            name,
            fields["path"],
            fields["what"],
            float(fields["at"]),
            int(fields["size_bytes"]),
            int(fields["mode"], 8) & 0o777,
            fields["digest"],
            None if step is None else int(step),
            int(fields["iteration"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_text = all(isinstance(it, str) and it for it in (name, copy.path, copy.what, copy.digest))
    return copy if is_text and COPY_NAME.match(name) and "\0" not in copy.path else None


def read_index(layout: RunLayout) -> list[Copy]:
    """Return the copies of a run, oldest first; lines that were cut off or make no sense are left out."""
    try:
        fd = os.open(layout.copies_index, _READ | os.O_NOFOLLOW)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as file:
        data = file.read(LARGEST_INDEX_BYTES)
    return [copy for line in data.split(b"\n") if line and (copy := _decode(line)) is not None]


def content_of(layout: RunLayout, copy: Copy) -> bytes:
    """Return what a copy holds. Raises NotKeptError where it is gone, or not what was copied."""
    try:
        fd = os.open(f"{layout.copies_dir}/{copy.name}", _READ | os.O_NOFOLLOW)
    except OSError as error:
        raise NotKeptError(f"it cannot be read ({error.strerror})") from error
    with os.fdopen(fd, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if records.digest(data) != copy.digest:
        raise NotKeptError("it is damaged: it is not what was copied")
    return data
