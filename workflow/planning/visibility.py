"""Which published values a step sees: those of the steps it waits for, directly or through others.

Never what a sibling happened to publish in time, so that a step gets the same values however fast
the others are, and on a resume. Worked out when it is asked for: most steps publish nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter

from workflow.definition import graph
from workflow.model import Step

# Name -> place in the order of the step that published it, and the value. Never changed once made, so that thousands of
# steps that see the same share one.
Seen = Mapping[str, tuple[int, str]]
NOTHING: Seen = {}


class Visibility:
    """What each step sees. Asked only of steps whose turn it is: what they wait for has finished."""

    def __init__(self, steps: Sequence[Step], published: Mapping[int, Mapping[str, str]]) -> None:
        """`published` is what finished steps have published, by number."""
        ranked = sorted(steps, key=attrgetter("number"))
        self._index = {step.number: index for index, step in enumerate(ranked)}
        self._needs = [None if step.needs is None else [self._index[it] for it in step.needs] for step in ranked]
        self._barriers = graph.barriers(ranked)
        self._steps = steps
        self._places: list[int] = []
        self._own: dict[int, Mapping[str, str]] = {}
        self._after: dict[int, Seen] = {}
        # What the first so many steps published together, by how many, rising.
        self._prefix_ends = [0]
        self._prefixes: list[Seen] = [NOTHING]
        for number, values in published.items():
            self.finish(number, values)

    def finish(self, number: int, values: Mapping[str, str]) -> None:
        """Note what a step published that has finished."""
        if not values:
            return
        self._own[self._index[number]] = values
        if not self._places:
            self._places = [0] * len(self._index)
            for place, it in enumerate(graph.order(self._steps)):
                self._places[self._index[it]] = place

    def seen_by(self, number: int) -> dict[str, str]:
        """Return the values for a step whose turn it is.

        Where two steps published one name, the one that comes later in the order of the workflow wins.
        """
        if not self._own:
            return {}
        index = self._index[number]
        stack = self._unknown(index)[::-1]
        while stack:
            at = stack[-1]
            if at in self._after:
                stack.pop()
            elif unknown := self._unknown(at):
                stack += reversed(unknown)  # the first on top: the later ones then find nothing unknown before them
            else:
                seen = self._seen(at)
                own = self._own.get(at)
                place = self._places[at]
                self._after[at] = {**seen, **{name: (place, value) for name, value in own.items()}} if own else seen
        return {name: value for name, (_, value) in self._seen(index).items()}

    def _unknown(self, index: int) -> list[int]:
        """Return the steps that a step waits for and whose own values have not been put together yet."""
        needs: Sequence[int] | None = self._needs[index]
        if needs is None:
            end = self._barriers[index]
            needs = range(self._prefix_ends[bisect_right(self._prefix_ends, end) - 1], end)
        return [need for need in needs if need not in self._after]

    def _seen(self, index: int) -> Seen:
        needs = self._needs[index]
        if needs is None:
            return self._prefix(self._barriers[index])
        seen = NOTHING
        for need in needs:
            seen = _merged(seen, self._after[need])
        return seen

    def _prefix(self, end: int) -> Seen:
        at = bisect_right(self._prefix_ends, end) - 1
        seen = self._prefixes[at]
        for index in range(self._prefix_ends[at], end):
            seen = _merged(seen, self._after[index])
        if self._prefix_ends[at] != end:
            self._prefix_ends.insert(at + 1, end)
            self._prefixes.insert(at + 1, seen)
        return seen


def _merged(one: Seen, other: Seen) -> Seen:
    if one is other or not other:
        return one
    if not one:
        return other
    new = {name: it for name, it in other.items() if name not in one or one[name][0] < it[0]}
    return {**one, **new} if new else one
