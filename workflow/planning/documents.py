"""What `status` and `plan` answer, as documents; the same facts and decisions that a run goes by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflow.checkpoint import locks, records, store
from workflow.checkpoint.layout import RunLayout, label
from workflow.model import Choice, Decision, RunStatus, Step, Workflow
from workflow.planning.record import Recorded, read_record

Document = dict[str, Any]


def plan_document(
    run_id: str | None,
    workflow: Workflow,
    order: Sequence[int],
    decisions: Mapping[int, Decision],
    notices: Iterable[str],
) -> Document:
    """Return what would be done: `run_id` (None: a new run), `steps` in order with choice and reasons, `counts`."""
    titles = {step.number: step for step in workflow.steps}
    counts = {choice.value: 0 for choice in Choice}
    for decision in decisions.values():
        counts[decision.choice.value] += 1
    return {
        "run_id": run_id,
        "source": workflow.source,
        "will_run": counts["run"],
        "counts": counts,
        "notices": list(notices),
        "steps": [
            {
                "step": number,
                "name": titles[number].name,
                "choice": decisions[number].choice.value,
                "reasons": [{"code": reason.code, "detail": reason.detail} for reason in decisions[number].reasons],
            }
            for number in order
        ],
    }


def status_document(layout: RunLayout, workflow: Workflow, stored: records.Document, order: list[int]) -> Document:
    """Return what a run is, worked out from its markers and its lock; nothing is written and nothing waited for."""
    is_live = locks.is_held(layout)
    recorded = read_record(layout, workflow, order)
    running = _running(layout, is_live=is_live)
    steps = [_step(step, layout, recorded, running, is_live=is_live) for step in workflow.steps]
    done = sum(1 for step in steps if step["status"] == "completed")
    failed = sum(1 for step in steps if step["status"] == "failed")
    status = run_status(
        len(steps),
        done,
        failed,
        is_live=is_live,
        epoch=store.read_epoch(layout),
        has_tried=any(it["status"] != "pending" for it in steps),
    )
    current = sorted(running) or [it["step"] for it in steps if it["status"] != "completed"][:1]
    holder = locks.read_holder(layout) if is_live else None
    return {
        "run_id": layout.run_id,
        "workflow_id": layout.run_id,
        "status": status.value,
        "run_dir": layout.path,
        "project_path": workflow.project,
        "plan_file": workflow.source,
        "plan_hash": stored.get("plan_hash"),
        "created_at": stored.get("started_at"),
        "updated_at": records.utc_text(_touched_at(layout)),
        "epoch": store.read_epoch(layout),
        "total_tasks": len(steps),
        "total_steps": len(steps),
        "completed_tasks": done,
        "failed_tasks": failed,
        "progress_percent": round(100 * done / len(steps), 1) if steps else 100.0,
        "completed_steps": [it["step"] for it in steps if it["status"] == "completed"],
        "current": [label(number) for number in current],
        "steps": steps,
        "problems": recorded.notices,
        "resume_command": None if is_live or done == len(steps) else f"workflow resume {layout.run_id}",
        "holder": None
        if holder is None
        else {"pid": holder.pid, "host": holder.host, "since": holder.since, "command": holder.command},
    }


def run_status(total: int, done: int, failed: int, *, is_live: bool, epoch: int, has_tried: bool) -> RunStatus:
    """Return what a run is: pure, so that every command says the same."""
    if is_live:
        return RunStatus.RETRYING if epoch > 1 else RunStatus.IN_PROGRESS
    if done == total:
        return RunStatus.COMPLETED
    if failed:
        return RunStatus.FAILED
    return RunStatus.PAUSED if has_tried else RunStatus.CREATED


def _step(step: Step, layout: RunLayout, recorded: Recorded, running: set[int], *, is_live: bool) -> Document:
    fact = recorded.facts[step.number]
    marker = recorded.markers.get(step.number)
    document: Document = {
        "step": step.number,
        "name": step.name,
        "status": "pending",
        "duration_seconds": None,
        "exit_code": None,
        "reason": fact.damage or None,
        "failure": None,
        "completed_by": None,
    }
    if step.number in running:
        document["status"] = "running"
        document["reason"] = None if is_live else "it outlived its runner; a resume waits for it"
    elif marker is not None:
        document |= {
            "status": "completed",
            "duration_seconds": marker.duration_s,
            "exit_code": 0,
            "completed_at": marker.completed_at,
            "completed_by": marker.completed_by,
            "reason": "; ".join(str(reason) for reason in fact.changes) or None,
        }
    elif fact.last is not None:
        attempts = recorded.past.get(step.number, ())
        last = attempts[-1] if attempts else None
        document["status"] = (
            "failed" if fact.last == "failed" else "interrupted" if fact.last == "cancelled" else "pending"
        )
        document["failure"] = fact.detail.removeprefix("last time: ") or None
        if last is not None:
            document["exit_code"] = last.exit_code
            document["duration_seconds"] = round(last.ended_at - last.started_at, 3) if last.ended_at else None
            document["attempts"] = len(attempts)
        document["log"] = layout.log(step.number)
    elif recorded.damaged.get(step.number):
        document["status"] = "damaged"
    return document


def _running(layout: RunLayout, *, is_live: bool) -> set[int]:
    """Return the steps that a worker has in hand: of a living runner, or of one that died and left them running."""
    found: set[int] = set()
    try:
        names = os.listdir(layout.state_dir)
    except OSError:
        return found
    for name in names:
        if name.startswith("worker_") and name.endswith(".running"):
            try:
                with open(os.path.join(layout.state_dir, name), "rb") as file:
                    notes = records.decode_running(file.read())
            except OSError:
                continue
            worker = int(name[7:-8]) if name[7:-8].isdigit() else 0
            if notes and (is_live or locks.is_worker_held(layout, worker)):
                found.update(note.step for note in notes[-1:] if not store.has_whole_marker(layout, note.step))
    return found


def _touched_at(layout: RunLayout) -> float | None:
    latest = None
    for path in (layout.path, layout.state_dir, layout.master):
        try:
            at = os.stat(path).st_mtime
        except OSError:
            continue
        latest = at if latest is None else max(latest, at)
    return latest
