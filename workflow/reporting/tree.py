"""The picture of a workflow for people: steps from top to bottom, groups as a fork and a join."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import count, listed, one_line
from workflow.reporting.wording import Palette, noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workflow.model import Step, Workflow
    from workflow.planning.picture import Block, Picture

TITLE_CELLS = 50
NEEDS = 6
_COLOURS = {
    "completed": Palette.green,
    "failed": Palette.red,
    "running": Palette.green,
    "blocked": Palette.yellow,
    "interrupted": Palette.yellow,
    "waiting": Palette.yellow,
}


class _Signs(NamedTuple):
    step: str
    line: str
    fork: str
    member: str
    last: str
    join: str


_UNICODE = _Signs("●", "│", "├─┬─", "│ ├─", "│ └─", "├─┘")
_ASCII = _Signs("*", "|", "|-+-", "| |-", "| `-", "|-'")


def tree_text(
    workflow: Workflow,
    drawn: Picture,
    statuses: Mapping[int, str] | None = None,
    *,
    is_utf8: bool,
    colour: bool = False,
) -> str:
    """Return the picture as text, without a trailing newline. `statuses` (by number) stand beside the steps."""
    signs = _UNICODE if is_utf8 else _ASCII
    palette = Palette(is_coloured=colour, is_utf8=is_utf8)
    groups = sum(block.name is not None for block in drawn.blocks)
    about = [count(groups, "group")] if groups else []
    lines = [f"{one_line(workflow.name)}: {count(len(workflow.steps), 'step')}{noted(about)}"]
    width = min(max((len(one_line(step.title)) for step in workflow.steps), default=0), TITLE_CELLS)
    for block in drawn.blocks:
        lines += _block(block, signs, palette, width, statuses)
    return "\n".join(lines)


def _block(
    block: Block, signs: _Signs, palette: Palette, width: int, statuses: Mapping[int, str] | None
) -> Iterator[str]:
    if block.name is None:
        yield f"{signs.step} {_line(block.steps[0], palette, width + 3, statuses)}"
        return
    yield f"{signs.fork} {palette.dim(one_line(block.name))}"
    for step in block.steps:
        sign = signs.last if step is block.steps[-1] else signs.member
        yield f"{sign} {_line(step, palette, width, statuses)}"
    yield signs.join


def _line(step: Step, palette: Palette, width: int, statuses: Mapping[int, str] | None) -> str:
    parts = [f"{one_line(step.title):<{width}}"]
    if statuses is not None:
        status = statuses.get(step.number, "")
        colour = _COLOURS.get(status, Palette.dim)
        parts.append(colour(palette, f"{status:<11}"))
    notes = []
    if step.needs is not None:
        needed = [f"{number:02d}" for number in step.needs]
        notes.append(f"needs {listed(needed, most=NEEDS)}" if needed else "needs nothing")
    if step.rules.condition:
        notes.append(f"if: {one_line(step.rules.condition)}")
    if step.rules.approval:
        notes.append("asks for approval")
    return "  ".join([*parts, palette.dim("; ".join(notes)) if notes else ""]).rstrip()
