"""workflow.yaml (or .yml, or .json) -> raw steps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workflow.definition import files, groups, steps_directory
from workflow.definition.checks import checked_group, checked_step, checked_top
from workflow.definition.header import hashbang_words
from workflow.definition.nodes import Node, Page, found, plain
from workflow.definition.raw import RawGroup, RawStep, RawWorkflow, digest
from workflow.errors import Problem, one_line
from workflow.model import TEXT_SHELL, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EXAMPLE = "a workflow looks like `steps:` with `- name: build` and `run: make` below it"


def read(path: str, project: str, problems: list[Problem]) -> RawWorkflow:
    """Return what the file at `path` (absolute) says; directories it takes in are read, too."""
    shown = files.shown_path(project, path)
    data = files.read_bytes(path, shown, problems)
    text = files.decoded(data, shown, problems) if data is not None else None
    if text is None:
        return RawWorkflow([])
    page = Page(shown, text)
    before = len(problems)
    if path.endswith(".json"):
        from workflow.definition import json_text

        top = json_text.read(page, problems)
    else:
        from workflow.definition import yaml_text

        top = yaml_text.read(page, problems)
    if top is None:
        if len(problems) == before:
            problems.append(Problem("this file is empty", shown, help=_EXAMPLE))
        return RawWorkflow([])
    if top.entries is None:
        message = f"a workflow is a mapping of words like `steps:`, not {found(plain(top))}"
        problems.append(top.problem(message, _EXAMPLE))
        return RawWorkflow([])
    raw = RawWorkflow([], top, checked_top(top, problems))
    if "steps" not in top.entries:
        problems.append(Problem("the workflow has no `steps`", shown, help=_EXAMPLE))
        return raw
    steps = top.entries["steps"].value
    if steps.items is not None:
        if not steps.items:
            problems.append(steps.problem("the list of steps is empty", _EXAMPLE))
        for item in steps.items:
            for inner, group in _items_of(item, raw, problems):
                found_steps = _steps_of(inner, shown, project, problems)
                for step in found_steps:
                    step.group = group
                raw.steps.extend(found_steps)
                raw.is_partial = raw.is_partial or not found_steps
    else:
        raw.steps.extend(_taken_in(steps if steps.text else top.at(["steps"]), steps, project, problems))
    return raw


def _items_of(item: Node, raw: RawWorkflow, problems: list[Problem]) -> Iterator[tuple[Node, RawGroup | None]]:
    """Yield an item that is a step or a directory, or the items of a list below `parallel:`, with their group."""
    if not _is_group(item):
        yield item, None
        return
    values = checked_group(item, problems)
    is_wrong = "name" not in values and item.entries is not None and "name" in item.entries
    group = RawGroup(item.key("parallel"), values.get("name", ""), is_wrong=is_wrong)
    inner = item.at(["parallel"])
    raw.is_partial = raw.is_partial or not inner.items
    for one in inner.items or ():
        if _is_group(one):
            problems.append(groups.nested(one.key("parallel")))
            raw.is_partial = True
        else:
            yield one, group


def _is_group(item: Node) -> bool:
    """Tell a list of steps that run side by side from a step that names its group."""
    if item.entries is None or "parallel" not in item.entries:
        return False
    value = item.entries["parallel"].value
    return value.items is not None or ("run" not in item.entries and (value.entries is not None or not value.text))


def _steps_of(item: Node, shown: str, project: str, problems: list[Problem]) -> Sequence[RawStep]:
    """Return the step that an item of the list is, or the steps it takes in."""
    if item.entries is None:
        message = f"a step wants a mapping like `name: build` and `run: make`, not {found(plain(item))}"
        problems.append(item.problem(message, _item_help(item)))
        return ()
    if "steps" in item.entries:
        others = [word for word in item.entries if word != "steps"]
        if others:
            message = f"`{one_line(others[0])}` cannot stand beside `steps` in one item"
            problems.append(item.key(others[0]).problem(message, "make it an item of its own"))
        return _taken_in(item.at(["steps"]), item.entries["steps"].value, project, problems)
    values = checked_step(item, problems)
    step = RawStep(Source(shown, item.line), options=item, values=values, place=item, kind="item")
    if item.entries:
        step.place = next(iter(item.entries.values())).key
    text = values.get("run")
    if text is None:
        if "run" not in item.entries:
            problems.append(step.problem("this step has no `run`", "say what it does, like `run: make`"))
        text = ""
    assert isinstance(text, str)
    data = text.encode("utf-8", "surrogateescape")
    step.text = text
    step.content_digest = digest(data)
    step.interpreter = TEXT_SHELL
    if text.startswith("#!"):
        words = hashbang_words(text.split("\n", 1)[0])
        if words:
            step.interpreter = words
        else:
            problems.append(item.at(["run"]).problem("the `#!` line names no program", "write one, like `#!/bin/sh`"))
    return (step,)


def _item_help(item: Node) -> str:
    if item.items is None and item.text:
        first = item.text.split("\n", 1)[0][:60]
        return f"write `- run: {one_line(first)}`"
    return ""


def _taken_in(place: Node, value: Node, project: str, problems: list[Problem]) -> Sequence[RawStep]:
    """Return the steps of a directory named in the file."""
    said = plain(value)
    if not isinstance(said, str) or not said:
        wants = "a list of steps, or the path of a directory of numbered scripts"
        problems.append(place.problem(f"`steps` wants {wants}, not {found(said)}"))
        return ()
    directory = files.absolute_path(project, said)
    if not os.path.isdir(directory):
        problems.append(place.problem(f"there is no directory {one_line(said)}", files.near_help(directory)))
        return ()
    return steps_directory.read(directory, project, problems)
