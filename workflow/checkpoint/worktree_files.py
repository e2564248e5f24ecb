"""What differs between two kept work trees, and bringing files back from one."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from workflow.checkpoint.worktree import Private

_LINK = "160000"
_CHANGES = {"A": "added", "D": "removed", "M": "changed", "T": "changed", "R": "renamed", "C": "added"}


class Change(NamedTuple):
    """A file that differs: `change` is added, removed, changed or renamed (then `before` is what it was called)."""

    path: bytes
    change: str
    before: bytes | None = None
    is_submodule: bool = False


def changes(private: Private, first: str, second: str, *, with_renames: bool) -> list[Change]:
    """Return what differs between two trees or commits, from the first to the second, by path. Raises GitError."""
    rename = ("-M", "-l1000") if with_renames else ("--no-renames",)
    words = ("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-ext-diff", "--no-textconv", *rename)
    said = private.call(*words, f"{first}^{{tree}}", f"{second}^{{tree}}")
    return sorted(_read(said))


def _read(said: bytes) -> Iterator[Change]:
    words = iter(said.split(b"\0"))
    for about in words:
        if not about.startswith(b":"):
            continue
        old_mode, new_mode, _, _, letter = about[1:].decode("ascii").split(" ")
        path = next(words)
        before = None
        if letter[0] in "RC":
            before, path = path, next(words)
        kind = _CHANGES.get(letter[0], "changed")
        yield Change(path, kind, before if letter[0] == "R" else None, _LINK in (old_mode, new_mode))


class InTheWayError(Exception):
    """Files cannot be written without removing something else; `paths` are what is in the way (from the top)."""

    def __init__(self, paths: Sequence[bytes]) -> None:
        super().__init__()
        self.paths = tuple(paths)


def refuse_in_the_way(top: str, paths: Collection[bytes]) -> None:
    """Raise InTheWayError where a directory stands where a file is to be, or a file or link where a directory is."""
    base = os.fsencode(top)
    known: dict[bytes, bytes | None] = {b"": None}
    found: dict[bytes, None] = {}
    for path in paths:
        if _is_directory(os.path.join(base, path)) is True:
            found.setdefault(path)
        elif (blocked := _blocked(base, os.path.dirname(path), known)) is not None:
            found.setdefault(blocked)
    if found:
        raise InTheWayError(tuple(found))


def _blocked(base: bytes, directory: bytes, known: dict[bytes, bytes | None]) -> bytes | None:
    """Return what is no directory on the way to one, None where there is nothing."""
    if directory not in known:
        above = _blocked(base, os.path.dirname(directory), known)
        if above is None and _is_directory(os.path.join(base, directory)) is False:
            above = directory
        known[directory] = above
    return known[directory]


def _is_directory(path: bytes) -> bool | None:
    """Return whether there is a directory, and no link; None when there is nothing."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return None


def write(private: Private, commit: str, paths: Sequence[bytes]) -> None:
    """Write files as they are in a commit, each with its x bit; whatever was there is replaced. Raises GitError.

    Git writes them: every path is checked, none leads through a link or into git's own files. A kill in between
    leaves some written and others not; doing it again does the rest.
    """
    index = "restored"
    private.forget(index)
    private.call("read-tree", f"{commit}^{{tree}}", index=index)
    given = b"".join(path + b"\0" for path in paths)
    private.call("checkout-index", "-f", "-z", "--stdin", given=given, index=index)
    private.forget(index)
