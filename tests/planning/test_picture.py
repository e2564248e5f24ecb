"""The picture says exactly what waits for what, in as few edges as there are steps and needs."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from tests.reporting.fabricated import step
from workflow.definition import graph
from workflow.model import Step
from workflow.planning.picture import Node, Picture, picture


def waits(steps: Sequence[Step]) -> dict[int, set[int]]:
    """Return all that each step waits for, directly or not, straight from the rules."""
    barriers = graph.barriers(steps)
    direct = {
        each.number: {it.number for it in steps[: barriers[index]]} if each.needs is None else set(each.needs)
        for index, each in enumerate(steps)
    }
    known: dict[int, set[int]] = {}
    for number in graph.order(steps):
        known[number] = direct[number].union(*(known[it] for it in direct[number]))
    return known


def drawn_waits(drawn: Picture, numbers: Sequence[int]) -> dict[int, set[int]]:
    sooner: dict[Node, list[Node]] = {}
    for before, after in drawn.edges:
        sooner.setdefault(after, []).append(before)

    def all_before(node: Node) -> set[int]:
        found: set[Node] = set()
        open_nodes = list(sooner.get(node, ()))
        while open_nodes:
            at = open_nodes.pop()
            if at not in found:
                found.add(at)
                open_nodes += sooner.get(at, ())
        return {it for it in found if isinstance(it, int)}

    return {number: all_before(number) for number in numbers}


def any_steps(seed: int) -> list[Step]:
    chance = random.Random(seed)
    count = chance.randint(1, 14)
    steps = []
    for number in range(count):
        needs = None
        if chance.random() < 0.4:
            others = [it for it in range(count) if it != number and (it < number or chance.random() < 0.15)]
            needs = tuple(sorted(chance.sample(others, min(len(others), chance.randint(0, 3)))))
        group = chance.choice([None, None, "a", "b", "b"])
        steps.append(step(number, f"s{number}", needs=needs, group=group))
    return steps


def test_along_its_edges_every_step_waits_for_what_the_rules_say() -> None:
    for seed in range(1000):
        steps = any_steps(seed)
        if graph.find_cycle(steps):
            continue
        drawn = picture(steps)
        assert drawn_waits(drawn, range(len(steps))) == waits(steps), seed
        assert len(set(drawn.edges)) == len(drawn.edges), seed
        assert [it.number for block in drawn.blocks for it in block.steps] == list(range(len(steps)))


def test_plain_steps_are_a_chain() -> None:
    began = time.perf_counter()
    drawn = picture([step(number, f"s{number}") for number in range(100_000)])
    assert len(drawn.edges) == 99_999
    assert not drawn.joins
    assert time.perf_counter() - began < 10


def test_two_blocks_of_a_thousand_meet_in_one_point() -> None:
    steps = [step(number, f"s{number}", group="a" if number < 1000 else "b") for number in range(2000)]
    drawn = picture(steps)
    assert drawn.joins == ["join_1000"]
    assert len(drawn.edges) == 2000


def test_needs_that_many_share_meet_in_one_point() -> None:
    needs = tuple(range(1000))
    steps = [step(number, f"s{number}", group="a") for number in range(1000)]
    steps += [step(number, f"s{number}", group="b", needs=needs) for number in range(1000, 2000)]
    drawn = picture(steps)
    assert drawn.joins == ["needs_1000"]
    assert len(drawn.edges) == 2000


def test_a_group_between_two_steps_needs_no_point() -> None:
    steps = [step(0, "a"), step(1, "b", group="g"), step(2, "c", group="g"), step(3, "d")]
    assert picture(steps).edges == [(0, 1), (0, 2), (1, 3), (2, 3)]
