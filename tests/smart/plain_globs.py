"""What patterns of inputs mean, said as directly as can be: path by path, name by name. The slow twin of globs.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

MAGIC = frozenset("*?[")


def is_magic(segment: str) -> bool:
    return not MAGIC.isdisjoint(segment)


def name_matches(segment: str, name: str) -> bool:
    """Whether one name is like one segment; hidden names only where the segment begins with a dot."""
    return (segment.startswith(".") or not name.startswith(".")) and _like(segment, name)


def _like(segment: str, name: str) -> bool:
    if not segment:
        return not name
    if segment[0] == "*":
        return any(_like(segment[1:], name[at:]) for at in range(len(name) + 1))
    if not name:
        return False
    end = segment.find("]", 3 if segment[1:2] == "!" else 2)
    if segment[0] == "[" and end > 0:
        chosen = segment[1:end]
        is_in = name[0] not in chosen[1:] if chosen[0] == "!" else name[0] in chosen
        return is_in and _like(segment[end + 1 :], name[1:])
    return segment[0] in ("?", name[0]) and _like(segment[1:], name[1:])


def means(segments: Sequence[str], names: Sequence[str], *, is_directory: bool) -> bool:
    """Whether a pattern with a special character stands for a path that is there."""
    head, rest = segments[0], segments[1:]
    if head == "**":
        if not rest:
            return bool(names) and not is_directory and not any(it.startswith(".") for it in names)
        if means(rest, names, is_directory=is_directory):
            return True
        return bool(names) and not names[0].startswith(".") and means(segments, names[1:], is_directory=is_directory)
    if not names or not (name_matches(head, names[0]) if is_magic(head) else head == names[0]):
        return False
    if rest:
        return means(rest, names[1:], is_directory=is_directory)
    return len(names) == 1 and not is_directory if is_magic(head) else True


def takes_out(segments: Sequence[str], names: Sequence[str]) -> bool:
    """Whether `!PATTERN` takes a path out: because it names it, or a directory above it."""
    return any(_names(segments, names[:length]) for length in range(len(names) + 1))


def _names(segments: Sequence[str], names: Sequence[str]) -> bool:
    if not segments:
        return not names
    if segments[0] == "**":
        if not segments[1:]:
            return bool(names) and not any(it.startswith(".") for it in names)
        return _names(segments[1:], names) or (
            bool(names) and not names[0].startswith(".") and _names(segments, names[1:])
        )
    is_like = bool(names) and (
        name_matches(segments[0], names[0]) if is_magic(segments[0]) else segments[0] == names[0]
    )
    return is_like and _names(segments[1:], names[1:])


def parts(path: str) -> list[str]:
    return [it for it in path.split("/") if it not in ("", ".")]


def reachable(base: str) -> Iterator[tuple[list[str], bool]]:
    """Yield every path below a directory, with whether it is one, through links, no directory twice on the way down."""

    def below(directory: str, names: list[str], above: frozenset[tuple[int, int]]) -> Iterator[tuple[list[str], bool]]:
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            is_directory = os.path.isdir(path)
            here = (os.stat(path).st_dev, os.stat(path).st_ino) if is_directory else (0, 0)
            yield [*names, name], is_directory
            if is_directory and here not in above:
                yield from below(path, [*names, name], above | {here})

    top = os.stat(base)
    yield from below(base, [], frozenset({(top.st_dev, top.st_ino)}))


def expanded(base: str, patterns: Sequence[str]) -> set[str]:
    """Return what patterns stand for, by holding every path that there is against each of them."""
    found: set[str] = set()
    for pattern in (it for it in patterns if not it.startswith("!")):
        segments = parts(pattern)
        if not any(map(is_magic, segments)):
            found.add("/".join(segments) or ".")
        for names, is_directory in reachable(base):
            if any(map(is_magic, segments)):
                is_meant = means(segments, names, is_directory=is_directory)
            else:
                is_meant = names[: len(segments)] == segments
            if is_meant:
                found.add("/".join(names))
    out = [parts(it[1:]) for it in patterns if it.startswith("!")]
    return {path for path in found if not any(takes_out(it, parts(path)) for it in out)}


def may_mean(base: str, patterns: Sequence[str], path: str) -> bool:
    """Whether some pattern stands for a path that is there, or is that path; for those that go round in circles."""
    names, is_directory = parts(path), os.path.isdir(os.path.join(base, path))
    meant = [parts(it) for it in patterns if not it.startswith("!")]
    return any(
        means(it, names, is_directory=is_directory) if any(map(is_magic, it)) else names[: len(it)] == it
        for it in meant
    )
