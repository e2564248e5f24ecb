"""The parallel group of each step, and that a name means one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workflow.definition.nodes import Node
from workflow.definition.raw import RawGroup, RawStep
from workflow.errors import Problem, one_line

_INSIDE_HELP = "take one of them out: steps of one group run side by side already"


class Written(NamedTuple):
    """A group as somebody wrote it. `owner` is the list or the matrix it came from, None the option `parallel`."""

    name: str
    owner: RawGroup | RawStep | None
    place: Node


def groups(
    steps: Sequence[RawStep],
    numbers: Sequence[int],
    names: Sequence[str],
    problems: list[Problem],
    *,
    is_whole: bool,
) -> list[str | None]:
    """Return the group of each step, None for none.

    Whether a group is in one piece is looked at only when `is_whole`: every step has a number of its own.
    """
    found: list[Written | None] = [None] * len(steps)
    for index, step in enumerate(steps):
        if step.group is not None or "parallel" in step.values or "matrix" in step.values:
            found[index] = _written(step, numbers[index], names[index])
            _check_step(step, problems)
    if not any(found):
        return [None] * len(steps)
    if is_whole:
        _check_names(found, numbers, problems)
    return [written.name if written is not None else None for written in found]


def nested(place: Node) -> Problem:
    """Return the problem of a group inside a group."""
    return place.problem("this is a group inside a group", _INSIDE_HELP)


def _written(step: RawStep, number: int, name: str) -> Written:
    group = step.group
    if group is not None:
        if group.first < 0:
            group.first = number
        return Written(group.name or f"group_{max(group.first, 0):02d}", group, group.place)
    assert step.options is not None
    if "parallel" in step.values:
        return Written(step.values["parallel"], None, step.options.at(["parallel"]))
    return Written(name, step, step.options.key("matrix"))


def _check_step(step: RawStep, problems: list[Problem]) -> None:
    if step.options is None:
        return
    if step.group is not None and "parallel" in step.values:
        problems.append(nested(step.options.key("parallel")))
    if step.values.get("interactive"):
        if step.group is not None:
            what, advice = "be in a parallel group", "move the step out of the list, or take `interactive` out"
        else:
            word = "parallel" if "parallel" in step.values else "matrix"
            what = "be in a parallel group" if word == "parallel" else "have a matrix, whose steps run side by side"
            advice = f"take `interactive` or `{word}` out"
        message = f"an interactive step cannot {what}: it needs the terminal to itself"
        problems.append(step.options.key("interactive").problem(message, advice))


def _check_names(found: Sequence[Written | None], numbers: Sequence[int], problems: list[Problem]) -> None:
    """Tell of a name that two groups have, and of a group in more than one piece."""
    first: dict[str, Written] = {}
    told: set[str] = set()
    before: str | None = None
    for index in sorted(range(len(found)), key=numbers.__getitem__):
        written = found[index]
        name = written.name if written is not None else None
        if written is not None and written.name not in told:
            other = first.setdefault(written.name, written)
            both = f"{_where(other.place)} and {_where(written.place)}"
            if other.owner is not written.owner:
                told.add(written.name)
                message = f"two groups have the name `{one_line(written.name)}`: {both}"
                problems.append(written.place.problem(message, "rename one of them: a name means one group"))
            elif other is not written and name != before:
                told.add(written.name)
                message = f"the group `{one_line(written.name)}` is in two pieces: {both}"
                advice = "give the second piece another name, or renumber: between steps of a group there are no others"
                problems.append(written.place.problem(message, advice))
        before = name


def _where(place: Node) -> str:
    return one_line(f"{place.page.path}:{place.line}")
