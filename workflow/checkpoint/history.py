"""How long steps took before, so that a person can be told what to expect. A cache: losing it costs that only."""

from __future__ import annotations

import json
from collections.abc import Mapping

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot
from workflow.errors import NotRecordedError

KEPT = 5


def expected_s(root: CheckpointRoot, workflow_name: str, names: set[str]) -> dict[str, float]:
    """Return the middle one of the last durations of the steps that are named, where there are any."""
    known = _read(root).get(workflow_name, {}) if names else {}
    return {name: sorted(known[name])[len(known[name]) // 2] for name in names if known.get(name)}


def remember(root: CheckpointRoot, disk: Disk, workflow_name: str, durations_s: Mapping[str, float]) -> None:
    """Add the durations of a run. Two runs that end at once may lose one of the two; nothing depends on it."""
    if not durations_s:
        return
    history = _read(root)
    known = history.setdefault(workflow_name, {})
    for name, duration_s in durations_s.items():
        known[name] = [*known.get(name, [])[1 - KEPT :], round(duration_s, 3)]
    try:
        disk.make_directory(root.cache)
        disk.write(root.history, json.dumps(history).encode("ascii"), sync=False)
    except NotRecordedError:  # a cache: the run is recorded all the same
        return


def _read(root: CheckpointRoot) -> dict[str, dict[str, list[float]]]:
    try:
        with open(root.history, "rb") as file:
            history = json.loads(file.read(64 << 20))
        return {
            str(name): {str(step): [float(it) for it in durations] for step, durations in steps.items()}
            for name, steps in history.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
