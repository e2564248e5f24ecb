"""Reading the documents: blocks to execute, tables to hold against the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RUN_MARK = "<!-- run -->"

_FENCE = re.compile(r"^(?P<mark><!-- run -->\n)?```(?P<kind>sh|console)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from one run to the next, and what it is compared as.
_VARYING = (
    (re.compile(r"workflow_\d{8}_\d{6}(_\d+)?"), "RUN"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "INSTANT"),
    (re.compile(r"\b\d+(\.\d+)?s\b"), "DURATION"),
)


class Command(NamedTuple):
    """`shown` is what the document says it prints; None where it says nothing about that."""

    text: str
    shown: list[str] | None


def documents() -> list[Path]:
    """Return the documents people read, sorted."""
    return sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def runnable(path: Path) -> list[Command]:
    """Return the commands of a document that are to be executed, in order.

    Those are the blocks after a line `<!-- run -->`, and every console block of the README. A `sh` block is one
    command that must succeed; in a `console` block each line after `$ ` is one, the lines below it what it prints.
    """
    commands: list[Command] = []
    for block in _FENCE.finditer(path.read_text(encoding="utf-8")):
        is_console = block["kind"] == "console"
        if not block["mark"] and not (is_console and path.name == "README.md"):
            continue
        if not is_console:
            commands.append(Command(block["text"], None))
            continue
        for line in block["text"].splitlines():
            if line.startswith("$ "):
                commands.append(Command(line[2:], []))
            else:
                shown = commands[-1].shown
                assert shown is not None, f"{path}: output before the first `$ `"
                shown.append(line)
    return commands


def pattern(shown: list[str]) -> re.Pattern[str]:
    """Return what the output of a command must match: `...` stands for anything, alone on a line for any lines."""
    parts = []
    for line in shown:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(re.escape(piece) for piece in same(line).split("...")) + r"\n")
    return re.compile("".join(parts))


def same(text: str) -> str:
    """Return `text` with what differs from run to run made the same."""
    for varying, name in _VARYING:
        text = varying.sub(name, text)
    return text


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert match, f"there is no heading {heading!r}"
    below = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", below, re.MULTILINE)
    return below[: end.start()] if end else below


def first_cells(text: str) -> list[str]:
    """Return the first cell of every row of every table, heads left out."""
    cells = []
    rows = text.splitlines()
    for at, row in enumerate(rows):
        is_head = at + 1 < len(rows) and re.match(r"\|\s*-", rows[at + 1])
        if row.startswith("|") and not re.match(r"\|\s*-", row) and not is_head:
            cells.append(re.split(r"(?<!\\)\|", row)[1].strip())
    return cells


def words_in(cells: list[str]) -> set[str]:
    """Return the words in backquotes in `cells`; of `--resume [RUN]` the first."""
    return {span.split()[0] for cell in cells for span in re.findall(r"`([^`]+)`", cell)}
