"""What is expected of a run: the longest way through what is left."""

from __future__ import annotations

import time

import pytest

from tests.reporting.fabricated import step
from workflow.definition import graph
from workflow.model import Step
from workflow.planning.critical_path import remaining_s

NOTHING: dict[int, float] = {}


def left(steps: list[Step], expected_s: dict[int, float], finished: set[int] | None = None, **more: object) -> object:
    running = more.get("running", NOTHING)
    return remaining_s(steps, graph.order(steps), expected_s, finished or set(), running, more.get("slots"))  # type: ignore[arg-type]


def fork() -> list[Step]:
    return [step(0, "a"), *(step(n, f"s{n}", group="g") for n in (1, 2, 3)), step(4, "z")]


def test_steps_side_by_side_take_as_long_as_the_longest_of_them() -> None:
    expected_s = {0: 1.0, 1: 10.0, 2: 20.0, 3: 5.0, 4: 2.0}
    assert left(fork(), expected_s) == 23.0
    assert left(fork(), expected_s, {0, 2}) == 12.0
    assert left(fork(), expected_s, {0, 1, 2, 3, 4}) == 0.0


def test_what_runs_has_that_much_less_to_go_and_never_less_than_nothing() -> None:
    expected_s = {0: 1.0, 1: 10.0, 2: 20.0, 3: 5.0, 4: 2.0}
    assert left(fork(), expected_s, {0}, running={1: 9.0, 2: 15.0, 3: 50.0}) == 7.0


def test_with_few_slots_all_the_work_has_to_be_shared() -> None:
    steps = [step(n, f"s{n}", group="g") for n in range(10)]
    expected_s = dict.fromkeys(range(10), 10.0)
    assert left(steps, expected_s) == 10.0
    assert left(steps, expected_s, slots=4) == 25.0


def test_needs_are_the_only_thing_their_step_waits_for() -> None:
    steps = [step(0, "a"), step(1, "b"), step(2, "c", needs=(0,)), step(3, "d", needs=())]
    assert left(steps, {0: 1.0, 1: 50.0, 2: 5.0, 3: 40.0}) == 51.0
    assert left(steps, {0: 1.0, 1: 1.0, 2: 5.0, 3: 40.0}) == 40.0


@pytest.mark.parametrize(("known", "expected"), [(1, None), (2, 40.0), (3, 40.0)])
def test_too_little_knowledge_is_none(known: int, expected: float | None) -> None:
    steps = [step(n, f"s{n}") for n in range(4)]
    assert left(steps, dict.fromkeys(range(known), 10.0)) == expected


def test_a_hundred_thousand_steps_are_no_trouble() -> None:
    steps = [step(n, f"s{n}", group=str(n // 1000 % 7)) for n in range(100_000)]
    order = graph.order(steps)
    began = time.perf_counter()
    assert remaining_s(steps, order, dict.fromkeys(range(100_000), 1.0), set(), NOTHING) == 100.0
    assert time.perf_counter() - began < 5
