"""A workflow as a plain document and back, exactly: what `workflow.json` of a run holds.

What equals the default is left out, so that ten thousand plain steps stay small and quick.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from workflow.definition.settings import checkpoint_settings, section
from workflow.model import NO_RULES, GitSettings, Input, Limits, Repeat, Retries, Rules, Smart, Source, Step, Workflow

_PAIRS = ("env", "params")
_LISTS = ("interpreter", "needs", "outputs", "archive")
_PLAIN = (
    "script",
    "text",
    "content_digest",
    "working_directory",
    "timeout_s",
    "interactive",
    "on_interrupt",
    "group",
    "side_effects",
)
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
    changed = section(workflow.checkpoints)
    if changed:
        document["checkpoints"] = changed
    limits = _changed(workflow.limits, Limits())
    if limits:
        document["limits"] = limits
    smart = _changed(workflow.smart, Smart())
    if smart:
        document["smart"] = smart
    git = _changed(workflow.git, GitSettings())
    if git:
        document["git"] = git
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
            checkpoints=checkpoint_settings(document.get("checkpoints", {})),
            limits=Limits(**document.get("limits", {})),
            smart=Smart(**document.get("smart", {})),
            git=GitSettings(**document.get("git", {})),
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
    if step.inputs:
        entry["inputs"] = [list(item) for item in step.inputs]
    if step.rules is not NO_RULES:
        rules = _rules_document(step.rules)
        if rules:
            entry["rules"] = rules
    return entry


def _rules_document(rules: Rules) -> dict[str, Any]:
    document = _changed(rules, NO_RULES)
    if "retries" in document:
        document["retries"] = _changed(rules.retries, Retries())
    if "on_exit" in document.get("retries", {}):
        document["retries"]["on_exit"] = list(rules.retries.on_exit)
    if "matrix" in document:
        document["matrix"] = dict(rules.matrix)
    if rules.repeat is not None:
        document["repeat"] = _changed(rules.repeat, Repeat())
    return document


def _changed(value: NamedTuple, standard: NamedTuple) -> dict[str, Any]:
    """Return the fields that are not as in `standard`."""
    return {key: one for key, one, other in zip(value._fields, value, standard, strict=True) if one != other}


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
    if "inputs" in fields:
        fields["inputs"] = tuple(Input(*item) for item in fields["inputs"])
    if "rules" in fields:
        fields["rules"] = _rules(fields["rules"])
    return Step(**fields)


def _rules(document: dict[str, Any]) -> Rules:
    fields = dict(document)
    if "retries" in fields:
        retries = dict(fields["retries"])
        retries["on_exit"] = tuple(retries.get("on_exit", ()))
        fields["retries"] = Retries(**retries)
    if "matrix" in fields:
        fields["matrix"] = tuple(fields["matrix"].items())
    if "repeat" in fields:
        fields["repeat"] = Repeat(**fields["repeat"])
    return Rules(**fields)
