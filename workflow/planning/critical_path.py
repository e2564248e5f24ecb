"""How long a run will still take: the longest way through the steps that are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter

from workflow.definition import graph
from workflow.model import Step


def remaining_s(
    steps: Sequence[Step],
    order: Sequence[int],
    expected_s: Mapping[int, float],
    finished: AbstractSet[int],
    running: Mapping[int, float],
    slots: int | None = None,
) -> float | None:
    """Return the seconds until the last step ends, None when too little is known to say. Linear time.

    `order` lists all steps so that what a step waits for stands before it. `expected_s` holds seconds by number,
    `finished` what will not run (again), `running` the seconds each running step has had. Steps that are not expected
    to take any time in particular count as the mean of those that are; when fewer than half of the steps left are, the
    answer is None. With `slots` (how many steps run at once) it is never less than all work left, shared by them.
    """
    left = [number for number in order if number not in finished]
    known_s = [expected_s[number] for number in left if number in expected_s]
    if not left:
        return 0.0
    if 2 * len(known_s) < len(left):
        return None
    mean_s = sum(known_s) / len(known_s)
    work_s = {number: max(0.0, expected_s.get(number, mean_s) - running.get(number, 0.0)) for number in left}
    longest_s = _longest_s(steps, order, work_s)
    return max(longest_s, sum(work_s.values()) / slots) if slots else longest_s


def _longest_s(steps: Sequence[Step], order: Sequence[int], work_s: Mapping[int, float]) -> float:
    ranked = sorted(steps, key=attrgetter("number"))
    index_of = {step.number: index for index, step in enumerate(ranked)}
    barriers = graph.barriers(ranked)
    ends_s = [0.0] * len(ranked)
    # latest_s[i]: when all steps before index i have ended; it grows as barriers ask for it: linear in all.
    latest_s = [0.0]
    for number in order:
        index = index_of[number]
        step, barrier = ranked[index], barriers[index]
        if step.needs is None:
            while len(latest_s) <= barrier:
                latest_s.append(max(latest_s[-1], ends_s[len(latest_s) - 1]))
            begin_s = latest_s[barrier]
        else:
            begin_s = max((ends_s[index_of[need]] for need in step.needs), default=0.0)
        ends_s[index] = begin_s + work_s.get(number, 0.0)
    return max(ends_s, default=0.0)
