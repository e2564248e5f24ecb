"""The picture of a workflow in the languages of drawing programs: Mermaid and DOT.

Names are anybody's. So identifiers are made of numbers, and what a name holds beyond plain letters is written as
the language wants it written, so that no name ends a string, adds an arrow or loads a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from workflow.model import Step
    from workflow.planning.picture import Block, Node, Picture

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,/+=_-")
# Fill and line of the statuses that are told apart by more than their word: readable on white and on black.
_FILLS = {
    "completed": ("#d3f0d3", "#2e7d32"),
    "failed": ("#f9d0d0", "#c62828"),
    "running": ("#d0e4f9", "#1565c0"),
    "waiting": ("#fff3cd", "#b8860b"),
    "blocked": ("#fff3cd", "#b8860b"),
    "interrupted": ("#fff3cd", "#b8860b"),
}


def mermaid_text(drawn: Picture, statuses: Mapping[int, str] | None = None) -> str:
    """Return the picture as a Mermaid flowchart, without a trailing newline."""
    lines = ["flowchart TD"]
    lines += _blocks(drawn, lambda step: _mermaid_step(step, statuses), _mermaid_group, "end")
    lines += [f"  {join}(( ))" for join in drawn.joins]
    lines += [f"  {_id(sooner)} --> {_id(later)}" for sooner, later in drawn.edges]
    if statuses is not None:
        used = sorted(set(statuses.values()) & _FILLS.keys())
        lines += [
            f"  classDef {status} fill:{_FILLS[status][0]},stroke:{_FILLS[status][1]},color:#000" for status in used
        ]
    return "\n".join(lines)


def dot_text(name: str, drawn: Picture, statuses: Mapping[int, str] | None = None) -> str:
    """Return the picture as a DOT digraph, without a trailing newline."""
    lines = [f"digraph {dot_quoted(name)} {{", "  node [shape=box];"]
    lines += _blocks(drawn, lambda step: _dot_step(step, statuses), _dot_group, "}")
    lines += [f"  {join} [shape=point];" for join in drawn.joins]
    lines += [f"  {_id(sooner)} -> {_id(later)};" for sooner, later in drawn.edges]
    return "\n".join([*lines, "}"])


def mermaid_quoted(text: str) -> str:
    """Return `text` as a Mermaid string: what is not plain stands as `#NN;`, its character code.

    A colon is not plain: behind the word `style` Mermaid would take it for the end of one.
    """
    shown = (c if c in _PLAIN or (c > "\x7f" and c.isalnum()) else f"#{ord(c)};" for c in one_line(text))
    return f'"{"".join(shown)}"'


def dot_quoted(text: str) -> str:
    """Return `text` as a DOT string: backslashes, which begin escapes in labels, and entities taken literally."""
    return '"' + one_line(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def _blocks(
    drawn: Picture, draw: Callable[[Step], str], open_group: Callable[[int, str], Iterator[str]], closing: str
) -> Iterator[str]:
    for block in drawn.blocks:
        if block.name is None:
            yield f"  {draw(block.steps[0])}"
            continue
        yield from open_group(_first(block), block.name)
        for step in block.steps:
            yield f"    {draw(step)}"
        yield f"  {closing}"


def _first(block: Block) -> int:
    return block.steps[0].number


def _mermaid_group(first: int, name: str) -> Iterator[str]:
    yield f"  subgraph group_{first:02d}[{mermaid_quoted(name)}]"


def _mermaid_step(step: Step, statuses: Mapping[int, str] | None) -> str:
    status = (statuses or {}).get(step.number, "")
    drawn = f"{_id(step.number)}[{mermaid_quoted(_label(step, status))}]"
    return f"{drawn}:::{status}" if status in _FILLS else drawn


def _dot_group(first: int, name: str) -> Iterator[str]:
    yield f"  subgraph cluster_{first:02d} {{"
    yield f"    label={dot_quoted(name)};"


def _dot_step(step: Step, statuses: Mapping[int, str] | None) -> str:
    status = (statuses or {}).get(step.number, "")
    more = ', style=filled, fillcolor="{}", color="{}"'.format(*_FILLS[status]) if status in _FILLS else ""
    return f"{_id(step.number)} [label={dot_quoted(_label(step, status))}{more}];"


def _label(step: Step, status: str) -> str:
    return f"{step.title}: {status}" if status else step.title


def _id(node: Node) -> str:
    return node if isinstance(node, str) else f"step_{node:02d}"
