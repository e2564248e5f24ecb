"""Where a run stands now, as the document that snapshots hold: worked out from its files alone."""

from __future__ import annotations

import time
from typing import Any

from workflow.checkpoint import records, store
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.master import MasterFacts
from workflow.checkpoint.records import Document
from workflow.model import RunStatus, Status, Workflow
from workflow.planning import documents
from workflow.planning.record import Recorded, read_record
from workflow.planning.tasks import STATUSES, tasks_of


def present(
    layout: RunLayout,
    workflow: Workflow,
    stored: Document,
    order: list[int],
    *,
    user: str,
    recorded: Recorded | None = None,
    status: Document | None = None,
    is_live: bool | None = None,
) -> Document:
    """Return the keys of checkpoint.json and `tasks`, by markers and states. Writes nothing and waits for nothing.

    What only the runner knows (shell, host, pid, whether it asks) is taken from checkpoint.json, where that is whole.
    `recorded` and `status` are what was read and worked out of it just now, where the caller has that already.
    """
    recorded = recorded or read_record(layout, workflow, order)
    status = status or documents.status_document(layout, workflow, stored, order, recorded, is_live=is_live)
    words = {step["step"]: step["status"] for step in status["steps"]}
    last = _master(layout)
    mode = _mapping(last.get("execution_mode"))
    facts = MasterFacts(
        layout,
        workflow,
        epoch=status["epoch"],
        plan_hash=str(stored.get("plan_hash")),
        started_at=float(stored.get("started") or 0.0),
        environment=_mapping(last.get("environment")),
        user=user,
        is_auto=mode.get("auto") is True,
        variables=dict(pair for step in workflow.steps for pair in step.params),
        values=recorded.values,
        is_parallel=mode.get("parallel") is True,
        order=order,
    )
    is_live = status["status"] in (RunStatus.IN_PROGRESS.value, RunStatus.RETRYING.value)
    running = documents.running_steps(layout, is_live=is_live)
    statuses = {number: STATUSES.get(word, Status.PENDING) for number, word in words.items()}
    document = facts.document(
        statuses, [(worker, number) for number, worker in running.items()], RunStatus(status["status"]), time.time()
    )
    if isinstance(last.get("metadata"), dict):
        document["metadata"] = last["metadata"]
    return {**document, "tasks": tasks_of(workflow, layout, recorded, words)}


def _master(layout: RunLayout) -> Document:
    try:
        return records.decode_document(store.read_small(layout.master))
    except (OSError, ValueError):  # it is derived, and what it adds is for people
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
