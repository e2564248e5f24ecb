"""`matrix:` -> how many steps it makes, their names and their values, counted before anything is spelled out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from workflow.definition.raw import RawStep
from workflow.errors import Problem, one_line

# In one definition: a few lines of YAML must not become a million steps.
MOST_COMBINATIONS = 10_000
MOST_KEYS = 32
_UNCOUNTED = 10**15  # a number of more digits tells nobody more
# Names stand in messages and tables; two values that begin alike are told apart by a suffix.
_LONGEST_PART = 60


class Variant(NamedTuple):
    """One step of a matrix: its name, and the variables that make it that one."""

    name: str
    values: tuple[tuple[str, str], ...]


def sizes(steps: Sequence[RawStep], problems: list[Problem]) -> list[int]:
    """Return for each step how many it stands for: 1 without a matrix, 0 where nobody can know."""
    result = [1] * len(steps)
    total = 0
    for index, step in enumerate(steps):
        if step.options is None:
            continue
        if "matrix" not in step.values:
            result[index] = 0 if step.is_wrong("matrix") else 1
            continue
        _check(step, problems)
        size = _size(step)
        total += size
        message = _excess(step, size, total)
        if message:
            problems.append(step.option_problem("matrix", message, "take values out, or loop over them in the script"))
            total -= size
            size = 0
        result[index] = size
    return result


def variants(step: RawStep, name: str) -> list[Variant]:
    """Return the steps of a matrix in order, the first key varying slowest. `name` is what they all go by."""
    keys = step.values["matrix"]
    following: dict[str, int] = {}
    result = []
    for values in product(*keys.values()):
        own = wanted = "-".join((name, *(_part(value) for value in values)))
        while own in following:
            following[wanted] += 1
            own = f"{wanted}_{following[wanted]}"
        following[own] = 1
        result.append(Variant(own, tuple(zip(keys, values, strict=True))))
    return result


def _size(step: RawStep) -> int:
    """Return the number of combinations, or some number that is far too large."""
    size = 1
    for values in step.values["matrix"].values():
        size *= len(values)
        if size > _UNCOUNTED:
            break
    return size


def _excess(step: RawStep, size: int, total: int) -> str:
    """Return what is too much of a matrix; empty when nothing is."""
    keys = len(step.values["matrix"])
    if keys > MOST_KEYS:
        return f"this matrix has {keys:,} keys; {MOST_KEYS} is the most"
    if total <= MOST_COMBINATIONS:
        return ""
    makes = f"{total:,} steps" if total <= _UNCOUNTED else f"more than {_UNCOUNTED:,} steps"
    together = "" if total == size else ", with those before it"
    return f"this matrix makes {makes}{together}; a workflow may have {MOST_COMBINATIONS:,} of them"


def _part(value: str) -> str:
    """Return a value as part of a name: without what nobody can type or would take for a path."""
    shown = "".join("_" if char == "/" or char.isspace() or not char.isprintable() else char for char in value)
    return shown[:_LONGEST_PART] or "_"


def _check(step: RawStep, problems: list[Problem]) -> None:
    """Tell of values that stand there twice, and of variables that would have two values."""
    assert step.options is not None
    for key, values in step.values["matrix"].items():
        place = step.options.at(["matrix"])
        for word in ("env", "params"):
            if key in step.values.get(word, ()):
                message = (
                    f"`{one_line(key)}` is a key of `matrix` and a variable in `{word}`: it cannot have both values"
                )
                problems.append(place.key(key).problem(message, "rename one of them, or take it out"))
        for index in _repeated(values):
            message = f"the value `{one_line(values[index][:80])}` of `{one_line(key)}` stands here twice"
            problems.append(step.options.at(["matrix", key, index]).problem(message, "keep one of them"))


def _repeated(values: Sequence[str]) -> Iterator[int]:
    if len(set(values)) == len(values):
        return
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index
        seen.add(value)
