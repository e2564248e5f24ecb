"""JSON text -> nodes with places: strict (RFC 8259), without recursion, bounded like the YAML reader.

The json module gives no places for values; its string scanner does the difficult part here all the same.
"""

from __future__ import annotations

import re
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined] # what JSONDecoder itself uses; typeshed leaves it out

from workflow.definition.nodes import DEEPEST_NESTING, MOST_NODES, Entry, Node, Page, twice
from workflow.errors import Problem, one_line

_SPACE = re.compile(r"[ \t\n\r]*")
_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.+-])|(?:true|false|null)(?!\w)")
_RUN = re.compile(r"[^\s,\]}\[{\"]+")


class _SyntaxError(Exception):
    def __init__(self, message: str, at: int, help: str = "", length: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.help = help
        self.length = length


def read(page: Page, problems: list[Problem]) -> Node | None:
    """Return the value on the page; None when it is empty or, with a problem added, when it is not JSON."""
    reader = _Reader(page, problems)
    try:
        return reader.document()
    except _SyntaxError as error:
        row, column = reader.place(error.at)
        problems.append(page.problem(error.message, row, column, error.length, error.help))
    return None


class _Reader:
    """One pass over the text; `row` and `row_start` follow the position so that places cost nothing extra."""

    def __init__(self, page: Page, problems: list[Problem]) -> None:
        self.page = page
        self.text = page.text
        self.problems = problems
        self.at = 0
        self.row = 0
        self.row_start = 0
        self.counted_to = 0
        self.nodes = 0

    def place(self, at: int) -> tuple[int, int]:
        """Return row and column, counted from 0, of an offset at or after the last one asked for."""
        newlines = self.text.count("\n", self.counted_to, at)
        if newlines:
            self.row += newlines
            self.row_start = self.text.rfind("\n", self.counted_to, at) + 1
        # From here on next time: from the start of the row, a huge text on one line would take for ever.
        self.counted_to = max(at, self.counted_to)
        return self.row, at - self.row_start

    def document(self) -> Node | None:
        self._skip()
        if self.at == len(self.text):
            return None
        root = self._value()
        stack = [root] if root.entries is not None or root.items is not None else []
        while stack:
            child = self._next_child(stack[-1])
            if child is None:
                stack.pop()
            elif child.entries is not None or child.items is not None:
                if len(stack) >= DEEPEST_NESTING:
                    raise _SyntaxError(f"this is nested more than {DEEPEST_NESTING} deep", self.at - 1)
                stack.append(child)
        self._skip()
        if self.at < len(self.text):
            raise _SyntaxError("there is more after the end of the document", self.at, "keep one value in the file")
        return root

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        assert match is not None  # it matches the empty text
        self.at = match.end()

    def _next_child(self, parent: Node) -> Node | None:
        """Read the next member of a list or mapping and put it there; None, past the bracket, when it ends."""
        self._skip()
        children = parent.entries if parent.entries is not None else parent.items
        closing = "}" if parent.entries is not None else "]"
        if self.text.startswith(closing, self.at):
            self.at += 1
            return None
        if children:
            self._expect(",", f"a `,` or `{closing}` was expected here")
            if self.text.startswith(closing, self.at):
                raise _SyntaxError(f"a `,` cannot stand before `{closing}` in JSON", self.at, "take the comma out")
        if parent.entries is None:
            assert parent.items is not None
            child = self._value()
            parent.items.append(child)
            return child
        if not self.text.startswith('"', self.at):
            raise _SyntaxError("a key in double quotes was expected here", self.at)
        key = self._value()
        self._skip()
        self._expect(":", "a `:` after this key was expected")
        child = self._value()
        if key.text in parent.entries:
            first = parent.entries[key.text].key
            self.problems.append(twice(key, first))
        # Taken in all the same: a second mapping under the same key is read to its end like any other.
        parent.entries[key.text] = Entry(key, child)
        return child

    def _expect(self, char: str, message: str) -> None:
        if not self.text.startswith(char, self.at):
            raise _SyntaxError(message, self.at)
        self.at += 1
        self._skip()

    def _value(self) -> Node:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _SyntaxError(f"this holds more than {MOST_NODES:,} values", self.at)
        start = self.at
        row, column = self.place(start)
        node = Node(self.page, row, column)
        char = self.text[start : start + 1]
        if char == '"':
            node.text = self._string(start)
            node.length = self.at - start
            if "\0" in node.text:
                self.problems.append(node.problem("a NUL character cannot be part of a value"))
        elif char in ("{", "["):
            self.at += 1
            if char == "{":
                node.entries = {}
            else:
                node.items = []
        else:
            match = _WORD.match(self.text, start)
            if match is None:
                raise self._no_value(start)
            node.text, node.is_plain = match.group(), True
            node.length = len(node.text)
            self.at = match.end()
        return node

    def _string(self, start: int) -> str:
        try:
            text, self.at = scanstring(self.text, start + 1, True)
            text.encode("utf-8", "surrogateescape")
        except JSONDecodeError as error:
            if error.msg.startswith("Unterminated"):
                raise _SyntaxError("a quote that opens here is never closed", start, "close the quote") from error
            at = max(start, error.pos)
            message = "this character or escape cannot stand in a JSON string"
            raise _SyntaxError(message, at, "write it as \\n, \\t or \\uXXXX") from error
        except UnicodeEncodeError as error:
            message = "this string holds half a character (a lone surrogate)"
            raise _SyntaxError(message, start, length=self.at - start) from error
        assert isinstance(text, str)
        return text

    def _no_value(self, start: int) -> _SyntaxError:
        match = _RUN.match(self.text, start)
        if match is None:
            return _SyntaxError("a value was expected here", start)
        word = match.group()
        shown = one_line(word[:40])
        if word.lstrip("-") in ("NaN", "Infinity"):
            return _SyntaxError(f"`{shown}` is no JSON", start, "write a number", len(word))
        return _SyntaxError(f"`{shown}` is no JSON value", start, "put text in double quotes", len(word))
