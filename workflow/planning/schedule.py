"""Which steps may start, as others finish: the rules of docs/design/scheduling.md, and nothing of processes.

Every operation costs next to nothing, however many steps there are: a whole run of them is linear,
but for the heap that keeps the smallest number first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from heapq import heappop, heappush
from operator import attrgetter

from workflow.definition import graph
from workflow.errors import InvariantError
from workflow.model import NO_RULES, Step

# What steps have in common that fit or do not fit alike: lock, processors, memory, the terminal.
Kind = tuple[str, float, int, bool]
_NOTHING_SPECIAL: Kind = ("", 0.0, 0, False)


def _kind(step: Step) -> Kind:
    rules = step.rules
    if rules is NO_RULES and not step.interactive:
        return _NOTHING_SPECIAL
    return rules.lock, rules.cpus, rules.memory_bytes, step.interactive


class Schedule:
    """The steps of one run by readiness. `finish` is told of every step once; blocked ones finish by themselves."""

    def __init__(self, steps: Sequence[Step], to_run: Collection[int]) -> None:
        """All steps of a workflow; those not in `to_run` (bypassed, skipped, left) count as finished well."""
        self._ranked = sorted(steps, key=attrgetter("number"))
        ranked = self._ranked
        self._index = {step.number: index for index, step in enumerate(ranked)}
        self.is_linear = all(step.needs is None and step.group is None for step in ranked)
        self._barriers = range(len(ranked)) if self.is_linear else graph.barriers(ranked)
        has_needs = any(step.needs for step in ranked)
        self._followers: Sequence[Sequence[int]] = graph.followers(ranked) if has_needs else ()
        self._missing = [len(step.needs or ()) for step in ranked] if has_needs else []
        self._plain = [index for index, step in enumerate(ranked) if step.needs is None]
        self._next_plain = 0
        self._front = 0
        self._is_finished = bytearray(len(ranked))
        self._is_released = bytearray(len(ranked))
        self._causes: dict[int, int] = {}
        self._first_bad = len(ranked)
        self._ready: dict[Kind, list[int]] = {}
        self._blocked: list[tuple[int, int]] = []
        self._to_pass_on: list[int] = []
        for index, step in enumerate(ranked):
            if step.number not in to_run:
                self._is_finished[index] = self._is_released[index] = 1
        self.open_count = len(ranked) - sum(self._is_finished)
        for index, step in enumerate(ranked):
            if self._is_finished[index]:
                self._to_pass_on.append(index)
            elif step.needs == ():
                self._release(index)
        self._pass_on()

    def next_ready(self, fits: Callable[[Step], bool]) -> Step | None:
        """Take the ready step with the smallest number that fits; None when there is none.

        `fits` is asked once for each kind of steps: those that want the same fit alike.
        """
        for index, kind in sorted((heap[0], kind) for kind, heap in self._ready.items()):
            if fits(self._ranked[index]):
                heap = self._ready[kind]
                heappop(heap)
                if not heap:
                    del self._ready[kind]
                return self._ranked[index]
        return None

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def is_next_sure(self, number: int) -> bool:
        """Return whether the step that starts next is the same with and without `number` ended well.

        That is so when it comes before everything that waits for `number`; those with a lock, claims or the
        terminal, which may have to let others pass, are never sure.
        """
        if self._ready.keys() != {_NOTHING_SPECIAL}:
            return False
        first = self._ready[_NOTHING_SPECIAL][0]
        if self._next_plain < len(self._plain) and self._plain[self._next_plain] < first:
            return False
        return not self._followers or all(first < it for it in self._followers[self._index[number]])

    def put_back(self, number: int) -> None:
        """Make a step that was taken ready again: it waits for something besides other steps."""
        self._push(self._index[number])

    def _push(self, index: int) -> None:
        heappush(self._ready.setdefault(_kind(self._ranked[index]), []), index)

    def finish(self, number: int, cause: int | None = None) -> None:
        """Say that a step that was taken ended well, or (`cause`: the step that failed first, maybe itself) badly."""
        self._finish(self._index[number], cause)
        self._pass_on()

    def cause_before(self, number: int) -> int | None:
        """Return a step that failed among those that a step waited for, None when all ended well."""
        index = self._index[number]
        step = self._ranked[index]
        if step.needs is None:
            return self._causes[self._first_bad] if self._first_bad < self._barriers[index] else None
        bad = [self._causes[at] for at in map(self._index.__getitem__, step.needs) if at in self._causes]
        return min(bad, default=None)

    def close(self, cause: int) -> None:
        """Block everything that is still to start, but for `if: always` and `if: failure`."""
        ready, self._ready = self._ready, {}
        for index in (index for heap in ready.values() for index in heap):
            if self._ranked[index].rules.is_at_the_end:
                self._push(index)
        for index, step in enumerate(self._ranked):
            if not self._is_finished[index] and not step.rules.is_at_the_end:
                self._is_released[index] = 1
                self._block(index, cause)
        self._pass_on()

    def take_blocked(self) -> list[tuple[int, int]]:
        """Return number and cause of the steps that were blocked since last time, in the order they were."""
        blocked, self._blocked = self._blocked, []
        return blocked

    def _finish(self, index: int, cause: int | None) -> None:
        if self._is_finished[index]:
            raise InvariantError(f"step {self._ranked[index].number:02d} ended twice")
        self._is_finished[index] = 1
        self.open_count -= 1
        if cause is not None:
            self._causes[index] = cause
            self._first_bad = min(self._first_bad, index)
        self._to_pass_on.append(index)

    def _pass_on(self) -> None:
        # A step that is blocked is finished at once, which may block the next. No recursion: chains are long.
        while True:
            while self._to_pass_on:
                index = self._to_pass_on.pop()
                for follower in self._followers[index] if self._followers else ():
                    self._missing[follower] -= 1
                    if not self._missing[follower] and not self._is_released[follower]:
                        self._release(follower)
            self._advance()
            if not self._to_pass_on:
                return

    def _advance(self) -> None:
        ranked, finished, plain = self._ranked, self._is_finished, self._plain
        while True:
            while self._front < len(ranked) and finished[self._front]:
                self._front += 1
            if self._next_plain == len(plain) or self._barriers[plain[self._next_plain]] > self._front:
                return
            index = plain[self._next_plain]
            self._next_plain += 1
            if not self._is_released[index]:
                self._release(index)
            if self._to_pass_on:
                return

    def _release(self, index: int) -> None:
        self._is_released[index] = 1
        step = self._ranked[index]
        cause = self.cause_before(step.number) if self._causes else None
        if cause is not None and not step.rules.is_at_the_end:
            self._block(index, cause)
        else:
            self._push(index)

    def _block(self, index: int, cause: int) -> None:
        self._blocked.append((self._ranked[index].number, cause))
        self._finish(index, cause)
