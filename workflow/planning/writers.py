"""Declared outputs that more than one step writes: whose digest counts is the last one's, and people should know."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from workflow.errors import one_line
from workflow.model import Step


def written_by_many(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """Return declared outputs with the steps that write them or something below them, where those are several.

    Paths are relative to the project where they lie inside; steps are in order of their numbers.
    """
    found: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.outputs:
            found.setdefault(os.path.normpath(os.path.join(step.working_directory, name)), []).append(step)
    for path in list(found):
        above = os.path.dirname(path)
        while above and above not in ("/", "."):
            if above in found:
                found[above] += found[path]
            above = os.path.dirname(above)
    several = {path: sorted(_once(line), key=lambda step: step.number) for path, line in found.items()}
    return {path: line for path, line in several.items() if len(line) > 1}


def below(paths: Collection[str]) -> dict[str, list[str]]:
    """Return for each of these absolute paths those of them that lie below it, where there are any."""
    found: dict[str, list[str]] = {}
    for path in paths:
        above = os.path.dirname(path)
        while above != os.path.dirname(above):
            if above in paths:
                found.setdefault(above, []).append(path)
            above = os.path.dirname(above)
    return found


def _once(line: Sequence[Step]) -> list[Step]:
    return list({step.number: step for step in line}.values())


def sentences(written: Mapping[str, Sequence[Step]]) -> list[str]:
    """Return what to say of each: who makes it and who edits it."""
    told = []
    for path, (first, *others) in sorted(written.items()):
        editors = ", ".join(one_line(step.title) for step in others)
        told.append(f"{one_line(path)} is made by {one_line(first.title)} and edited by {editors}")
    return told


def writers_document(written: Mapping[str, Sequence[Step]]) -> list[dict[str, object]]:
    """Return the same as items of a document: `path`, and `steps` with `step` and `name` of each."""
    return [
        {"path": path, "steps": [{"step": step.number, "name": step.name} for step in line]}
        for path, line in sorted(written.items())
    ]
