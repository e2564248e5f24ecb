"""decide(): facts and a request in, decisions out; nothing else has a say."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from workflow.definition import graph
from workflow.model import REASON_CODES, Choice, Decision, Reason, Source, Step
from workflow.planning.decision import Fact, Request, decide

NEVER = Fact()
DONE = Fact(is_done=True)
EDITED = Fact(is_done=True, changes=(Reason("script-changed", "its script was edited"),))
FAILED = Fact(last="failed", detail="last time: exit code 3")
CANCELLED = Fact(last="cancelled", detail="last time: was interrupted")
DAMAGED = Fact(damage="its checksum is wrong")
MARKED_PENDING = Fact(last="pending", detail="last time: ada said that it must run again")


def step(number: int, needs: tuple[int, ...] | None = None) -> Step:
    return Step(number, f"s{number}", Source("steps"), script=f"steps/step_{number:02d}.sh", needs=needs)


def decided(
    facts: list[Fact], request: Request, needs: dict[int, tuple[int, ...]] | None = None
) -> dict[int, Decision]:
    steps = tuple(step(number, (needs or {}).get(number)) for number in range(len(facts)))
    return decide(steps, graph.order(steps), dict(enumerate(facts)), request)


def letters(decisions: dict[int, Decision]) -> str:
    """Return one letter a step: Run, Bypass, Leave."""
    return "".join(decision.choice.value[0].upper() for decision in decisions.values())


KINDS = [NEVER, DONE, EDITED, FAILED, CANCELLED, DAMAGED, MARKED_PENDING]
# The facts of seven steps, in the order of KINDS.
TABLE = {
    "plain": (Request(), "RBBRRRR"),
    "revalidate": (Request(revalidate=True), "RBRRRRR"),
    "from the edited one": (Request(from_step=2), "LBRRRRR"),
    "from the first": (Request(from_step=0), "RRRRRRR"),
    "until the failed one": (Request(until=3), "RBBRLLL"),
    "a window": (Request(from_step=1, until=3), "LRRRLLL"),
    "only a complete one": (Request(only=frozenset({1})), "LRBLLLL"),
    "only two": (Request(only=frozenset({0, 3})), "RBBRLLL"),
    "retry failed": (Request(retry_failed=True), "LBBRLLL"),
    "skip failed": (Request(skip_failed=True), "RBBLRRR"),
    "skip failed within a window": (Request(skip_failed=True, until=3), "RBBLLLL"),
    "retry failed beyond a window": (Request(retry_failed=True, until=2), "LBBLLLL"),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_is_done_with_each_kind_of_step(case: str) -> None:
    """A23, S15, S16, S17, RELIABILITY 47."""
    request, expected = TABLE[case]
    assert letters(decided(KINDS, request)) == expected


@pytest.mark.parametrize(
    ("fact", "request_", "codes"),
    [
        (NEVER, Request(), ["never-run"]),
        (DONE, Request(), ["completed"]),
        (EDITED, Request(), ["completed", "script-changed"]),
        (EDITED, Request(revalidate=True), ["script-changed"]),
        (FAILED, Request(), ["never-run"]),
        (DAMAGED, Request(), ["marker-damaged"]),
        (DONE, Request(from_step=0), ["forced"]),
        (DONE, Request(only=frozenset({0})), ["forced"]),
        (NEVER, Request(only=frozenset({0})), ["never-run"]),
        (FAILED, Request(skip_failed=True), ["not-selected"]),
        (NEVER, Request(retry_failed=True), ["not-selected"]),
    ],
)
def test_reasons_come_from_the_closed_list_most_telling_first(fact: Fact, request_: Request, codes: list[str]) -> None:
    decision = decided([fact], request_)[0]
    found = [reason.code for reason in decision.reasons]
    assert found[: len(codes)] == codes
    assert set(found) <= set(REASON_CODES)


def test_a_reason_tells_how_it_ended_last_time() -> None:
    assert decided([FAILED], Request())[0].reasons[0].detail == "last time: exit code 3"
    assert decided([DAMAGED], Request())[0].reasons[0].detail == "its checksum is wrong"


def test_in_plain_order_everything_after_a_changed_step_depends_on_it() -> None:
    assert letters(decided([DONE, EDITED, DONE, DONE], Request(revalidate=True))) == "BRRR"


def test_with_needs_only_what_needs_the_changed_step_runs_again() -> None:
    needs: dict[int, tuple[int, ...]] = {0: (), 1: (), 2: (1,), 3: (0,), 4: (2,)}
    decisions = decided([DONE, EDITED, DONE, DONE, DONE], Request(revalidate=True), needs)
    assert letters(decisions) == "BRRBR"
    assert decisions[4].reasons[0].code == "upstream-changed"


def test_what_needs_a_step_that_stays_failed_is_left_with_it() -> None:
    needs: dict[int, tuple[int, ...]] = {0: (), 1: (0,), 2: (1,), 3: ()}
    assert letters(decided([FAILED, NEVER, NEVER, NEVER], Request(skip_failed=True), needs)) == "LLLR"


FACTS = strategies.lists(strategies.sampled_from(KINDS), min_size=1, max_size=8)


@hypothesis.given(facts=FACTS, data=strategies.data())
def test_promises_that_hold_for_every_request(facts: list[Fact], data: strategies.DataObject) -> None:
    """Completed steps run only when asked for by name, window or --revalidate; nothing undone is called done."""
    numbers = strategies.integers(0, len(facts) - 1)
    request = Request(
        from_step=data.draw(strategies.none() | numbers),
        only=frozenset(data.draw(strategies.sets(numbers, max_size=2))),
        retry_failed=data.draw(strategies.booleans()),
        revalidate=data.draw(strategies.booleans()),
    )
    decisions = decided(facts, request)
    assert list(decisions) == list(range(len(facts)))
    for number, decision in decisions.items():
        fact = facts[number]
        assert decision.reasons
        if decision.choice is Choice.BYPASS:
            assert fact.is_done
        if decision.choice is Choice.RUN and fact.is_done:
            assert number in request.only or request.from_step is not None or request.revalidate
        if request == Request():
            assert decision.choice is (Choice.BYPASS if fact.is_done else Choice.RUN)
    assert decided(facts, request) == decisions
