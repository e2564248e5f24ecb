"""The rules of docs/design/scheduling.md in the plainest words, and random graphs to hold the real thing against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies

from workflow.model import NO_RULES, Rules, Source, Step

ALWAYS = Rules(condition="always")
FAILURE = Rules(condition="failure")


def waits_for(steps: Sequence[Step]) -> dict[int, set[int]]:
    """Return what each step waits for directly, by number; `steps` are sorted."""
    found: dict[int, set[int]] = {}
    for at, step in enumerate(steps):
        if step.needs is not None:
            found[step.number] = set(step.needs)
            continue
        begin = at
        while begin and step.group is not None and steps[begin - 1].group == step.group:
            begin -= 1
        found[step.number] = {it.number for it in steps[:begin]}
    return found


def ancestors(waits: Mapping[int, set[int]]) -> dict[int, set[int]]:
    """Return what each step waits for directly or through others. There must be no cycle."""
    found: dict[int, set[int]] = {}

    def of(number: int) -> set[int]:
        if number not in found:
            found[number] = set().union(waits[number], *(of(need) for need in waits[number]))
        return found[number]

    for number in waits:
        of(number)
    return found


def naive_order(waits: Mapping[int, set[int]]) -> list[int]:
    """Return the one order of the workflow: always the smallest number of which nothing it waits for is left."""
    found: list[int] = []
    while len(found) < len(waits):
        found.append(min(number for number in waits if number not in found and waits[number] <= set(found)))
    return found


def has_cycle(waits: Mapping[int, set[int]]) -> bool:
    left = dict(waits)
    while left:
        free = [number for number, needs in left.items() if not needs & left.keys()]
        if not free:
            return True
        for number in free:
            del left[number]
    return False


@strategies.composite
def graphs(draw: strategies.DrawFn, most: int = 9) -> tuple[Step, ...]:
    """Steps with gaps in their numbers, groups, needs forwards and backwards, and steps for the end; no cycle."""
    gaps = draw(strategies.lists(strategies.integers(1, 3), min_size=1, max_size=most))
    numbers = [sum(gaps[: at + 1]) for at in range(len(gaps))]
    group = strategies.sampled_from([None, None, "g", "g", "h"])
    rule = strategies.sampled_from([NO_RULES, NO_RULES, NO_RULES, ALWAYS, FAILURE])
    some = strategies.lists(strategies.sampled_from(numbers), unique=True, max_size=3)
    # Where every step has needs, those with smaller numbers can wait for those with larger ones.
    is_free = draw(strategies.booleans())
    needs = some if is_free else strategies.none() | some
    names: list[str | None] = [draw(group) for _ in numbers]
    # A name means one group: neighbours only.
    names = [
        name and next(f"{name}{begin}" for begin in range(at + 1) if len(set(names[begin : at + 1])) == 1)
        for at, name in enumerate(names)
    ]
    first = () if is_free else None
    steps = [
        Step(number, f"s{number}", Source("w"), group=name, needs=first, rules=draw(rule))
        for number, name in zip(numbers, names, strict=True)
    ]
    for at, step in enumerate(steps):
        wanted = draw(needs)
        if wanted is not None:
            steps[at] = _with_needs(step, [need for need in wanted if need != step.number])
            if has_cycle(waits_for(steps)):
                # What stands before it never waits for it: taking only those keeps the graph without a circle.
                steps[at] = _with_needs(step, [need for need in wanted if need < step.number])
                if has_cycle(waits_for(steps)):
                    steps[at] = step
    return tuple(steps)


def _with_needs(step: Step, needs: Sequence[int]) -> Step:
    return Step(step.number, step.name, step.source, needs=tuple(needs), group=step.group, rules=step.rules)
