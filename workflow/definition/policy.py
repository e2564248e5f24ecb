"""`--policy FILE`: what it changes of a definition, applied before the steps are built.

The values of a policy keep their places in its own file, so whatever is wrong with them is shown there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from workflow.definition import files
from workflow.definition.checks import checked_override, checked_policy
from workflow.definition.nodes import Node, Page, found, plain
from workflow.definition.raw import RawStep, RawWorkflow
from workflow.errors import Problem, UsageError, listed, nearest, one_line

_EXAMPLE = "a policy looks like `limits: {time: 2h}` or `steps:` with `build: {timeout: 1h}` below it"
# Their words change one by one; any other option changes as a whole.
_MERGED = frozenset({"env", "params", "resources"})
_Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy as read: `top` its mapping, `values` the words in it that are right, without `steps`.

    `steps` maps what it calls a step to the options it gives, and those of them that are right.
    """

    path: str
    top: Node
    values: _Values
    steps: Mapping[str, tuple[Node, _Values]]


def read(path: str, project: str, problems: list[Problem]) -> Policy | None:
    """Return the policy at `path` (absolute); None, with a problem added, when it is none.

    Raises UsageError when there is no such file.
    """
    shown = files.shown_path(project, path)
    if not os.path.lexists(path):
        advice = files.near_help(path) or "give another one: --policy FILE"
        raise UsageError(f"there is no policy {one_line(shown)}", help=advice)
    data = files.read_bytes(path, shown, problems)
    text = files.decoded(data, shown, problems) if data is not None else None
    if text is None:
        return None
    page = Page(shown, text)
    before = len(problems)
    if path.endswith(".json"):
        from workflow.definition import json_text

        top = json_text.read(page, problems)
    else:
        from workflow.definition import yaml_text

        top = yaml_text.read(page, problems)
    if top is None or not (top.entries or top.items or top.text):
        if len(problems) == before:
            problems.append(Problem("this policy is empty", shown, help=_EXAMPLE))
        return None
    if top.entries is None:
        message = f"a policy is a mapping of words like `limits:`, not {found(plain(top))}"
        problems.append(top.problem(message, _EXAMPLE))
        return None
    values = checked_policy(top, problems)
    return Policy(path, top, values, _overrides(top, problems))


def _overrides(top: Node, problems: list[Problem]) -> dict[str, tuple[Node, _Values]]:
    steps = top.entries["steps"].value if top.entries and "steps" in top.entries else None
    if steps is None or steps.entries is None:  # a problem tells of what is no mapping
        return {}
    return {
        name: (entry.value, checked_override(entry.value, problems))
        for name, entry in steps.entries.items()
        if entry.value.entries is not None
    }


def apply(
    policy: Policy, raw: RawWorkflow, numbers: Sequence[int], names: Sequence[str], problems: list[Problem]
) -> None:
    """Change `raw` as the policy says; `numbers` and `names` are those of its steps. Adds a problem for each step it
    names that is not there, or twice."""
    raw.top, raw.values = _merged_top(raw, policy)
    env = policy.top.entries["env"].value if policy.top.entries and "env" in policy.values else None
    if env is not None:
        for step in raw.steps:
            _change(step, _wrapped(policy.top, "env", env), {"env": policy.values["env"]})
    named: dict[int, str] = {}
    for name, (options, values) in policy.steps.items():
        place = policy.top.at(["steps"]).key(name)
        index = _index(name, numbers, names)
        if index is None:
            if not raw.is_partial:
                near = nearest(name, names)
                there = listed(f"{number:02d} {one_line(own)}" for number, own in zip(numbers, names, strict=True))
                advice = f"did you mean `{one_line(near)}`?" if near else f"steps there are: {there}"
                problems.append(place.problem(f"there is no step `{one_line(name[:80])}`", advice))
        elif index in named:
            message = f"`{one_line(name[:80])}` and `{one_line(named[index][:80])}` are the same step"
            problems.append(place.problem(message, "put all its options below one of them"))
        else:
            named[index] = name
            _change(raw.steps[index], options, values)


def _index(name: str, numbers: Sequence[int], names: Sequence[str]) -> int | None:
    """Return which step is meant: its name, else its number. Of a matrix, its own name or its first number."""
    if name in names:
        return names.index(name)
    # ASCII only, and not beyond what can be a number: int() takes more than that, or raises.
    if name.isascii() and name.isdigit() and len(name) < 20 and int(name) in numbers:
        return numbers.index(int(name))
    return None


def _change(step: RawStep, options: Node, values: _Values) -> None:
    """Put options of a policy in place of those that the step has; those that are wrong too, so that they count."""
    own = dict(step.values)
    for word in options.entries or {}:
        if word not in values:
            own.pop(word, None)  # wrong: a problem tells of it
        elif word in _MERGED and isinstance(own.get(word), dict):
            own[word] = {**own[word], **values[word]}
        else:
            own[word] = values[word]
    step.options = _merged(step.options, options, _MERGED)
    step.values = own


def _merged_top(raw: RawWorkflow, policy: Policy) -> tuple[Node, dict[str, Any]]:
    """Return the top of the definition, and its values, with the policy's `checkpoints` and `limits` in it."""
    words = {word: entry for word, entry in (policy.top.entries or {}).items() if word in ("checkpoints", "limits")}
    values = dict(raw.values)
    for word in words:
        given = policy.values.get(word, {})
        values[word] = {**values.get(word, {}), **given}
        if word == "checkpoints" and "retention" in given:
            before = raw.values.get(word, {}).get("retention", {})
            values[word]["retention"] = {**before, **given["retention"]}
    if "jobs" in values.get("limits", {}) and "jobs" in policy.values.get("limits", {}):
        values.pop("jobs", None)  # the definition's other word for it
    top = _merged(raw.top, dataclasses.replace(policy.top, entries=words), frozenset(words) | {"retention"})
    return top, values


def _merged(base: Node | None, over: Node, deeply: frozenset[str]) -> Node:
    """Return a mapping with the entries of both, those of `over` winning; below words in `deeply` entry by entry."""
    if base is None or base.entries is None:
        return over
    entries = dict(base.entries)
    for word, entry in (over.entries or {}).items():
        mine = entries.get(word)
        if mine is not None and word in deeply and mine.value.entries is not None and entry.value.entries is not None:
            entry = entry._replace(value=_merged(mine.value, entry.value, deeply))
        entries[word] = entry
    return dataclasses.replace(base, entries=entries)


def _wrapped(top: Node, word: str, value: Node) -> Node:
    """Return a mapping that holds nothing but one entry of `top`."""
    assert top.entries is not None
    return dataclasses.replace(top, entries={word: top.entries[word]._replace(value=value)})
