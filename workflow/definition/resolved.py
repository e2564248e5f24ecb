"""A workflow as a plain document and back, exactly: what `workflow.json` of a run holds.

What equals the default is left out, so that ten thousand plain steps stay small and quick.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from workflow.model import CheckpointSettings, Source, Step, Workflow

_PAIRS = ("env", "params")
_LISTS = ("interpreter", "needs", "outputs")
_PLAIN = ("script", "text", "content_digest", "working_directory", "timeout_s", "interactive", "on_interrupt")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Step)}


def resolved(workflow: Workflow) -> dict[str, Any]:
    """Return the workflow as a document of str, int, float, bool, list and dict.

    Strings may hold surrogate escapes (names that are not UTF-8): write it as ASCII JSON.
    """
    document: dict[str, Any] = {
        "name": workflow.name,
        "project": workflow.project,
        "source": workflow.source,
    }
    if workflow.time_limit_s is not None:
        document["time_limit_s"] = workflow.time_limit_s
    settings = dataclasses.asdict(workflow.checkpoints)
    standard = dataclasses.asdict(CheckpointSettings())
    changed = {key: value for key, value in settings.items() if value != standard[key]}
    if changed:
        document["checkpoints"] = changed
    document["steps"] = [_step_document(step) for step in workflow.steps]
    return document


def from_resolved(document: dict[str, Any]) -> Workflow:
    """Undo `resolved`. Raises ValueError when the document is not of that form."""
    try:
        return Workflow(
            name=document["name"],
            project=document["project"],
            source=document["source"],
            steps=tuple(_step(entry) for entry in document["steps"]),
            time_limit_s=document.get("time_limit_s"),
            checkpoints=CheckpointSettings(**document.get("checkpoints", {})),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no resolved workflow: {type(error).__name__}: {error}") from error


def _step_document(step: Step) -> dict[str, Any]:
    entry: dict[str, Any] = {"number": step.number, "name": step.name}
    if step.source != (step.script, 0):
        entry["source"] = list(step.source)
    for key in _PLAIN:
        value = getattr(step, key)
        if value != _DEFAULTS[key]:
            entry[key] = value
    for key in _LISTS:
        value = getattr(step, key)
        if value != _DEFAULTS[key]:
            entry[key] = list(value)
    for key in _PAIRS:
        value = getattr(step, key)
        if value:
            # A mapping reads best, and JSON keeps its order; names are unique by then.
            entry[key] = dict(value)
    return entry


def _step(entry: dict[str, Any]) -> Step:
    fields = dict(entry)
    source = fields.get("source")
    fields["source"] = Source(fields["script"], 0) if source is None else Source(*source)
    for key in _LISTS:
        if key in fields:
            fields[key] = tuple(fields[key])
    for key in _PAIRS:
        if key in fields:
            fields[key] = tuple(fields[key].items())
    return Step(**fields)
