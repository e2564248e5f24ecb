"""The `hooks:` section: commands that run when something happens in a run."""

from __future__ import annotations

from typing import Any

from workflow.definition import options
from workflow.definition.raw import RawWorkflow
from workflow.errors import Problem
from workflow.model import HOOK_EVENTS, Hook, Source


def hooks(raw: RawWorkflow, problems: list[Problem]) -> tuple[Hook, ...]:
    """Return the hooks, by event in the order of a run, those of one event as they were written."""
    said: dict[str, Any] = raw.values.get("hooks", {})
    if not said or raw.top is None:
        return ()
    section = raw.top.at(["hooks"])
    found: list[Hook] = []
    for event in HOOK_EVENTS:
        if event not in said:
            continue
        value = said[event]
        is_list = isinstance(value, list)
        for at, one in enumerate(value if is_list else [value]):
            node = section.at([event, at]) if is_list else section.at([event])
            given: dict[str, Any] = {"run": one} if isinstance(one, str) else one
            command: str = given["run"]
            if "\0" in command:
                problems.append(node.problem("a command cannot hold a zero byte"))
                continue
            limit_s = _limit_s(given, node, problems)
            place = Source(node.page.path, node.line if is_list else section.key(event).line)
            found.append(Hook(event, command, place, limit_s, given.get("required", False)))
    return tuple(found)


def _limit_s(given: dict[str, Any], node: Any, problems: list[Problem]) -> float:
    standard = Hook._field_defaults["timeout_s"]
    if "timeout" not in given:
        return float(standard)
    seconds = options.duration_s(given["timeout"])
    if seconds is None:
        problems.append(node.at(["timeout"]).problem(options.duration_problem("timeout", given["timeout"])))
    return float(standard) if seconds is None else seconds
