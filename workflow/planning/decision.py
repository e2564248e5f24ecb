"""What will be done with each step, and why: one pure function.

`plan`, `status` and the engine all call it, so a plan cannot say other than what a run does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from workflow.checkpoint.marker import Marker
from workflow.definition import graph
from workflow.model import Choice, Decision, Reason, Step


class Fact(NamedTuple):
    """What is recorded of a step.

    `is_done`: its marker is whole and of this run. `damage`: why a marker there is does not count.
    `last`: status of the last recorded attempt, None when there is none. `changes`: how the step
    differs from what was completed. `undone`: why a completion was taken back.
    """

    is_done: bool = False
    damage: str = ""
    last: str | None = None
    detail: str = ""
    changes: tuple[Reason, ...] = ()
    renumbered_from: int | None = None
    undone: str = ""


NOTHING_KNOWN = Fact()
DONE = Fact(is_done=True)
BYPASSED = Decision(Choice.BYPASS, (Reason("completed"),))


class Request(NamedTuple):
    """What was asked for, steps as numbers. Empty `only` and None mean everything."""

    from_step: int | None = None
    until: int | None = None
    only: frozenset[int] = frozenset()
    retry_failed: bool = False
    skip_failed: bool = False
    revalidate: bool = False


EVERYTHING = Request()
NO_MARKERS: Mapping[int, Marker] = MappingProxyType({})


def decide(
    steps: Sequence[Step],
    order: Sequence[int],
    facts: Mapping[int, Fact],
    request: Request,
    markers: Mapping[int, Marker] = NO_MARKERS,
) -> dict[int, Decision]:
    """Return the decision for every step, by number, in `order`.

    `markers` say in which epoch steps completed; without them, what runs at the end is held against this pass only.
    """
    place = {number: at for at, number in enumerate(order)}
    first = place[request.from_step] if request.from_step is not None else 0
    last = place[request.until] if request.until is not None else len(order)
    by_number = {step.number: step for step in steps}
    downstream: set[int] = set()
    if request.revalidate:
        changed = {number for number in order if (fact := facts.get(number)) and fact.is_done and fact.changes}
        downstream = graph.dependents(steps, changed) - changed if changed else set()
    is_plain = request == EVERYTHING
    decisions: dict[int, Decision] = {}
    left_failed: set[int] = set()
    at_the_end: list[Step] = []
    for number in order:
        fact = facts.get(number, NOTHING_KNOWN)
        step = by_number[number]
        if step.rules.is_at_the_end:
            at_the_end.append(step)
        if is_plain and fact is DONE:
            decisions[number] = BYPASSED
            continue
        decision = _decide_one(step, fact, request, first <= place[number] <= last, number in downstream)
        needs = step.needs
        if decision.choice is Choice.RUN and left_failed and needs and left_failed.intersection(needs):
            decision = Decision(Choice.LEAVE, (Reason("not-selected", "a step it needs stays failed"),))
        if decision.choice is Choice.LEAVE and request.skip_failed and not fact.is_done:
            if not step.rules.continue_on_error:
                left_failed.add(number)
        decisions[number] = decision
    for step in at_the_end:
        is_settled = _is_settled(decisions[step.number]) or _is_tolerated(step, facts.get(step.number, NOTHING_KNOWN))
        is_within = first <= place[step.number] <= last and not request.only
        if is_settled and is_within and _is_overtaken(step, steps, decisions, markers):
            reason = Reason("upstream-changed", "what it comes after runs again")
            decisions[step.number] = Decision(Choice.RUN, (reason,))
    return decisions


def _is_settled(decision: Decision) -> bool:
    # What was left out because of what was asked for stays out.
    return decision.choice in (Choice.BYPASS, Choice.SKIP)


def _is_tolerated(step: Step, fact: Fact) -> bool:
    return fact.last == "failed" and step.rules.continue_on_error


def _is_overtaken(
    step: Step, steps: Sequence[Step], decisions: Mapping[int, Decision], markers: Mapping[int, Marker]
) -> bool:
    """Return whether something that a step of `if: always` or `if: failure` comes after will run, or has run since.

    Such a step belongs to the end of each pass: what it did after an earlier one says nothing about this one. A
    pass that was killed before its end leaves that end to the next.
    """
    before: Iterable[int]
    if step.needs is not None:
        before = step.needs
    else:
        before = (it.number for it in steps if it.number < step.number and (it.group is None or it.group != step.group))
    own = markers.get(step.number)
    return any(
        decisions[number].choice is Choice.RUN
        or (own is not None and number in markers and markers[number].epoch > own.epoch)
        for number in before
    )


def _decide_one(step: Step, fact: Fact, request: Request, is_within: bool, is_downstream: bool) -> Decision:
    run = _why_run(fact)
    number = step.number
    if request.only:
        if number in request.only:
            return Decision(Choice.RUN, (Reason("forced", "asked for with --only"), *run) if fact.is_done else run)
        return _leave(fact, "not among --only")
    if not is_within:
        return _leave(fact, "outside --from-step and --until")
    if request.from_step is not None and fact.is_done:
        return Decision(Choice.RUN, (Reason("forced", "asked for with --from-step"),))
    if fact.is_done:
        if request.revalidate and fact.changes:
            return Decision(Choice.RUN, fact.changes)
        if is_downstream:
            return Decision(Choice.RUN, (Reason("upstream-changed", "a step before it runs again"),))
        return Decision(Choice.BYPASS, (Reason("completed", _completed(fact)), *fact.changes))
    if fact.last == "skipped" and request.from_step is None and not is_downstream:
        return Decision(Choice.SKIP, (Reason("condition-false", fact.detail),))
    if request.retry_failed and fact.last != "failed":
        return _leave(fact, "it did not fail")
    if _is_tolerated(step, fact) and not request.retry_failed and request.from_step is None and not is_downstream:
        return _leave(fact, "it failed, and continue_on_error lets the run go on")
    if request.skip_failed and fact.last == "failed":
        return _leave(fact, "it failed; skipped by --skip-failed")
    return Decision(Choice.RUN, run)


def _why_run(fact: Fact) -> tuple[Reason, ...]:
    if fact.damage:
        return (Reason("marker-damaged", fact.damage),)
    if fact.undone:
        return (Reason("forced", fact.undone),)
    if fact.last is not None:
        return (Reason("never-run", fact.detail or f"last time: {fact.last}"),)
    return (Reason("never-run", "no marker"),)


def _leave(fact: Fact, why: str) -> Decision:
    if fact.is_done:
        return Decision(Choice.BYPASS, (Reason("completed", _completed(fact)),))
    return Decision(Choice.LEAVE, (Reason("not-selected", why),))


def _completed(fact: Fact) -> str:
    if fact.renumbered_from is not None:
        return f"as step {fact.renumbered_from:02d} then"
    return fact.detail
