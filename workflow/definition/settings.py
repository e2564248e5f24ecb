"""The `checkpoints:` section, from JSON values that the schema let pass to settings; and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from workflow.definition.nodes import Node
from workflow.model import CheckpointSettings, Retention, Source

# People write 0 where they want no limit and no snapshots by that measure.
_ZERO_IS_NONE = frozenset(
    {"interval_minutes", "task_interval", "max_size_mb", "metrics_interval", "max_age_days", "max_count"}
)


def checkpoint_settings(values: Mapping[str, Any]) -> CheckpointSettings:
    """Return the settings that a section says; what it leaves out has its standard value."""
    given = {word: _value(word, value) for word, value in values.items() if word != "retention"}
    retention = {word: _value(word, value) for word, value in values.get("retention", {}).items()}
    return CheckpointSettings(**given, retention=Retention(**retention))


def said_at(top: Node | None) -> dict[str, Source]:
    """Return where each setting was written down, by its name (`retention.max_age_days`), given the top of it all."""
    words = top.entries if top is not None and top.entries else {}
    if "checkpoints" not in words:
        return {}
    places: dict[str, Source] = {}
    for word, entry in (words["checkpoints"].value.entries or {}).items():
        if word == "retention":
            for inner, one in (entry.value.entries or {}).items():
                places[f"retention.{inner}"] = Source(one.key.page.path, one.key.line)
        else:
            places[word] = Source(entry.key.page.path, entry.key.line)
    return places


def section(settings: CheckpointSettings) -> dict[str, Any]:
    """Return the section that says these settings, without what is standard."""
    standard = CheckpointSettings()
    said: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value, usual = getattr(settings, field.name), getattr(standard, field.name)
        if value == usual:
            continue
        if isinstance(value, Retention):
            pairs = zip(value._asdict().items(), usual, strict=True)
            said[field.name] = {word: _said(it) for (word, it), other in pairs if it != other}
        else:
            said[field.name] = _said(value)
    return said


def _value(word: str, value: Any) -> Any:
    return None if word in _ZERO_IS_NONE and value == 0 else value


def _said(value: Any) -> Any:
    return 0 if value is None else value
