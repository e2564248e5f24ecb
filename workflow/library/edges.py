"""Edges between steps, and which way a run goes where they have conditions.

An edge says that one step comes after another; with a test, that this way is only taken when the test holds. A step is
reached when at least one way to it was taken. That is worked out here, once, into the `needs` and `if` of each step:
which way a run went is recorded with the steps, and a resume goes the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from workflow.errors import UsageError, listed, nearest, one_line


class Edge(NamedTuple):
    """`when` is a shell test, empty for none."""

    before: str
    after: str
    when: str = ""


def equals(variable: str, value: object) -> str:
    """Return the shell test that holds where a published value is this one."""
    if not variable.isidentifier() or not variable.isascii():
        raise UsageError(f"`{one_line(variable)}` cannot be the name of a published value", help="letters, digits, `_`")
    text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    return f'[ "${{{variable}-}}" = {shlex.quote(str(text))} ]'


def applied(
    names: Sequence[str], words: Mapping[str, Mapping[str, Any]], edges: Iterable[Edge], start: str | None
) -> dict[str, dict[str, Any]]:
    """Return the words of each step with what the edges say of it. Raises UsageError for edges that cannot be.

    Where there are edges at all, a step that none leads to waits for nothing.
    """
    edges = list(edges)
    for edge in edges:
        for name in (edge.before, edge.after):
            _refuse_unknown(name, names)
    if start is not None:
        _refuse_unknown(start, names)
    result = {name: dict(words[name]) for name in names}
    if not edges:
        return result
    into: dict[str, list[Edge]] = {name: [] for name in names}
    for edge in edges:
        into[edge.after].append(edge)
    ways: dict[str, str | None] = {}
    for name in _sorted(names, into):
        said = _listed(result[name].get("needs", []))
        needs = list(dict.fromkeys([*said, *(edge.before for edge in into[name])]))
        if needs or not said:
            result[name]["needs"] = needs
        way = _way(into[name], ways)
        own = result[name].get("if")
        if own in ("always", "failure"):
            if way is not None:
                raise UsageError(
                    f"step {one_line(name)} runs at the end (if: {own}) and is reached under a condition: not both",
                    help="take the condition out of the edge, or `when` out of the step",
                )
            ways[name] = None
            continue
        tests = [test for test in (way, own) if test]
        ways[name] = " && ".join(f"{{ {test}; }}" for test in tests) if len(tests) > 1 else next(iter(tests), None)
        if way is not None:
            result[name]["if"] = str(ways[name])
    if start is not None:
        _refuse_unreachable(names, result, start)
    return result


def _way(edges: Sequence[Edge], ways: Mapping[str, str | None]) -> str | None:
    """Return the test that holds where a step is reached; None: it always is."""
    tests = []
    for edge in edges:
        parts = [part for part in (ways[edge.before], edge.when) if part]
        if not parts:
            return None
        tests.append(" && ".join(f"{{ {part}; }}" for part in parts) if len(parts) > 1 else parts[0])
    tests = list(dict.fromkeys(tests))
    if not tests:
        return None
    return " || ".join(f"{{ {test}; }}" for test in tests) if len(tests) > 1 else tests[0]


def _sorted(names: Sequence[str], into: Mapping[str, Sequence[Edge]]) -> list[str]:
    """Return the steps so that each comes after those that lead to it. Raises UsageError for a circle of edges."""
    left = {name: {edge.before for edge in into[name]} for name in names}
    done: list[str] = []
    while left:
        free = [name for name, before in left.items() if not before & left.keys()]
        if not free:
            raise UsageError(
                f"these edges go round in a circle: {listed(one_line(name) for name in left)}",
                help="a step that is to run again and again: repeat={'until': TEST, 'max_iterations': N}",
            )
        for name in free:
            del left[name]
        done += free
    return done


def _refuse_unknown(name: str, names: Sequence[str]) -> None:
    if name not in names:
        near = nearest(name, names)
        advice = f"did you mean {near}?" if near else f"steps there are: {listed(one_line(it) for it in names)}"
        raise UsageError(f"an edge names a step that is not there: {one_line(name)}", help=advice)


def _refuse_unreachable(names: Sequence[str], words: Mapping[str, Mapping[str, Any]], start: str) -> None:
    reached = {start}
    while True:
        more = {name for name in names if name not in reached and reached & set(_listed(words[name].get("needs", [])))}
        if not more:
            break
        reached |= more
    missing = [name for name in names if name not in reached]
    if missing:
        raise UsageError(
            f"no way leads from {one_line(start)} to {listed(one_line(name) for name in missing)}",
            help=f'add one: .edge("{one_line(start)}", "{one_line(missing[0])}")',
        )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
