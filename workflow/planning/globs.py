"""Declared inputs: patterns of paths, and the files they stand for now.

`*`, `?` and `[…]` match within a name, `**` any number of directories, none included; names that begin with a dot are
matched by patterns that begin with a dot. What ends in one of these stands for files; what ends in a name, for what is
there, and where that is a directory, for everything below it, hidden files too. `!PATTERN` takes files out again. Links
to directories are followed, loops are not.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Sequence
from fnmatch import translate
from functools import cache
from typing import NamedTuple

MAGIC = re.compile(r"[*?\[]")


class Expanded(NamedTuple):
    """The paths, relative to the base, sorted; and the patterns that stand for nothing.

    A plain path that is not there is among the paths: that it is absent is a fact about it. `unreadable` are
    directories that could not be looked into. `looked` are absolute paths that the answer depends on besides the paths
    themselves, `has_links` tells whether a link had a part in it.
    """

    paths: list[str]
    empty: list[str]
    unreadable: list[str]
    looked: list[str]
    has_links: bool


def expand(base: str, patterns: Sequence[str], left_out: Collection[str] = ()) -> Expanded:
    """Return what patterns stand for, from the directory `base`.

    `left_out` are absolute directories that are not entered, unless a pattern begins with their very names.
    """
    found: dict[str, None] = {}
    empty: list[str] = []
    walk = _Walk(base, frozenset(left_out))
    for pattern in patterns:
        if pattern.startswith("!"):
            continue
        walk.enter_what_is_named(pattern)
        before = len(walk.hits)
        walk.match(pattern)
        if len(walk.hits) == before:
            empty.append(pattern)
        found.update(dict.fromkeys(walk.hits))
        walk.hits.clear()
    for pattern in patterns:
        if pattern.startswith("!"):
            is_out = _matcher(pattern[1:])
            found = {path: None for path in found if not is_out(path)}
    return Expanded(sorted(found), empty, walk.unreadable, walk.looked, walk.has_links)


def is_meant(path: str, patterns: Sequence[str]) -> bool:
    """Return whether patterns mean a path, relative to their base, that need not be there any more."""
    return any(_matcher(it)(path) for it in patterns if not it.startswith("!")) and not any(
        _matcher(it[1:])(path) for it in patterns if it.startswith("!")
    )


def may_lead_through(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a path, relative to their base, may stand on the way to what patterns mean, or is meant itself."""
    return any(_after(_parts(path), _parts(it)) != frozenset() for it in patterns if not it.startswith("!"))


def fixed_part(pattern: str) -> str:
    """Return the path that a pattern begins with, up to the first name that stands for many."""
    return pattern[: found.start()].rpartition("/")[0] if (found := MAGIC.search(pattern)) else pattern


class _Walk:
    def __init__(self, base: str, left_out: frozenset[str]) -> None:
        self.base = base
        self.hits: list[str] = []
        self.unreadable: list[str] = []
        self.looked: list[str] = []
        self.has_links = False
        self._left_out = left_out
        self._entered: set[str] = set()

    def enter_what_is_named(self, pattern: str) -> None:
        """Let a pattern that begins with the name of a directory that is left out look into it."""
        path = os.path.normpath(os.path.join(self.base, fixed_part(pattern)))
        self._entered = {it for it in self._left_out if path == it or path.startswith(f"{it}/")}

    def match(self, pattern: str) -> None:
        path = os.path.normpath(pattern) if not pattern.endswith("/**") else pattern
        if not MAGIC.search(pattern):
            self._plain(path)
            return
        named = [it for it in pattern.split("/") if it not in ("", ".")]
        # `**/**` is `**`: the second would find itself where the first has been, as in a loop.
        segments = [it for at, it in enumerate(named) if it != "**" or named[at - 1 : at] != ["**"]]
        start = "/" if pattern.startswith("/") else ""
        self._below(start, segments, ())

    def _plain(self, path: str) -> None:
        full = os.path.join(self.base, path)
        try:
            is_directory = stat.S_ISDIR(os.stat(full).st_mode)
        except OSError:
            is_directory = False
        if is_directory:
            self._everything(path, ())
        self.hits.append(path)

    def _below(self, at: str, segments: Sequence[str], above: tuple[tuple[int, int], ...]) -> None:
        """Match the rest of a pattern from the directory `at` (relative to the base; empty: the base itself)."""
        head, rest = segments[0], segments[1:]
        if head == "**":
            self._any_depth(at, rest, above)
            return
        if not MAGIC.search(head):
            path = f"{at}/{head}" if at not in ("", "/") else at + head
            if rest:
                self.has_links = self.has_links or os.path.islink(os.path.join(self.base, path))
                self._below(path, rest, above)
            else:
                full = os.path.join(self.base, path)
                self.looked.append(full)
                if os.path.lexists(full):
                    self.hits.append(path)
                    if os.path.isdir(full):
                        self._everything(path, above)
            return
        is_like = _name_matcher(head)
        for name, path, is_directory in self._entries(at):
            if not is_like(name):
                continue
            if not rest:
                if not is_directory:
                    self.hits.append(path)
            elif is_directory:
                self._below(path, rest, above)

    def _any_depth(self, at: str, rest: Sequence[str], above: tuple[tuple[int, int], ...]) -> None:
        chain = self._chain(at, above)
        if chain is None:
            # Where a directory may come to be, that there is none yet is a fact, too.
            self.looked.append(os.path.join(self.base, at))
            return
        if rest:
            self._below(at, rest, chain)
        for name, path, is_directory in self._entries(at):
            if name.startswith("."):
                continue
            if is_directory:
                self._any_depth(path, rest, chain)
            elif not rest:
                self.hits.append(path)

    def _everything(self, at: str, above: tuple[tuple[int, int], ...]) -> None:
        chain = self._chain(at, above)
        if chain is None:
            return
        for _, path, is_directory in self._entries(at):
            # An empty directory is a fact, too: one more or less changes what a step sees.
            self.hits.append(path)
            if is_directory:
                self._everything(path, chain)

    def _chain(self, at: str, above: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...] | None:
        """Return the directories on the way down to `at` with it; None when it is one of them: a loop of links."""
        try:
            status = os.stat(os.path.join(self.base, at))
        except OSError:
            return None
        here = (status.st_dev, status.st_ino)
        return None if here in above else (*above, here)

    def _entries(self, at: str) -> list[tuple[str, str, bool]]:
        full = os.path.join(self.base, at)
        if (known := os.path.normpath(full)) in self._left_out and known not in self._entered:
            return []
        self.looked.append(full)
        try:
            with os.scandir(full) as entries:
                found = [(entry.name, self._is_directory(entry)) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            self.unreadable.append(at or ".")
            return []
        start = "" if not at else at if at.endswith("/") else f"{at}/"
        return [(name, f"{start}{name}", is_directory) for name, is_directory in sorted(found)]

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        try:
            self.has_links = self.has_links or entry.is_symlink()
            return entry.is_dir()
        except OSError:  # a link to itself
            return False


@cache
def _name_matcher(segment: str) -> Callable[[str], bool]:
    like = re.compile(translate(segment)).match
    is_for_hidden = segment.startswith(".")
    return lambda name: (is_for_hidden or not name.startswith(".")) and like(name) is not None


@cache
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return whether a path is one that the pattern names, or lies below it; names match as they do in `expand`."""
    segments = _parts(pattern)
    return lambda path: _after(_parts(path), segments) is None


def _parts(path: str) -> list[str]:
    return [it for it in os.path.normpath(path).split("/") if it not in ("", ".")]


def _after(names: Sequence[str], segments: Sequence[str]) -> frozenset[int] | None:
    """Return how many segments may be used up after these names, in every way there is; None: they are named, all."""
    reached = frozenset([0])
    if not segments:
        return None
    for name in names:
        following = set()
        for position in reached:
            at = position
            while at < len(segments) and segments[at] == "**":
                if not name.startswith("."):
                    following.add(at)
                    if at == len(segments) - 1:
                        return None
                at += 1
            if at < len(segments) and segments[at] != "**" and _segment_matches(segments[at], name):
                following.add(at + 1)
        if len(segments) in following:
            return None
        reached = frozenset(following)
    return reached


def _segment_matches(segment: str, name: str) -> bool:
    return _name_matcher(segment)(name) if MAGIC.search(segment) else segment == name
