"""The number and the name of each step, and that nobody could take one for another."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from workflow.definition.matrix import Variant
from workflow.definition.raw import RawStep
from workflow.definition.steps_directory import HIGHEST_NUMBER, renumbered
from workflow.errors import Problem, count, one_line

# More commands than these nobody copies from a message.
_MOST_MOVES = 8


def numbers(steps: Sequence[RawStep], sizes: Sequence[int], problems: list[Problem]) -> list[int]:
    """Return the (first) number of each step: its own, or counted on from the one before; below 0 while not known.

    A step of `sizes` n takes n numbers; 0 means that nobody knows.
    """
    result: list[int] = []
    following = 0
    unknown = 0
    for step, size in zip(steps, sizes, strict=True):
        own = step.values.get("number")
        if step.kind == "script":
            assert step.number is not None
            number = step.number
            if own is not None:
                problems.append(
                    step.option_problem(
                        "number", "a script has its number in the name of its file", "take `number` out"
                    )
                )
        elif step.is_wrong("number") or (own is None and following < 0):
            unknown -= max(size, 1)
            number = unknown
        else:
            number = following if own is None else int(own)
            if number > HIGHEST_NUMBER:
                problems.append(
                    step.problem(f"the number of this step is above {HIGHEST_NUMBER:,}", "give it a smaller number")
                )
        if size > 1 and number <= HIGHEST_NUMBER < number + size - 1:
            message = f"the numbers of this matrix go up to {number + size - 1:,}, above {HIGHEST_NUMBER:,}"
            problems.append(step.option_problem("matrix", message, "give its step a smaller number"))
        result.append(number)
        following = number + size if number >= 0 and size else -1
    return result


def name_of(step: RawStep, number: int) -> str:
    """Return the name of a step, or what all steps of its matrix go by."""
    return step.values.get("name") or step.name or f"step_{number:02d}"


def is_unique(
    steps: Sequence[RawStep],
    first: Sequence[int],
    sizes: Sequence[int],
    names: Sequence[str],
    variants: Mapping[int, Sequence[Variant]],
    problems: list[Problem],
) -> bool:
    """Tell of steps with one number or one name, which nobody could tell apart; True when there are none.

    `variants` holds the steps of a matrix by the index of what they were made of.
    """
    if not variants and len(set(first)) == len(first) and len(set(names)) == len(names):
        return True
    taken = set(first)
    for index, members in variants.items():
        taken.update(range(first[index], first[index] + len(members)))
    first_number: dict[int, int] = {}
    first_name: dict[str, int] = {}
    crowded: set[int] = set()
    before = len(problems)
    for index, step in enumerate(steps):
        same = _first_other(first_number, range(first[index], first[index] + max(sizes[index], 1)), index)
        if same is not None:
            if first[same] == first[index]:
                problems.append(_same_number(steps, first[index], names, (same, index), taken))
                continue  # two files of one number and one name are one mistake
            lower = min(same, index, key=first.__getitem__)
            if lower not in crowded:
                crowded.add(lower)
                problems.append(_no_room(steps, first, sizes, names, lower))
        for name in (names[index], *(variant.name for variant in variants.get(index, ()))):
            other = first_name.setdefault(name, index)
            if other != index:
                problems.append(_same_name(steps[other], step, name))
                break
    return len(problems) == before


def place_of(step: RawStep, name: str) -> str:
    """Return where a step is; a name in front of it tells items of one file apart."""
    where = one_line(str(step.source))
    return f"`{one_line(name)}` ({where})" if name and step.kind != "script" else where


def _first_other(owners: dict[int, int], wanted: range, index: int) -> int | None:
    """Take the numbers that are free; return the owner of the first that is not."""
    found = None
    for number in wanted:
        owner = owners.setdefault(number, index)
        if owner != index and found is None:
            found = owner
    return found


def _same_number(
    steps: Sequence[RawStep], number: int, names: Sequence[str], pair: tuple[int, int], taken: set[int]
) -> Problem:
    other, index = pair
    step = steps[index]
    free = number + 1
    while free in taken:
        free += 1
    taken.add(free)
    if step.kind == "script" and step.script is not None:
        advice = _move(step.script, free)
    else:
        advice = f"give it a number of its own, like `number: {free}`"
    both = f"{place_of(steps[other], names[other])} and {place_of(step, names[index])}"
    message = f"two steps have the number {number:02d}: {both}"
    return step.option_problem("number", message, advice) if "number" in step.values else step.problem(message, advice)


def _same_name(other: RawStep, step: RawStep, name: str) -> Problem:
    message = f"two steps have the name `{one_line(name)}`: {place_of(other, '')} and {place_of(step, '')}"
    advice = "rename one of them: a step is named by its number or its name"
    return step.option_problem("name", message, advice) if "name" in step.values else step.problem(message, advice)


def _no_room(
    steps: Sequence[RawStep], first: Sequence[int], sizes: Sequence[int], names: Sequence[str], index: int
) -> Problem:
    """Return the problem of a matrix whose numbers are not all free, with the commands that make room."""
    step, number = steps[index], first[index]
    last = number + sizes[index] - 1
    # Steps that move up push those behind them, so that the order stays as it is.
    free = last + 1
    moves: list[tuple[int, int]] = []
    for other in sorted(range(len(steps)), key=first.__getitem__):
        if other == index or first[other] <= number:
            continue
        if first[other] >= free:
            break
        moves.append((other, free))
        free += max(sizes[other], 1)
    in_the_way = moves[0][0]
    more = sum(first[other] <= last for other, _ in moves) - 1
    message = (
        f"the matrix of `{one_line(names[index])}` takes the numbers {number:02d} to {last:02d}, but "
        f"{first[in_the_way]:02d} is that of {place_of(steps[in_the_way], names[in_the_way])}"
        f"{f' ({more:,} more in the way)' if more else ''}"
    )
    scripts = [(steps[other].script, free) for other, free in reversed(moves) if steps[other].kind == "script"]
    commands = [_move(script, free) for script, free in scripts if script is not None]
    if len(commands) < len(moves):
        advice = f"give that one a number of its own, like `number: {moves[0][1]}`"
    elif len(commands) <= _MOST_MOVES:
        advice = " && ".join(commands)
    else:
        advice = f"{commands[0]} and so on: {count(len(commands), 'script')} have to move up, the last one first"
    return step.option_problem("matrix", message, advice)


def _move(script: str, number: int) -> str:
    return f"mv {shlex.quote(script)} {shlex.quote(renumbered(script, number))}"
