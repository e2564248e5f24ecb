"""Which steps cannot run because another one failed, and which could run now: worked out, never recorded."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import NamedTuple

from workflow.definition import graph
from workflow.model import Step


class Standing(NamedTuple):
    """`blocked` maps the number of a blocked step to that of the failed step it waits for, directly or through others.

    `ready` holds the steps that are not over and have nothing to wait for any more.
    """

    blocked: dict[int, int]
    ready: set[int]


def standing(
    steps: Sequence[Step], order: Sequence[int], settled: AbstractSet[int], failed: AbstractSet[int]
) -> Standing:
    """Return how the steps stand that are not over. Linear time.

    `settled` are steps that others need not wait for (completed, skipped, failed as they may), `failed` those
    that block what waits for them. `order` lists all steps so that what a step waits for stands before it.
    """
    ranked = sorted(steps, key=attrgetter("number"))
    index_of = {step.number: index for index, step in enumerate(ranked)}
    barriers = graph.barriers(ranked)
    result = Standing({}, set())
    # Of each index, and of all indices before one: the failed step that blocks it, and whether it is over.
    roots: list[int | None] = [None] * len(ranked)
    is_over = [False] * len(ranked)
    root_before: list[int | None] = [None]
    is_over_before = [True]
    for number in order:
        index = index_of[number]
        step, barrier = ranked[index], barriers[index]
        if step.needs is None:
            for at in range(len(root_before) - 1, barrier):
                root_before.append(roots[at] if root_before[at] is None else root_before[at])
                is_over_before.append(is_over_before[at] and is_over[at])
            root, can_begin = root_before[barrier], is_over_before[barrier]
        else:
            needs = [index_of[need] for need in step.needs]
            root = next((roots[need] for need in needs if roots[need] is not None), None)
            can_begin = all(is_over[need] for need in needs)
        if number in settled:
            is_over[index] = True
        elif number in failed:
            roots[index], is_over[index] = number, True
        elif root is not None and not step.rules.is_at_the_end:
            result.blocked[number] = roots[index] = root
            is_over[index] = True
        elif can_begin:
            result.ready.add(number)
    return result
