"""Values that remember where they were written: what every reader hands on.

A `Page` is a text problems can point into; a `Node` is one scalar, list or mapping on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from workflow.errors import Problem, count, one_line

DEEPEST_NESTING = 100
MOST_NODES = 1_000_000
MOST_DIGITS = 18
LARGEST_SHOWN_TEXT = 8_000_000  # characters; of a larger one no lines are shown, only their numbers
LONGEST_EXCERPT = 300  # characters of a source line that a message shows
# Both YAML readers end a line at these; so must the excerpt beside the caret.
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(slots=True)
class Page:
    """A text as people see it in `path`. `rows` maps its lines to lines of the file, None when they are the same.

    `shift` is how many characters stand in the file before the first of each line (the `#| ` of a script).
    """

    path: str
    text: str
    rows: Sequence[int] | None = None
    excerpts: Sequence[str] | None = None
    shift: int = 0

    def line(self, row: int) -> int:
        """Return the file's own line, counted from 1, of a row counted from 0."""
        if self.rows is None:
            return row + 1
        return self.rows[min(row, len(self.rows) - 1)]

    def problem(self, message: str, row: int, column: int, length: int = 1, help: str = "") -> Problem:
        """Return a problem at `row` and `column`, both counted from 0 on this page."""
        if self.excerpts is None:
            # Lines of a huge text would take many times its memory.
            self.excerpts = _LINE_BREAK.split(self.text) if len(self.text) <= LARGEST_SHOWN_TEXT else ()
        excerpt = self.excerpts[row] if row < len(self.excerpts) else ""
        if len(excerpt) > LONGEST_EXCERPT:
            excerpt = excerpt[:LONGEST_EXCERPT] if column + self.shift < LONGEST_EXCERPT else ""
        return Problem(message, self.path, self.line(row), column + self.shift + 1, length, excerpt, help)


class Entry(NamedTuple):
    """One `key: value`, each with its place."""

    key: Node
    value: Node


@dataclass(slots=True)
class Node:
    """A scalar (`items` and `entries` None), a list or a mapping, and its place on its page, counted from 0.

    `is_plain`: a scalar without quotes, which may mean a number. `size` counts nodes with aliases written out.
    """

    page: Page
    row: int
    column: int
    length: int = 1
    text: str = ""
    is_plain: bool = False
    items: list[Node] | None = None
    entries: dict[str, Entry] | None = None
    size: int = 1
    height: int = 1

    @property
    def line(self) -> int:
        """The line in the file, counted from 1."""
        return self.page.line(self.row)

    def problem(self, message: str, help: str = "") -> Problem:
        """Return a problem whose caret is under this node."""
        return self.page.problem(message, self.row, self.column, self.length, help)

    def at(self, path: Sequence[str | int]) -> Node:
        """Return the value that `path` (keys and indices) leads to; an empty one gives the place of its key."""
        node = self
        for part in path:
            if node.entries is not None and isinstance(part, str):
                entry = node.entries[part]
                node = entry.value
                if node.is_plain and not node.text:
                    node = entry.key
            elif node.items is not None and isinstance(part, int):
                node = node.items[part]
        return node

    def key(self, word: str) -> Node:
        """Return the place of a key of this mapping."""
        return self.entries[word].key if self.entries else self

    def walk(self) -> Iterator[Node]:
        """Yield every scalar below, keys too."""
        if self.entries is not None:
            for entry in self.entries.values():
                yield entry.key
                yield from entry.value.walk()
        elif self.items is not None:
            for item in self.items:
                yield from item.walk()
        else:
            yield self


def twice(key: Node, first: Node) -> Problem:
    """Return the problem of a key that its mapping has already."""
    message = f"the key `{one_line(key.text[:80])}` stands here twice; it was first in line {first.line}"
    return key.problem(message, "keep one of them")


class Oddity(NamedTuple):
    """A scalar that is a number to YAML but to nobody else; no schema type fits it."""

    phrase: str


def plain(node: Node, texts: frozenset[str] = frozenset()) -> Any:
    """Return the value as JSON knows it, by the core rules of YAML 1.2 (`no` is text, 010 is ten).

    Below a key in `texts`, scalars stay as they were written (1.10 is not 1.1); only an absent value is None.
    """
    if node.entries is not None:
        return {
            word: _as_written(entry.value) if word in texts else plain(entry.value)
            for word, entry in node.entries.items()
        }
    if node.items is not None:
        return [plain(item) for item in node.items]
    return _scalar(node.text) if node.is_plain else node.text


def _as_written(node: Node) -> Any:
    if node.entries is None:
        return plain(node)
    return {word: _texts(value) for word, (_, value) in node.entries.items()}


def _texts(node: Node) -> Any:
    """Return a scalar as it was written, and a list of them the same way."""
    if node.items is not None:
        return [plain(item) if item.items is not None else _texts(item) for item in node.items]
    if node.entries is not None or (node.is_plain and node.text in _WORDS):
        return plain(node)
    return node.text


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return None
    if text in _WORDS_BOOL:
        return _WORDS_BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        # Beyond this no option means anything, and turning a million digits into a number takes minutes.
        return int(text) if len(text) <= MOST_DIGITS else Oddity(f"a number of {count(len(text), 'digit')}")
    if _FLOAT.fullmatch(text):
        if len(text) > 64:
            return Oddity(f"a number of {count(len(text), 'character')}")
        number = float(text)
        return number if abs(number) < float("inf") else Oddity("a number beyond all bounds")
    if _NOT_FINITE.fullmatch(text):
        return Oddity(f"{text} (not a number one can count with)")
    return text


def found(value: object) -> str:
    """Return what a value is, for the end of `wants X, not ...`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Oddity):
        return value.phrase
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        if not value:
            return "an empty text"
        shown = one_line(value[:41])
        return f"the text `{shown[:40]}...`" if len(value) > 40 else f"the text `{shown}`"
    what = "list" if isinstance(value, list) else "mapping"
    return f"a {what}" if value else f"an empty {what}"
