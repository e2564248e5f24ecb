"""Order, cycles and dependents, against the plain definition of what waits for what."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.definition.graph import dependents, find_cycle, order


class Step(NamedTuple):
    number: int
    needs: tuple[int, ...] | None


def waits_for(steps):
    return {
        step.number: {other.number for other in steps if other.number < step.number}
        if step.needs is None
        else set(step.needs)
        for step in steps
    }


@st.composite
def graphs(draw):
    numbers = draw(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True))
    steps = []
    for number in numbers:
        others = [other for other in numbers if other != number]
        needs = draw(st.none() | st.sets(st.sampled_from(others), max_size=3)) if others else None
        steps.append(Step(number, None if needs is None else tuple(sorted(needs))))
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
