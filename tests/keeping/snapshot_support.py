"""What the tests of snapshots look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Project
from workflow.checkpoint import snapshots
from workflow.checkpoint.layout import RunLayout


def layout_of(project: Project) -> RunLayout:
    return RunLayout(str(project.newest_run))


def triggers(project: Project) -> list[str]:
    """Return the triggers of the snapshots of the newest run, in order; their numbers must be 1, 2, 3, …"""
    found = snapshots.listed(layout_of(project))
    assert [entry.number for entry in found] == list(range(1, len(found) + 1))
    return [entry.trigger for entry in found]


def snapshot(project: Project, number: int) -> dict[str, Any]:
    """Return a snapshot of the newest run, its checksum checked; 0: the newest."""
    layout = layout_of(project)
    last = snapshots.newest(layout)
    assert last is not None
    return snapshots.read(layout, number or last.number)


def named(project: Project) -> list[tuple[str, str]]:
    """Return trigger and name of the snapshots of the newest run, in order."""
    return [(head.trigger, head.name or "") for head in snapshots.heads(layout_of(project))]


def words(document: dict[str, Any]) -> dict[str, str]:
    """Return the status of each step in a snapshot, by label."""
    return {label: task["status"] for label, task in document["tasks"].items()}


def values_of(run: Path) -> dict[str, Any]:
    """Return the published values that checkpoint.json tells of."""
    master = json.loads((run / "checkpoint.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = master["recovery_context"]["environment"]["shared_state"]
    return found
