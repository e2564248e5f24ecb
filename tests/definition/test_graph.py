"""Order, cycles and dependents, against the plain definition of what waits for what."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.definition.graph import barriers, dependents, find_cycle, followers, order


class Step(NamedTuple):
    number: int
    needs: tuple[int, ...] | None = None
    group: str | None = None


def blocks(steps):
    """Return the numbers in blocks: neighbours of one group together, every other step alone."""
    ranked = sorted(steps)
    parts = []
    for step in ranked:
        if parts and step.group is not None and parts[-1][-1].group == step.group:
            parts[-1].append(step)
        else:
            parts.append([step])
    return [[step.number for step in part] for part in parts]


def waits_for(steps):
    """Return every edge, one by one, as docs/design/scheduling.md says it."""
    edges = {}
    before = set()
    by_number = {step.number: step for step in steps}
    for block in blocks(steps):
        for number in block:
            needs = by_number[number].needs
            edges[number] = set(before) if needs is None else set(needs)
        before.update(block)
    return edges


@st.composite
def graphs(draw):
    numbers = draw(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True))
    steps = []
    for number in numbers:
        others = [other for other in numbers if other != number]
        needs = draw(st.none() | st.sets(st.sampled_from(others), max_size=3)) if others else None
        group = draw(st.sampled_from([None, None, "a", "b"]))
        steps.append(Step(number, None if needs is None else tuple(sorted(needs)), group))
    return steps


@given(graphs())
def test_the_order_is_the_smallest_that_respects_every_need_or_there_is_a_cycle(steps):
    edges = waits_for(steps)
    done: list[int] = []
    while ready := sorted(number for number in edges if number not in done and edges[number] <= set(done)):
        done.append(ready[0])
    cycle = find_cycle(steps)
    if len(done) == len(steps):
        assert cycle is None
        assert order(steps) == done
    else:
        assert cycle is not None
        assert cycle[0] == cycle[-1] == min(cycle)
        assert len(set(cycle)) == len(cycle) - 1
        assert all(after in edges[before] for before, after in pairwise(cycle))
        with pytest.raises(ValueError, match="circle"):
            order(steps)


@given(graphs())
def test_a_barrier_is_where_the_block_begins(steps):
    ranked = sorted(steps)
    numbers = [step.number for step in ranked]
    assert [numbers[at] for at in barriers(ranked)] == [block[0] for block in blocks(steps) for _ in block]


@given(graphs())
def test_followers_are_those_that_name_a_step(steps):
    ranked = sorted(steps)
    assert followers(ranked) == [
        [index for index, other in enumerate(ranked) if step.number in (other.needs or ())] for step in ranked
    ]


@given(graphs(), st.data())
def test_dependents_are_all_that_wait_directly_or_not(steps, data):
    changed = data.draw(st.sets(st.sampled_from([step.number for step in steps])))
    edges = waits_for(steps)
    reached: set[int] = set()
    while more := {number for number, needs in edges.items() if needs & (changed | reached)} - reached:
        reached |= more
    assert dependents(steps, changed) == reached


def test_plain_steps_come_by_number():
    assert order([Step(5, None), Step(1, None), Step(3, None)]) == [1, 3, 5]


def test_an_empty_list_of_needs_waits_for_nothing():
    steps = [Step(0, (9,)), Step(9, ())]
    assert order(steps) == [9, 0]


def test_a_need_of_a_later_step_in_plain_order_is_a_cycle():
    assert find_cycle([Step(0, (2,)), Step(1, None), Step(2, None)]) == [0, 2, 0]


def test_ten_thousand_steps_in_a_circle_are_no_trouble():
    steps = [Step(number, ((number + 1) % 10_000,)) for number in range(10_000)]
    cycle = find_cycle(steps)
    assert cycle is not None
    assert len(cycle) == 10_001


def test_ten_thousand_mixed_steps_are_no_trouble():
    steps = [Step(number, None if number % 2 else ((number - 1,) if number else ())) for number in range(10_000)]
    assert order(steps) == list(range(10_000))
    assert len(dependents(steps, {0})) == 9_999


def test_a_hundred_thousand_steps_in_groups_take_no_more_than_a_moment():
    steps = [
        Step(number, ((number - 7),) if number % 10 == 9 else None, f"g{number // 100}" if number % 300 < 200 else None)
        for number in range(100_000)
    ]
    started = time.process_time()
    assert order(steps) == list(range(100_000))
    assert len(dependents(steps, {0})) > 99_000
    assert find_cycle(steps) is None
    assert time.process_time() - started < 5  # quadratic would take hours


def test_no_steps_are_no_trouble():
    assert order([]) == []
    assert barriers([]) == []
    assert find_cycle([]) is None


def test_members_of_a_group_do_not_wait_for_each_other_and_what_follows_waits_for_all():
    steps = [Step(0), Step(1, None, "a"), Step(2, None, "a"), Step(3, (), "a"), Step(4)]
    assert barriers(steps) == [0, 1, 1, 1, 4]
    assert dependents(steps, {1}) == {4}
    assert dependents(steps, {3}) == {4}
    assert find_cycle([Step(0), Step(1, (4,), "a"), Step(2, None, "a"), Step(4)]) == [1, 4, 1]
