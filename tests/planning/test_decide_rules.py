"""decide() where steps have rules: skipped, tolerated, and at the end; each against the plainest model."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from tests.planning.naive import ALWAYS, FAILURE, ancestors, graphs, waits_for
from workflow.checkpoint.marker import Marker
from workflow.definition import graph
from workflow.model import NO_RULES, Choice, Reason, Rules, Source, Step
from workflow.planning.decision import DONE, Fact, Request, decide

NEVER = Fact()
FAILED = Fact(last="failed")
CANCELLED = Fact(last="cancelled")
SKIPPED = Fact(last="skipped", detail="if: test -e x")
EDITED = Fact(is_done=True, changes=(Reason("script-changed"),))
TOLERANT = Rules(continue_on_error=True)
CONDITIONAL = Rules(condition="test -e x")


def step(number: int, rules: Rules = NO_RULES, needs: tuple[int, ...] | None = None, group: str | None = None) -> Step:
    return Step(number, f"s{number}", Source("w"), needs=needs, group=group, rules=rules)


def letters(steps: list[Step], facts: list[Fact], request: Request | None = None) -> str:
    """Return one letter a step: Run, Bypass, Skip, Leave."""
    decisions = decide(steps, graph.order(steps), dict(enumerate(facts)), request or Request())
    return "".join(decisions[it.number].choice.value[0].upper() for it in steps)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(), "BSR"),
        (Request(retry_failed=True), "BSL"),
        (Request(until=1), "BSL"),
        (Request(only=frozenset({1})), "BRL"),
        (Request(from_step=1), "BRR"),
        (Request(from_step=0), "RRR"),
        (Request(from_step=2), "BLR"),
    ],
)
def test_what_was_skipped_stays_skipped_until_it_is_asked_for_anew(request_: Request, expected: str) -> None:
    steps = [step(0), step(1, CONDITIONAL), step(2)]
    assert letters(steps, [DONE, SKIPPED, NEVER], request_) == expected


def test_what_was_skipped_is_asked_anew_when_what_it_comes_after_has_changed() -> None:
    steps = [step(0), step(1, CONDITIONAL), step(2, CONDITIONAL)]
    assert letters(steps, [EDITED, SKIPPED, DONE], Request(revalidate=True)) == "RRR"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(), "LR"),
        (Request(retry_failed=True), "RL"),
        (Request(skip_failed=True), "LR"),
        (Request(only=frozenset({0})), "RL"),
        (Request(from_step=1), "LR"),
    ],
)
def test_a_tolerated_failure_is_left_until_it_is_asked_for(request_: Request, expected: str) -> None:
    assert letters([step(0, TOLERANT), step(1)], [FAILED, NEVER], request_) == expected


def test_a_tolerated_failure_runs_again_when_everything_from_before_it_does() -> None:
    steps = [step(0), step(1, TOLERANT), step(2)]
    assert letters(steps, [DONE, FAILED, DONE], Request(from_step=0)) == "RRR"
    assert letters(steps, [DONE, FAILED, DONE], Request(from_step=1)) == "BRR"
    assert letters(steps, [EDITED, FAILED, DONE], Request(revalidate=True)) == "RRR"


def test_a_tolerated_step_that_was_cut_short_runs() -> None:
    assert letters([step(0, TOLERANT), step(1)], [CANCELLED, NEVER]) == "RR"


def test_what_needs_a_tolerated_failure_is_not_left_out_with_it() -> None:
    steps = [step(0, TOLERANT), step(1, needs=(0,))]
    assert letters(steps, [FAILED, NEVER], Request(skip_failed=True)) == "LR"


def test_what_needs_a_failure_that_is_left_is_left() -> None:
    steps = [step(0), step(1, needs=(0,)), step(2, needs=(1,)), step(3, needs=())]
    assert letters(steps, [FAILED, NEVER, NEVER, NEVER], Request(skip_failed=True)) == "LLLR"


@pytest.mark.parametrize("rules", [ALWAYS, FAILURE])
def test_the_end_runs_again_with_what_it_comes_after(rules: Rules) -> None:
    steps = [step(0), step(1), step(2, rules)]
    assert letters(steps, [DONE, DONE, DONE]) == "BBB"
    assert letters(steps, [DONE, FAILED, DONE]) == "BRR"
    assert letters(steps, [DONE, DONE, SKIPPED]) == "BBS"
    assert letters(steps, [FAILED, NEVER, SKIPPED]) == "RRR"


def test_the_end_runs_again_also_when_its_own_failure_was_tolerated() -> None:
    steps = [step(0), step(1, Rules(condition="always", continue_on_error=True))]
    assert letters(steps, [FAILED, FAILED]) == "RR"
    assert letters(steps, [DONE, FAILED]) == "BL"


@pytest.mark.parametrize("condition", ["always", "failure"])
def test_the_end_of_a_pass_that_was_killed_before_it_is_left_to_the_next(condition: str) -> None:
    """Its marker is older than that of a step it comes after: it vouches for an earlier pass."""
    steps = [step(0), step(1), step(2, Rules(condition=condition)), step(3)]

    def choice(*epochs: int) -> str:
        markers = {number: Marker(number, "", 0, 0, "r", f"s{number}", at, "", "") for number, at in enumerate(epochs)}
        decided = decide(steps, [0, 1, 2, 3], dict.fromkeys(range(4), DONE), Request(), markers)
        return "".join(decided[number].choice.value[0] for number in range(4))

    assert choice(1, 1, 1, 1) == "bbbb"
    assert choice(1, 2, 2, 2) == "bbbb"
    assert choice(3, 1, 2, 1) == "bbrb"
    assert choice(1, 1, 1, 2) == "bbbb"


def test_the_end_is_left_out_with_what_was_not_asked_for() -> None:
    steps = [step(0), step(1, ALWAYS)]
    assert letters(steps, [FAILED, NEVER], Request(until=0)) == "RL"
    assert letters(steps, [FAILED, NEVER], Request(only=frozenset({0}))) == "RL"


def test_siblings_do_not_make_an_end_in_their_group_run_again() -> None:
    steps = [step(0, group="g"), step(1, ALWAYS, group="g"), step(2, ALWAYS)]
    assert letters(steps, [FAILED, DONE, DONE]) == "RBR"


@hypothesis.settings(max_examples=300)
@hypothesis.given(strategies.data())
def test_on_a_plain_resume_each_step_has_the_choice_its_own_record_gives(data: strategies.DataObject) -> None:
    """And one at the end runs, besides, when something it waits for does."""
    steps = data.draw(graphs())
    fact = strategies.sampled_from([NEVER, DONE, FAILED, CANCELLED, SKIPPED, EDITED])
    facts = {it.number: data.draw(fact) for it in steps}
    decisions = decide(steps, graph.order(steps), facts, Request())
    waits = waits_for(steps)
    runs = {number for number, decision in decisions.items() if decision.choice is Choice.RUN}
    for it in steps:
        own = facts[it.number]
        expected = Choice.BYPASS if own.is_done else Choice.SKIP if own is SKIPPED else Choice.RUN
        if it.rules.is_at_the_end and waits[it.number] & runs:
            expected = Choice.RUN
        assert decisions[it.number].choice is expected
        assert decisions[it.number].reasons
    assert set(ancestors(waits)) == set(decisions)
