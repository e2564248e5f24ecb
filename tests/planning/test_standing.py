"""Which steps are blocked, which could run, and how groups stand."""

from __future__ import annotations

import time

import pytest

from tests.reporting.fabricated import step
from workflow.checkpoint.groups import group_states
from workflow.definition import graph
from workflow.model import Rules, Status, Step, Workflow
from workflow.planning.standing import Standing, standing

ALWAYS = Rules(condition="always")


def stand(steps: list[Step], settled: set[int], failed: set[int]) -> Standing:
    return standing(steps, graph.order(steps), settled, failed)


def test_a_failure_blocks_what_waits_for_it_directly_or_through_others() -> None:
    steps = [step(n, f"s{n}") for n in range(4)]
    assert stand(steps, {0}, {1}) == ({2: 1, 3: 1}, set())


def test_what_does_not_wait_for_it_is_ready() -> None:
    steps = [step(0, "a"), step(1, "b", group="g"), step(2, "c", group="g"), step(3, "d", needs=(0,)), step(4, "e")]
    now = stand(steps, {0}, {1})
    assert now.blocked == {4: 1}
    assert now.ready == {2, 3}


def test_the_end_runs_once_everything_before_it_is_over() -> None:
    steps = [step(0, "a"), step(1, "b"), step(2, "tidy", rules=ALWAYS)]
    assert stand(steps, set(), {0}) == ({1: 0}, {2})
    assert stand(steps, set(), set()) == ({}, {0})


def test_a_hundred_thousand_blocked_steps_are_no_trouble() -> None:
    steps = [step(n, f"s{n}") for n in range(100_000)]
    order = graph.order(steps)
    began = time.perf_counter()
    assert len(standing(steps, order, set(), {0}).blocked) == 99_999
    assert time.perf_counter() - began < 5


TOLERANT = Rules(continue_on_error=True)


def workflow(*steps: Step) -> Workflow:
    return Workflow("w", "/p", "/p/workflow.yaml", steps)


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        ({}, "pending"),
        ({1: Status.SUCCEEDED}, "pending"),
        ({1: Status.RUNNING, 2: Status.FAILED}, "running"),
        ({1: Status.SUCCEEDED, 2: Status.FAILED}, "failed"),
        ({1: Status.FAILED, 2: Status.SKIPPED}, "completed"),
        ({1: Status.SUCCEEDED, 2: Status.BYPASSED}, "completed"),
        ({1: Status.SUCCEEDED, 2: Status.CANCELLED}, "pending"),
    ],
)
def test_a_group_is_what_its_steps_make_it(statuses: dict[int, Status], word: str) -> None:
    steps = workflow(step(1, "a", group="g", rules=TOLERANT), step(2, "b", group="g"), step(3, "c"))
    assert group_states(steps, statuses) == [{"name": "g", "steps": [1, 2], "status": word}]


def test_neighbours_of_one_group_are_a_block_and_others_are_another() -> None:
    steps = workflow(step(1, "a", group="g"), step(2, "b"), step(3, "c", group="g"), step(4, "d", group="h"))
    assert [(it["name"], it["steps"]) for it in group_states(steps, {})] == [("g", [1]), ("g", [3]), ("h", [4])]
