"""What comes after what: pure functions over the numbers, groups and needs of steps, all in linear time or nearly.

Neighbours of one group are a block; any other step is a block of its own. A step with `needs` waits for those
alone; one without waits for every step before its block (docs/design/scheduling.md). That second rule is never
spelled out as edges: ten thousand plain steps would have fifty million of them.
Everywhere here the `needs` must name numbers of steps that are there; KeyError otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Protocol


class Numbered(Protocol):
    """What of a step the graph looks at."""

    @property
    def number(self) -> int: ...

    @property
    def needs(self) -> tuple[int, ...] | None: ...

    @property
    def group(self) -> str | None: ...


def barriers(ranked: Sequence[Numbered]) -> list[int]:
    """Return, for each index of steps sorted by number, the index where its block begins.

    A step without `needs` waits for exactly the indices below; the result never falls.
    """
    result: list[int] = []
    before: str | None = None
    for index, step in enumerate(ranked):
        group = step.group
        result.append(result[-1] if group is not None and group == before else index)
        before = group
    return result


def followers(ranked: Sequence[Numbered]) -> list[list[int]]:
    """Return, for each index of steps sorted by number, the indices of those that name it in their `needs`."""
    index_of = {step.number: index for index, step in enumerate(ranked)}
    found: list[list[int]] = [[] for _ in ranked]
    for index, step in enumerate(ranked):
        for need in step.needs or ():
            found[index_of[need]].append(index)
    return found


def order(steps: Sequence[Numbered]) -> list[int]:
    """Return the numbers in an order that respects every need; where there is a choice, the smaller number first.

    Raises ValueError when there is a cycle (`find_cycle` tells which).
    """
    ranked = sorted(steps, key=attrgetter("number"))
    if all(step.needs is None for step in ranked):
        return [step.number for step in ranked]
    finished = _finished(ranked)
    if len(finished) < len(ranked):
        raise ValueError("the steps need each other in a circle")
    return [ranked[index].number for index in finished]


def find_cycle(steps: Sequence[Numbered]) -> list[int] | None:
    """Return one cycle as `[a, b, a]`: a waits for b, b waits for a. None when there is none.

    It starts at its smallest number; plain order counts as waiting.
    """
    ranked = sorted(steps, key=attrgetter("number"))
    if all(step.needs is None for step in ranked):
        return None
    stuck = set(range(len(ranked))).difference(_finished(ranked))
    if not stuck:
        return None
    # Whatever is stuck waits for something stuck, so walking along always comes back to where it has been.
    # A plain step is stuck only behind something below its block, so behind the first of all that are stuck.
    index_of = {step.number: index for index, step in enumerate(ranked)}
    first = min(stuck)
    path: dict[int, None] = {}
    at = first
    while at not in path:
        path[at] = None
        needs = ranked[at].needs
        at = first if needs is None else next(index_of[need] for need in needs if index_of[need] in stuck)
    walked = list(path)
    circle = walked[walked.index(at) :]
    start = circle.index(min(circle))
    return [ranked[index].number for index in [*circle[start:], *circle[:start], circle[start]]]


def dependents(steps: Sequence[Numbered], changed: set[int]) -> set[int]:
    """Return the numbers of all steps that wait, directly or through others, for one in `changed`.

    A changed step itself is among them only when it also waits for another changed one.
    """
    ranked = sorted(steps, key=attrgetter("number"))
    after = followers(ranked)
    block_at = barriers(ranked)
    # Plain steps nobody has reached yet. Their blocks begin ever later, so those behind an index are at the end.
    plain = [index for index, step in enumerate(ranked) if step.needs is None]
    reached: set[int] = set()
    queue = [index for index, step in enumerate(ranked) if step.number in changed]
    seen = set(queue)
    while queue:
        index = queue.pop()
        found = after[index]
        while plain and block_at[plain[-1]] > index:
            found.append(plain.pop())
        reached.update(found)
        for later in found:
            if later not in seen:
                seen.add(later)
                queue.append(later)
    return {ranked[index].number for index in reached}


def _finished(ranked: Sequence[Numbered]) -> list[int]:
    """Return the indices in the order they can be finished (Kahn 1962); those in or behind a cycle are left out."""
    after = followers(ranked)
    missing = [len(step.needs or ()) for step in ranked]
    finished = [False] * len(ranked)
    result: list[int] = []
    # The plain steps of each block wait for its beginning.
    waiting: list[list[int]] = [[] for _ in ranked]
    for index, block_at in enumerate(barriers(ranked)):
        if ranked[index].needs is None:
            waiting[block_at].append(index)
    # `front` is the lowest index not finished: plain steps are ready exactly when it arrives where their block begins.
    front = 0
    ready = [index for index, step in enumerate(ranked) if step.needs == ()]
    if waiting:
        ready += waiting[0]
    heapify(ready)
    while ready:
        index = heappop(ready)
        finished[index] = True
        result.append(index)
        for later in after[index]:
            missing[later] -= 1
            if not missing[later]:
                heappush(ready, later)
        while front < len(ranked) and finished[front]:
            front += 1
            if front < len(ranked):
                # It may pass the beginning of a block whose first step needed less than the block does.
                for plain in waiting[front]:
                    heappush(ready, plain)
    return result
