"""The steps of a workflow as nodes and as few edges as tell the whole truth: what a graph is drawn from.

Spelled out, two blocks of a thousand steps would have a million edges between them. So where many wait for many
there is a *join*: a point that waits for all of the first and that all of the second wait for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from workflow.definition import graph
from workflow.model import Step

# A step stands for itself by its number, a join by its name.
Node = int | str


class Block(NamedTuple):
    """Neighbours of one group, or one step by itself (`name` is None then)."""

    name: str | None
    steps: tuple[Step, ...]


class Picture(NamedTuple):
    """`blocks` in order of number. `edges` lead from what is waited for to what waits; each pair once.

    Every step waits, along edges, for exactly what it waits for when the workflow runs, and for nothing else.
    """

    blocks: list[Block]
    joins: list[str]
    edges: list[tuple[Node, Node]]


def picture(steps: Sequence[Step]) -> Picture:
    """Return the picture of some steps. As long as the steps and their `needs` together; so is the time it takes."""
    ranked = sorted(steps, key=attrgetter("number"))
    barriers = graph.barriers(ranked)
    drawing = _Drawing()
    shared = Counter(step.needs for step in ranked if step.needs and len(step.needs) > 1)
    blocks: list[Block] = []
    for _, members in groupby(enumerate(ranked), key=lambda it: barriers[it[0]]):
        together = tuple(step for _, step in members)
        block = Block(together[0].group, together)
        blocks.append(block)
        first = block.steps[0].number
        plain = [step.number for step in block.steps if step.needs is None]
        drawing.wait(plain, drawing.open_nodes() if plain else [], f"join_{first:02d}")
        for step in block.steps:
            if step.needs:
                needs: tuple[Node, ...] = step.needs
                if shared[step.needs] > 1:
                    needs = (drawing.gathered(step.needs, f"needs_{step.number:02d}"),)
                drawing.wait([step.number], needs, "")
        drawing.have_come(step.number for step in block.steps)
    return Picture(blocks, drawing.joins, drawing.edges)


class _Drawing:
    """Draws edges, and knows which nodes nobody waits for yet: whoever waits for these waits for everything so far."""

    def __init__(self) -> None:
        self.joins: list[str] = []
        self.edges: list[tuple[Node, Node]] = []
        self._gathered: dict[tuple[int, ...], str] = {}
        self._open: dict[Node, None] = {}
        self._is_waited_for: set[Node] = set()

    def open_nodes(self) -> list[Node]:
        return list(self._open)

    def wait(self, later: Sequence[Node], sooner: Sequence[Node], join: str) -> None:
        """Let each of `later` wait for each of `sooner`, through a join named so where that saves edges."""
        if join and len(sooner) > 1 and len(later) > 1:
            self.joins.append(join)
            self._draw((node, join) for node in sooner)
            sooner = [join]
        self._draw((node, after) for after in later for node in sooner)

    def gathered(self, needs: tuple[int, ...], name: str) -> str:
        """Return the join that waits for these steps, drawn when it is asked for first."""
        if needs not in self._gathered:
            self._gathered[needs] = name
            self.joins.append(name)
            self._draw((need, name) for need in needs)
        return self._gathered[needs]

    def have_come(self, numbers: Iterable[int]) -> None:
        """Say that these steps are drawn; what comes later may have to wait for them."""
        for number in numbers:
            if number not in self._is_waited_for:
                self._open[number] = None

    def _draw(self, edges: Iterable[tuple[Node, Node]]) -> None:
        for sooner, later in edges:
            self.edges.append((sooner, later))
            self._is_waited_for.add(sooner)
            self._open.pop(sooner, None)
