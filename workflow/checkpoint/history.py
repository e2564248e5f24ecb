"""How long steps took before, so that a person can be told what to expect. A cache: losing it costs that only.

One line of JSON a run, appended: two runs that end at once lose nothing, and a run of one step
writes one duration, however many steps the workflow has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot
from workflow.errors import NotRecordedError
from workflow.events import Event, StepFinished
from workflow.model import Status

KEPT = 5
MOST_LINES_READ = 20
LARGEST_BYTES = 8 << 20


def expected_s(root: CheckpointRoot, workflow_name: str, names: set[str]) -> dict[str, float]:
    """Return the middle one of the last durations of the steps that are named, where there are any."""
    if not names:
        return {}
    known: dict[str, list[float]] = {}
    is_incomplete = set(names)
    read = 0
    for line in reversed(_tail(root.history)):
        found = _durations(line, workflow_name)
        if not found:
            continue
        for name in is_incomplete & found.keys():
            known.setdefault(name, []).append(found[name])
            if len(known[name]) == KEPT:
                is_incomplete.discard(name)
        read += 1
        if read == MOST_LINES_READ or not is_incomplete:
            break
    return {name: sorted(durations_s)[len(durations_s) // 2] for name, durations_s in known.items()}


def remember(root: CheckpointRoot, disk: Disk, workflow_name: str, durations_s: Mapping[str, float]) -> None:
    """Add the durations of a run."""
    if not durations_s:
        return
    seconds = {name: round(duration_s, 3) for name, duration_s in durations_s.items()}
    line = json.dumps({"workflow": workflow_name, "seconds": seconds}).encode("ascii") + b"\n"
    try:
        disk.make_directory(root.cache)
        if disk.append(root.history, line) > LARGEST_BYTES:
            lines = _tail(root.history)
            disk.write(root.history, b"\n".join((*lines[len(lines) // 2 :], b"")), sync=False)
    except NotRecordedError:  # a cache: the run is recorded all the same
        return


def _tail(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LARGEST_BYTES))
            return [line for line in file.read(LARGEST_BYTES).split(b"\n") if line]
    except OSError:
        return []


def _durations(line: bytes, workflow_name: str) -> dict[str, float]:
    try:
        document: Any = json.loads(line)
        if document["workflow"] != workflow_name:
            return {}
        return {str(name): float(seconds) for name, seconds in document["seconds"].items()}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):  # torn, or not ours: the rest may be
        return {}


class Durations:
    """Collects how long completed steps took, for what the next run may expect."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is Status.SUCCEEDED:
            self.seconds[event.step.name] = event.duration_s
