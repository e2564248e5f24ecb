"""Visibility: which values a step sees, against the closure of what it waits for."""

from __future__ import annotations

import time

import hypothesis
from hypothesis import strategies

from tests.planning.naive import ancestors, graphs, naive_order, waits_for
from workflow.model import Source, Step
from workflow.planning.visibility import Visibility


def step(number: int, needs: tuple[int, ...] | None = None, group: str | None = None) -> Step:
    return Step(number, f"s{number}", Source("w"), needs=needs, group=group)


def test_a_sibling_is_never_seen_and_an_ancestor_always() -> None:
    steps = [step(0), step(1, group="g"), step(2, group="g"), step(3)]
    visible = Visibility(steps, {})
    visible.finish(0, {"A": "0"})
    visible.finish(1, {"B": "1"})
    assert visible.seen_by(2) == {"A": "0"}
    visible.finish(2, {"C": "2"})
    assert visible.seen_by(3) == {"A": "0", "B": "1", "C": "2"}


def test_through_others_counts_and_beside_does_not() -> None:
    visible = Visibility([step(0, ()), step(1, (0,)), step(2, (1,)), step(3, ())], {0: {"A": "0"}, 3: {"D": "3"}})
    assert visible.seen_by(2) == {"A": "0"}


def test_the_larger_number_wins_unless_the_smaller_one_waits_for_it() -> None:
    steps = [step(0, (2,)), step(1, ()), step(2, ()), step(3, (0, 1)), step(4, (1, 2))]
    published = {0: {"A": "0"}, 1: {"A": "1"}, 2: {"A": "2"}}
    assert Visibility(steps, published).seen_by(0) == {"A": "2"}
    assert Visibility(steps, published).seen_by(4) == {"A": "2"}
    # 0 comes after 2 in the order, which came after 1.
    assert Visibility(steps, published).seen_by(3) == {"A": "0"}


def test_nothing_published_is_nothing_seen() -> None:
    assert Visibility([step(0), step(1, (0,))], {0: {}}).seen_by(1) == {}


@hypothesis.settings(max_examples=400)
@hypothesis.given(strategies.data())
def test_it_agrees_with_the_closure_in_any_order_and_after_any_resume(data: strategies.DataObject) -> None:
    steps = data.draw(graphs())
    numbers = [it.number for it in steps]
    above = ancestors(waits_for(steps))
    value = strategies.dictionaries(strategies.sampled_from(["A", "B", "C"]), strategies.sampled_from("xyz"))
    the_order = naive_order(waits_for(steps))
    publishes = {number: data.draw(value) for number in numbers}
    # Any order in which they may finish, and any moment at which a resume begins.
    order: list[int] = []
    while len(order) < len(numbers):
        free = sorted(number for number in numbers if number not in order and above[number] <= set(order))
        order.append(data.draw(strategies.sampled_from(free)))
    resumed_at = data.draw(strategies.integers(0, len(order)))
    visible = Visibility(steps, {number: publishes[number] for number in order[:resumed_at]})
    for number in order[resumed_at:]:
        expected: dict[str, str] = {}
        for other in the_order:
            if other in above[number]:
                expected.update(publishes[other])
        assert visible.seen_by(number) == expected
        # Asked again (its condition, then its attempts): the same.
        assert visible.seen_by(number) == expected
        visible.finish(number, publishes[number])


def test_thousands_of_steps_that_publish_are_no_trouble() -> None:
    count = 20_000
    began = time.perf_counter()
    chain = Visibility([step(at, (at - 1,) if at else ()) for at in range(count)], {})
    wide = Visibility([step(0), *(step(at, group="g") for at in range(1, count)), step(count)], {})
    for at in range(count):
        for visible in (chain, wide):
            visible.seen_by(at)
            visible.finish(at, {f"K{at % 50}": str(at)})
    assert len(wide.seen_by(count)) == 50
    assert time.perf_counter() - began < 10
