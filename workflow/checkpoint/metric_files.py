"""The files in `metrics/`: `state_*.json` and `metrics_*.json`, of one moment each; the newest are kept."""

from __future__ import annotations

import os
import re
import time

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout

STATE = "state"
METRICS = "metrics"
MOST_KEPT = 100
_NAME = re.compile(r"(state|metrics)_(\d{8}_\d{6})(?:_(\d{1,9}))?\.json\Z")


def names(layout: RunLayout, kind: str) -> list[str]:
    """Return the names of the files of a kind, oldest first; empty when there are none."""
    try:
        found = [match for name in os.listdir(layout.metrics_dir) if (match := _NAME.match(name))]
    except OSError:
        return []
    of_kind = [match for match in found if match[1] == kind]
    return [match[0] for match in sorted(of_kind, key=lambda it: (it[2], int(it[3] or 1)))]


def newest(layout: RunLayout) -> records.Document | None:
    """Return the newest whole metrics of a run; None when there are none. What is damaged is passed over."""
    for name in reversed(names(layout, METRICS)):
        try:
            with open(f"{layout.metrics_dir}/{name}", "rb") as file:
                return records.decode_document(file.read(1 << 20))
        except (OSError, ValueError):
            continue
    return None


class MetricFiles:
    """Writes them for one invocation."""

    def __init__(self, disk: Disk, layout: RunLayout, *, sync: bool) -> None:
        self._disk = disk
        self._layout = layout
        self._sync = sync
        self._is_there = False
        self._kept: dict[str, list[str]] = {STATE: names(layout, STATE), METRICS: names(layout, METRICS)}

    def write(self, at: float, state: records.Document, metrics: records.Document) -> None:
        """Write both, whole or not at all, and remove the oldest beyond what is kept. Raises NotRecordedError."""
        if not self._is_there:
            self._disk.make_directories(self._layout.metrics_dir)
            self._is_there = True
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(at))
        for kind, document in ((STATE, state), (METRICS, metrics)):
            kept = self._kept[kind]
            name = self._free_name(kind, stamp)
            path = f"{self._layout.metrics_dir}/{name}"
            self._disk.write(path, records.encode_document(document), sync=self._sync)
            kept.append(name)
            while len(kept) > MOST_KEPT:
                self._disk.remove(f"{self._layout.metrics_dir}/{kept.pop(0)}", sync=False)

    def _free_name(self, kind: str, stamp: str) -> str:
        name, again = f"{kind}_{stamp}.json", 1
        if self._kept[kind] and (last := _NAME.match(self._kept[kind][-1])) and last[2] == stamp:
            again = int(last[3] or 1) + 1
            name = f"{kind}_{stamp}_{again}.json"
        while os.path.lexists(f"{self._layout.metrics_dir}/{name}"):  # the clock was set back
            again += 1
            name = f"{kind}_{stamp}_{again}.json"
        return name
