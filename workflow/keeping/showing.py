"""A run, or a snapshot of one, as a whole: for `checkpoint show`, `latest` and whoever compares them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from workflow.checkpoint import locks, snapshots
from workflow.checkpoint.layout import CheckpointRoot, RunLayout, label
from workflow.checkpoint.records import Document
from workflow.checkpoint.sizing import size_of
from workflow.definition import graph
from workflow.errors import CheckpointError, UsageError
from workflow.inspection import asking, definition_of
from workflow.keeping.choosing import choose
from workflow.model import Workflow
from workflow.opening import resume_command
from workflow.planning import documents
from workflow.planning.present import present
from workflow.planning.record import read_record
from workflow.reporting.waiting import approve_command
from workflow.session import project_directory, user_name

# What shows a run where no snapshot says why it was made: the words of snapshots, by status.
_DERIVED_TRIGGER = {"completed": "completion", "failed": "error"}


class Shown(NamedTuple):
    """`document` is the answer; `steps` are rows for people, as in a status document. `has_snapshot` of a run."""

    document: Document
    steps: list[Document]


def shown(root: CheckpointRoot, name: str | None) -> Shown:
    """Return a run as it stands now (`RUN`, or the newest), or as a snapshot saw it (`RUN@N`). Writes nothing.

    Raises CheckpointError, UsageError.
    """
    chosen = choose(root, name)
    if chosen.snapshot_number is not None:
        return _snapshot(root, chosen.layout, chosen.snapshot_number)
    return _run(root, chosen.layout)


def latest(root: CheckpointRoot, name: str | None) -> Shown:
    """Return the newest snapshot of a run (None: of the newest run); where it has none, the run as it stands now."""
    chosen = choose(root, name)
    if chosen.snapshot_number is not None:
        raise UsageError(
            "latest wants a run, and that is a snapshot of one",
            help=f"workflow checkpoint show {chosen.layout.run_id}@{chosen.snapshot_number}",
        )
    newest = snapshots.newest(chosen.layout)
    if newest is None:
        return _run(root, chosen.layout)
    return _snapshot(root, chosen.layout, newest.number)


def _run(root: CheckpointRoot, layout: RunLayout) -> Shown:
    workflow, stored = definition_of(layout)
    order = graph.order(workflow.steps)
    recorded = read_record(layout, workflow, order)
    status = documents.status_document(layout, workflow, stored, order, recorded)
    document = present(layout, workflow, stored, order, user=user_name(), recorded=recorded, status=status)
    made = snapshots.listed(layout)
    command = resume_command(root, project_directory(), layout.run_id)
    head: Document = {
        "checkpoint_id": layout.run_id,
        "number": None,
        "trigger": made[-1].trigger if made else _DERIVED_TRIGGER.get(status["status"], "auto"),
        "name": None,
        "created": status["updated_at"],
    }
    running = documents.running_steps(layout, is_live=locks.is_held(layout))
    more = {
        # When something was recorded last, not when it was looked at.
        "last_checkpoint": status["updated_at"],
        "updated_at": status["updated_at"],
        "progress_percent": status["progress_percent"],
        "active_locks": _active(workflow, running, status["holder"]),
        "pending_approvals": [
            {
                "step": label(step["step"]),
                "name": step["name"],
                "text": step["approval"]["text"],
                "command": approve_command(command, layout.run_id, step["step"]),
            }
            for step in asking(status)
        ],
        "problems": status["problems"],
        "resume_command": command if status["resume_command"] else None,
    }
    return Shown({**head, **document, **more, **_size(layout), "snapshots": len(made)}, status["steps"])


def _active(workflow: Workflow, running: Iterable[int], holder: Document | None) -> list[Document]:
    """Return the locks that are held now: that of the run, and named ones of the steps that run."""
    active: list[Document] = []
    if holder is not None:
        who = f"process {holder['pid']} on {holder['host']}"
        active.append({"lock": "run", "step": None, "holder": f"{who} since {holder['since']}"})
    active += [
        {"lock": step.rules.lock, "step": step.label, "holder": step.title}
        for step in workflow.steps
        if step.rules.lock and step.number in running
    ]
    return active


def _snapshot(root: CheckpointRoot, layout: RunLayout, number: int) -> Shown:
    document = snapshots.read(layout, number)
    tasks: dict[str, dict[str, Any]] = document["tasks"]
    total = int(document.get("total_tasks") or 0)
    settled = sum(1 for task in tasks.values() if task.get("status") in ("completed", "skipped"))
    percent = round(100 * settled / total, 1) if total else 100.0
    if document.get("status") == "completed":
        percent = 100.0
    restored = (document.get("recovery_context") or {}).get("locks_to_restore") or []
    more = {
        "progress_percent": percent,
        "active_locks": [{"lock": name, "step": None, "holder": None} for name in restored],
        "pending_approvals": _asked_then(layout, tasks),
        "problems": [],
        "resume_command": resume_command(root, project_directory(), document["checkpoint_id"]),
    }
    return Shown({**document, **more, **_size(layout), "snapshots": len(snapshots.listed(layout))}, _rows(tasks))


def _asked_then(layout: RunLayout, tasks: dict[str, dict[str, Any]]) -> list[Document]:
    """Return the steps that waited for a person, by the definition the run has now; it may know them no more."""
    waiting = {key: task for key, task in tasks.items() if task.get("status") == "waiting"}
    if not waiting:
        return []
    try:
        workflow, _ = definition_of(layout)
    except CheckpointError:
        return []
    return [
        {"step": step.label, "name": step.name, "text": step.rules.approval, "command": None}
        for step in workflow.steps
        if step.rules.approval and waiting.get(step.label, {}).get("name") == step.name
    ]


def _rows(tasks: dict[str, dict[str, Any]]) -> list[Document]:
    rows = []
    for key, task in tasks.items():
        duration_ms = task.get("duration_ms")
        rows.append(
            {
                "step": int(key) if key.isascii() and key.isdigit() else key,
                "name": str(task.get("name", "")),
                "status": str(task.get("status", "")),
                "duration_seconds": duration_ms / 1000 if isinstance(duration_ms, (int, float)) else None,
                "exit_code": task.get("exit_code"),
            }
        )
    return rows


def _size(layout: RunLayout) -> Document:
    size = size_of(layout.archive or layout.path)
    return {"size_bytes": size.size_bytes, "files": size.files}
