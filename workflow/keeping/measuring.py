"""The metrics of a run, worked out from its files: what was done, what it cost, how much room it takes."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

from workflow.checkpoint import commits, copies, metric_files, records, snapshots, spending, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.removal import size_of_run
from workflow.checkpoint.sizing import size_of
from workflow.definition import graph
from workflow.errors import UsageError
from workflow.inspection import definition_of
from workflow.keeping.choosing import choose
from workflow.model import Step
from workflow.planning import documents
from workflow.planning.record import Recorded, read_record

Document = dict[str, Any]
_WORDS = ("completed", "failed", "skipped", "running", "waiting", "blocked", "pending", "interrupted", "damaged")


def metrics_of(root: CheckpointRoot, run_id: str | None) -> Document:
    """Return the metrics document of a run (None: the newest). Writes nothing and waits for nothing.

    Raises CheckpointError, UsageError.
    """
    chosen = choose(root, run_id)
    if chosen.snapshot_number is not None:
        raise UsageError(
            "metrics are those of a run, not of a snapshot", help=f"workflow metrics {chosen.layout.run_id}"
        )
    layout = chosen.layout
    workflow, stored = definition_of(layout)
    order = graph.order(workflow.steps)
    recorded = read_record(layout, workflow, order)
    status = documents.status_document(layout, workflow, stored, order, recorded)
    states = store.States(layout)
    try:
        steps = [
            _step(step, entry, layout, states) for step, entry in zip(workflow.steps, status["steps"], strict=True)
        ]
    finally:
        states.close()
    counts = dict.fromkeys(_WORDS, 0)
    for entry in steps:
        counts[entry["status"]] = counts.get(entry["status"], 0) + 1
    return {
        "run_id": layout.run_id,
        "workflow": workflow.name,
        "status": status["status"],
        "started_at": status["created_at"],
        "updated_at": status["updated_at"],
        "epoch": status["epoch"],
        "total_steps": len(steps),
        "progress_percent": status["progress_percent"],
        "steps_by_status": counts,
        "attempts": sum(entry["attempts"] for entry in steps),
        "retries": sum(entry["retries"] for entry in steps),
        "iterations": sum(entry["iterations"] or 0 for entry in steps),
        "step_seconds": round(sum(entry["duration_seconds"] or 0 for entry in steps), 3),
        "snapshots": len(snapshots.listed(layout)),
        "copies": len(copies.read_index(layout)),
        "storage_bytes": size_of_run(layout),
        "storage_by_part": {name: size_of(os.path.join(layout.path, name)).size_bytes for name in _parts(layout)},
        "recording": _recording(layout),
        "values": _values(layout, recorded),
        "steps": steps,
    }


def _parts(layout: RunLayout) -> list[str]:
    try:
        with os.scandir(layout.path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _step(step: Step, entry: Document, layout: RunLayout, states: store.States) -> Document:
    try:
        state = states.document(step.number)
    except ValueError:
        state = None
    attempts = records.attempts_in(state)
    iterations = None
    if step.rules.repeat is not None:
        iterations = commits.iterations_done(layout, step.number, step.name)
    # Of a long loop only the last attempts are kept; their numbers go on all the same.
    tried = max((attempt.number for attempt in attempts), default=0)
    tried = max(tried, iterations or 0)
    duration = (state or {}).get("duration_seconds") if entry["status"] != "pending" else None
    duration = duration if isinstance(duration, (int, float)) else entry["duration_seconds"]
    return {
        "step": step.number,
        "name": step.name,
        "status": entry["status"],
        "duration_seconds": duration,
        "attempts": tried,
        "retries": attempts[-1].retries if attempts else 0,
        "iterations": iterations,
    }


def _recording(layout: RunLayout) -> Document | None:
    """Return what recording cost, as the newest metrics file says; None where the run wrote none."""
    newest = metric_files.newest(layout)
    if newest is None:
        return None
    return {
        "at": newest.get("at"),
        "elapsed_seconds": newest.get("elapsed_seconds"),
        "recording_seconds": newest.get("recording_seconds"),
        "overhead_percent": newest.get("overhead_percent"),
    }


def _values(layout: RunLayout, recorded: Recorded) -> dict[str, int | float]:
    """Return the sums of the numbers that completed steps published; of costs and tokens, those of all attempts."""
    sums: dict[str, Decimal] = {}
    for published in recorded.published.values():
        for name, text in published.items():
            value = spending.amount(text) if name not in spending.NAMES else None
            if value is not None:
                sums[name] = sums.get(name, Decimal(0)) + value
    sums |= spending.totals(spending.read(layout).values())
    return {name: spending.number(value) for name, value in sorted(sums.items())}
