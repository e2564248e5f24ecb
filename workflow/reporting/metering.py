"""An observer that writes how a run goes into its `metrics/`, after every so many steps and iterations.

What cannot be written is a warning, once: nothing rests on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from decimal import Decimal

from workflow.checkpoint import commits, metric_files, records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import FORMAT_VERSION, RunLayout
from workflow.checkpoint.metric_files import MetricFiles
from workflow.checkpoint.removal import size_of_run
from workflow.checkpoint.spending import NAMES, number
from workflow.errors import NotRecordedError
from workflow.events import Event, Notice, RunStarted, StepFinished, StepIterated, StepStarted, StepWaiting
from workflow.model import Choice, RunStatus, Status, Step

# Measuring looks at every file of the run.
SIZE_PAUSE_S = 10.0
# Sums that go on where the invocation before left off, as far as it had written them.
_CARRIED = ("elapsed_seconds", "step_seconds", "recording_seconds", "attempts", "retries")


class Metering:
    """Counts what happens in a run. `every` is the number of steps and iterations between two files."""

    def __init__(
        self,
        disk: Disk,
        layout: RunLayout,
        *,
        every: int,
        started_at: float,
        epoch: int,
        sync: bool,
        totals: Callable[[], Mapping[str, Decimal]],
        recording_s: Callable[[], float],
        warn: Callable[[Notice], None],
    ) -> None:
        """`totals` returns what the run spent so far, `recording_s` how long this invocation was recording."""
        self._layout = layout
        self._files = MetricFiles(disk, layout, sync=sync)
        self._every = every
        self._started_at = started_at
        self._epoch = epoch
        self._totals = totals
        self._recording_s = recording_s
        self._warn = warn
        self._began = time.monotonic()
        self._own_s = 0.0
        self._since = 0
        self._size = 0
        self._measured = -SIZE_PAUSE_S
        before = metric_files.newest(layout) if epoch > 1 else None
        self._sums = {name: _amount(before, name) for name in _CARRIED}
        self._workflow = ""
        self._iterations: dict[int, int] = {}  # by step
        self._total = self._completed = self._failed = self._skipped = 0
        self._has_warned = False

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, StepStarted):
            self._sums["attempts"] += 1
        elif isinstance(event, StepWaiting):
            self._sums["retries"] += event.why == "retry"
        elif isinstance(event, StepIterated):
            self._iterations[event.step.number] = event.iteration
            self._sums["step_seconds"] += event.duration_s
            self._count()
        elif isinstance(event, StepFinished):
            self._finished(event)

    def _start(self, event: RunStarted) -> None:
        self._workflow = event.workflow.name
        self._total = len(event.workflow.steps)
        for decision in event.decisions.values():
            self._completed += decision.choice in (Choice.BYPASS, Choice.REUSE)
            self._skipped += decision.choice is Choice.SKIP
        if self._epoch > 1:
            for step in event.workflow.steps:
                if step.rules.repeat is not None and not self._begins_anew(step, event):
                    self._iterations[step.number] = commits.iterations_done(self._layout, step.number, step.name)

    def _begins_anew(self, step: Step, event: RunStarted) -> bool:
        is_to_run = event.decisions[step.number].choice is Choice.RUN
        return is_to_run and os.path.lexists(self._layout.marker(step.number))

    def _finished(self, event: StepFinished) -> None:
        if event.status in (Status.SUCCEEDED, Status.REUSED):
            self._completed += 1
        elif event.status is Status.FAILED:
            self._failed += 1
        elif event.status is Status.SKIPPED:
            self._skipped += 1
        if event.attempt is None:
            return
        if event.step.rules.repeat is None or event.status is not Status.SUCCEEDED:  # its iterations were counted
            self._sums["step_seconds"] += event.duration_s
        self._count()

    def _count(self) -> None:
        self._since += 1
        if self._since >= self._every:
            going = RunStatus.IN_PROGRESS if self._epoch == 1 else RunStatus.RETRYING
            self._write(going)

    def finish(self, status: RunStatus) -> None:
        """Write how the invocation ended; nothing is counted after that."""
        self._measured = -SIZE_PAUSE_S
        self._write(status)

    def _write(self, status: RunStatus) -> None:
        began = time.monotonic()
        self._since = 0
        at = time.time()
        try:
            self._files.write(at, self._state(at, status), self._metrics(at, status, began))
        except NotRecordedError as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(Notice(f"metrics were not written: {error.message}", error.help))
        self._own_s += time.monotonic() - began

    def _state(self, at: float, status: RunStatus) -> records.Document:
        spent = self._spent()
        return {
            "version": FORMAT_VERSION,
            "workflow_id": self._layout.run_id,
            "iteration": sum(self._iterations.values()) or self._completed,
            "agent": self._workflow,
            "start_time": records.utc_text(self._started_at),
            "at": records.utc_text(at),
            "tokens_used": spent["tokens_used"],
            "cost_incurred": spent["cost_incurred"],
            "status": status.value,
            "completed_steps": self._completed,
            "total_steps": self._total,
        }

    def _metrics(self, at: float, status: RunStatus, now: float) -> records.Document:
        if now - self._measured >= SIZE_PAUSE_S:
            self._size, self._measured = size_of_run(self._layout), now
        elapsed = self._sums["elapsed_seconds"] + now - self._began
        recording = self._sums["recording_seconds"] + self._recording_s() + self._own_s
        return {
            "version": FORMAT_VERSION,
            "workflow_id": self._layout.run_id,
            "workflow": self._workflow,
            "at": records.utc_text(at),
            "start_time": records.utc_text(self._started_at),
            "status": status.value,
            "epoch": self._epoch,
            "total_steps": self._total,
            "completed_steps": self._completed,
            "failed_steps": self._failed,
            "skipped_steps": self._skipped,
            "iterations": sum(self._iterations.values()),
            "attempts": int(self._sums["attempts"]),
            "retries": int(self._sums["retries"]),
            "elapsed_seconds": round(elapsed, 3),
            "step_seconds": round(self._sums["step_seconds"], 3),
            "recording_seconds": round(recording, 3),
            "overhead_percent": round(100 * recording / elapsed, 2) if elapsed > 0 else 0.0,
            "storage_bytes": self._size,
            "values": self._spent(),
        }

    def _spent(self) -> dict[str, int | float]:
        totals = self._totals()
        return {name: number(totals.get(name, Decimal(0))) for name in NAMES}


def _amount(document: records.Document | None, name: str) -> float:
    value = (document or {}).get(name)
    return float(value) if isinstance(value, (int, float)) and value >= 0 else 0.0
