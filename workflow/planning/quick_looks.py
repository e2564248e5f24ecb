"""A quick look at a step that was reused before: one lstat for each path it depends on, and one comparison.

After a whole look that ended with "reuse", everything that look went by is kept as one digest: the definition of the
step, its interpreter, the values it sees, and what stat says of every input, output, script and directory that was
listed. While all of that is the same to the last nanosecond, a whole look would read nothing and say the same. As
with digests of files, nothing is kept that changed shortly before it was looked at. Links are not kept: what they
lead to has more to it than one stat. A quick look only ever says "reuse"; whatever it cannot say is looked at as
a whole.
"""

from __future__ import annotations

import json
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from blake3 import blake3

from workflow.checkpoint.durable import Disk
from workflow.errors import NotRecordedError
from workflow.planning import digests

VERSION = b"workflow quick looks 2 blake3"


class Quick(NamedTuple):
    """What is kept of one step: `token` is the digest of all it depends on, `paths` are what stat is asked about.

    `outputs` maps its declared outputs to what they are.
    """

    token: str
    run_id: str
    completed_at: str
    published: dict[str, str]
    env: dict[str, str]
    outputs: dict[str, str]
    program: list[str]
    paths: list[str]


class QuickLooks:
    """The quick looks of one workflow, bound to one record of its last successes."""

    def __init__(self, path: str, project: str, bound_to: bytes) -> None:
        """`bound_to` is all that holds for every step: the record of successes, the machine, the settings."""
        self._path = path
        self._start = f"{project}/"
        self._bound = bound_to
        self._known: dict[str, Quick] = {}
        self._found: dict[str, Quick] = {}
        self._load()

    def get(self, name: str) -> Quick | None:
        return self._known.get(name)

    def put(self, name: str, quick: Quick) -> None:
        self._found[name] = quick

    def drop(self, name: str) -> None:
        self._known.pop(name, None)
        self._found.pop(name, None)

    def token(self, paths: Iterable[str], facts: bytes, settled_at_ns: int | None = None) -> str:
        """Return the digest of what paths are and of `facts`; empty where that is no fit ground for a quick look.

        With `settled_at_ns` also for paths that changed shortly before, for links and for what is neither file nor
        directory.
        """
        start, lstat, keys = self._start, os.lstat, array("Q")
        extend = keys.extend
        try:
            for path in paths:
                try:
                    it = lstat(path if path[:1] == "/" else start + path)
                except (FileNotFoundError, NotADirectoryError):
                    extend((0, 0, 0, 0, 0, 0))
                    continue
                extend((it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino, it.st_dev, it.st_mode))
                if settled_at_ns is not None:
                    is_plain = stat.S_ISREG(it.st_mode) or stat.S_ISDIR(it.st_mode)
                    latest = max(it.st_mtime_ns, it.st_ctime_ns)
                    if not is_plain or latest + digests.RECENT_NS >= settled_at_ns:
                        return ""
        except (OSError, OverflowError):
            return ""
        return blake3(b"%d:%s%s" % (len(facts), facts, keys.tobytes())).hexdigest()

    def shortened(self, path: str) -> str:
        """Return a path as it is kept: from the project where it lies inside."""
        return path.removeprefix(self._start)

    # ------------------------------------------------------------------ the file

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                head, _, body = file.read().partition(b"\n")
            if head != self._head(self._bound, body):
                return  # of another record of successes, another machine; or damaged
            self._known = {name: Quick(*entry) for name, entry in json.loads(body).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._known = {}

    def save(self, disk: Disk, bound_to: bytes, is_kept: Callable[[str, str, str], bool]) -> None:
        """Write what was found; what was not looked at stays, but for what was dropped.

        `is_kept` says of a success of a step (name, run, time) whether it is the last one still.
        """
        if not self._found and bound_to == self._bound:
            return
        together = {**self._known, **self._found}
        entries = {name: it for name, it in together.items() if is_kept(name, it.run_id, it.completed_at)}
        body = json.dumps(entries, ensure_ascii=True).encode("ascii")
        try:
            disk.write(self._path, self._head(bound_to, body) + b"\n" + body, sync=False)
        except NotRecordedError:  # a cache: the next look takes longer
            return

    @staticmethod
    def _head(bound_to: bytes, body: bytes) -> bytes:
        digest = blake3(b"%d:%s%s" % (len(bound_to), bound_to, body)).hexdigest()
        return b"%s %s" % (VERSION, digest.encode("ascii"))


def facts_of(*parts: bytes) -> bytes:
    """Return several facts as one."""
    return b"".join(b"%d:%s" % (len(part), part) for part in parts)


def mapping_bytes(mapping: Mapping[str, str]) -> bytes:
    pairs = sorted(mapping.items())
    return facts_of(*(text.encode("utf-8", "surrogateescape") for pair in pairs for text in pair)) if pairs else b""
