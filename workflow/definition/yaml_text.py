"""YAML text -> nodes with places, one document, bounded in depth and size whatever the input.

Built from parser events and not from PyYAML's composer: that one recurses, forgets duplicate keys and
lets a few hundred bytes of aliases grow into gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workflow.definition.nodes import DEEPEST_NESTING, MOST_NODES, Entry, Node, Page, twice
from workflow.errors import Problem, one_line

if TYPE_CHECKING:
    import yaml

_CORE_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})

# What libyaml and PyYAML say -> (what we say, what to do about it).
_PLAIN_WORDS = {
    "mapping values are not allowed": (
        "a `:` cannot stand here",
        "put text that holds `: ` in quotes, or check the indentation of this line",
    ),
    "did not find expected key": (
        "a `key: value` line was expected here",
        "check its indentation and that of the line above",
    ),
    "did not find expected '-' indicator": (
        "a list entry was expected here: `- `",
        "check the indentation of this line",
    ),
    "did not find expected ',' or ']'": ("a list opened with `[` is not closed", "close it with `]`"),
    "did not find expected ',' or '}'": ("a mapping opened with `{` is not closed", "close it with `}`"),
    "did not find expected node content": ("a value was expected here", "check the `[`, `{` and `,` before it"),
    "could not find expected ':'": ("a `:` after this key was expected", "write `key: value`, with a space in it"),
    "found unexpected end of stream": ("a quote that opens here is never closed", "close the quote"),
    "found undefined alias": ("no `&` anchor of this name stands before it", "put text that begins with `*` in quotes"),
    "found unknown escape character": (
        "this escape means nothing in double quotes",
        "use single quotes, or write `\\\\`",
    ),
    "but found another document": ("a second document begins here", "keep one document: take the `---` out"),
    "expected a single document": ("a second document begins here", "keep one document: take the `---` out"),
}


class _RefusedError(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Open:
    """A list or mapping whose end has not been seen."""

    __slots__ = ("anchor", "key", "merged", "node")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Node | None = None
        self.merged: list[Node] = []


def read(page: Page, problems: list[Problem]) -> Node | None:
    """Return the one value on the page; None when it is empty or, with a problem added, when it is not YAML."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", None) or yaml.SafeLoader
    try:
        return _composed(yaml.parse(page.text, Loader=loader), page, problems)
    except _RefusedError as refused:
        problems.append(refused.problem)
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(page, error))
    except yaml.YAMLError:
        problems.append(_character_problem(page))
    return None


def _composed(events: Iterator[Any], page: Page, problems: list[Problem]) -> Node | None:  # noqa: PLR0912 - one branch per event
    from yaml import events as kinds

    root: Node | None = None
    stack: list[_Open] = []
    anchors: dict[str, Node | None] = {}
    documents = 0
    for event in events:
        kind = type(event)
        if kind is kinds.ScalarEvent:
            node = _scalar_node(page, event, problems)
            if event.anchor is not None:
                anchors[event.anchor] = node
        elif kind in (kinds.MappingStartEvent, kinds.SequenceStartEvent):
            node = _node(page, event)
            if len(stack) >= DEEPEST_NESTING:
                raise _RefusedError(node.problem(f"this is nested more than {DEEPEST_NESTING} deep"))
            _check_tag(event, node, problems)
            if kind is kinds.MappingStartEvent:
                node.entries = {}
            else:
                node.items = []
            if event.anchor is not None:
                anchors[event.anchor] = None
            stack.append(_Open(node, event.anchor))
            continue
        elif kind in (kinds.MappingEndEvent, kinds.SequenceEndEvent):
            closed = stack.pop()
            node = closed.node
            _merge(closed)
            if closed.anchor is not None:
                anchors[closed.anchor] = node
            if event.end_mark.line == node.row:
                node.length = max(1, event.end_mark.column - node.column)
        elif kind is kinds.AliasEvent:
            node = _alias_node(page, event, anchors, len(stack))
        else:
            if kind is kinds.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    place = _node(page, event)
                    raise _RefusedError(place.problem(*_PLAIN_WORDS["but found another document"]))
            continue
        if stack:
            _place(stack[-1], node, problems)
        else:
            root = node
    return None if root is not None and root.is_plain and not root.text else root


def _node(page: Page, event: Any) -> Node:
    mark = event.start_mark
    return Node(page, mark.line, mark.column)


def _scalar_node(page: Page, event: Any, problems: list[Problem]) -> Node:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if start.line == end.line else len(event.value) + 2
    is_plain = event.implicit[0] and not event.style
    node = Node(page, start.line, start.column, max(1, length), event.value, is_plain)
    if event.tag is not None:
        _check_tag(event, node, problems)
        if event.tag in _TEXT_TAGS:
            node.is_plain = False
    if "\0" in event.value:
        problems.append(node.problem("a NUL character cannot be part of a value"))
    return node


def _check_tag(event: Any, node: Node, problems: list[Problem]) -> None:
    if event.tag is not None and event.tag not in _CORE_TAGS and event.tag != "!":
        shown = event.tag.replace("tag:yaml.org,2002:", "!!")
        message = f"the tag `{one_line(shown)}` means nothing here"
        problems.append(node.problem(message, "write the value without a tag"))


def _alias_node(page: Page, event: Any, anchors: dict[str, Node | None], depth: int) -> Node:
    place = _node(page, event)
    place.length = len(event.anchor) + 1
    if event.anchor not in anchors:
        raise _RefusedError(place.problem(*_PLAIN_WORDS["found undefined alias"]))
    target = anchors[event.anchor]
    if target is None:
        raise _RefusedError(place.problem(f"`*{one_line(event.anchor)}` stands inside what it stands for"))
    if depth + target.height > DEEPEST_NESTING:
        message = f"with its aliases written out, this is nested more than {DEEPEST_NESTING} deep"
        raise _RefusedError(place.problem(message))
    return target


def _place(parent: _Open, node: Node, problems: list[Problem]) -> None:
    """Put a finished node where it belongs in the list or mapping that is open."""
    outer = parent.node
    outer.size += node.size
    outer.height = max(outer.height, node.height + 1)
    if outer.size > MOST_NODES:
        raise _RefusedError(node.problem(f"with its aliases written out, this holds more than {MOST_NODES:,} values"))
    if outer.entries is None:
        assert outer.items is not None
        outer.items.append(node)
    elif parent.key is None:
        parent.key = node
    else:
        key, parent.key = parent.key, None
        if key.entries is not None or key.items is not None:
            problems.append(key.problem("a key must be a plain word, not a list or a mapping"))
        elif key.is_plain and key.text == "<<":
            parent.merged.append(node)
        elif key.text in outer.entries:
            first = outer.entries[key.text].key
            problems.append(twice(key, first))
        else:
            outer.entries[key.text] = Entry(key, node)


def _merge(closed: _Open) -> None:
    """Take in what `<<:` names; keys of the mapping's own win (YAML merge type, 2005)."""
    entries = closed.node.entries
    if entries is None:
        return
    for merged in closed.merged:
        for source in merged.items if merged.items is not None else [merged]:
            if source.entries is None:
                raise _RefusedError(source.problem("`<<:` takes in mappings only"))
            for word, entry in source.entries.items():
                entries.setdefault(word, entry)


def _syntax_problem(page: Page, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    row, column = (mark.line, mark.column) if mark else (0, 0)
    said = error.problem or error.context or "it cannot be read"
    if "nesting depth" in said:  # newer releases of the library end there before we do
        return page.problem(f"this is nested more than {DEEPEST_NESTING} deep", row, column)
    if "cannot start any token" in said or "found a tab" in said:
        char = _character_at(page, row, column)
        if char == "\t":
            return page.problem("a tab cannot indent a line of YAML", row, column, 1, "use spaces")
        return page.problem(f"a value cannot begin with `{one_line(char)}`", row, column, 1, "put it in quotes")
    said_something = page.text.rstrip()
    last_row = said_something.count("\n")
    last_length = len(said_something) - (said_something.rfind("\n") + 1)
    if (row, column) >= (last_row, last_length) and "quoted" not in (error.context or ""):
        # Noticed at the very end: the last line that says anything is where people look.
        advice = "close every `[` and `{`"
        return page.problem("the text ends in the middle of something", last_row, last_length, 1, advice)
    for beginning, (message, advice) in _PLAIN_WORDS.items():
        if beginning in said:
            opened = error.context_mark
            # Unclosed things are noticed at the end of the text; the place to mend is where they begin.
            if opened and "closed" in message:
                row, column = opened.line, opened.column
            return page.problem(message, row, column, 1, advice)
    return page.problem(f"this is not YAML: {said}", row, column)


def _character_at(page: Page, row: int, column: int) -> str:
    at = 0
    for _ in range(row):
        at = page.text.find("\n", at) + 1
    return page.text[at + column : at + column + 1]


def _character_problem(page: Page) -> Problem:
    # A reader error carries an offset whose unit depends on which of the two parsers is in use: look ourselves.
    from yaml.reader import Reader

    match = Reader.NON_PRINTABLE.search(page.text)
    at = match.start() if match else 0
    row = page.text.count("\n", 0, at)
    column = at - (page.text.rfind("\n", 0, at) + 1)
    char = f"U+{ord(page.text[at]):04X}" if match else "something unreadable"
    return page.problem(
        f"the character {char} cannot stand in YAML", row, column, 1, "take it out, or write an escape in double quotes"
    )
