"""Commands that only look, and the one that takes a person's word: `plan`, `status`, `logs`, `mark`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from workflow.checkpoint import durable, locks, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.definition import graph, resolved
from workflow.errors import CheckpointError, one_line
from workflow.model import Attempt, Failure, Reason, Status, Step, Workflow
from workflow.opening import Options, open_run, resume_command, step_number
from workflow.planning import documents
from workflow.planning.decision import decide
from workflow.planning.fingerprint import fingerprint, manifest
from workflow.planning.record import nothing_recorded, read_record
from workflow.session import environment, project_directory


def plan_of(options: Options) -> dict[str, Any]:
    """Return the plan document for these options: the decisions a run would go by. Writes nothing."""
    opened = open_run(options, project_directory(), environment(), to_run=False)
    if opened.layout is None or opened.ahead is None:
        recorded = nothing_recorded(opened.workflow)
    else:
        recorded = read_record(opened.layout, opened.workflow, opened.order, opened.ahead.result)
        opened.ahead.close()
    decisions = decide(opened.workflow.steps, opened.order, recorded.facts, opened.request)
    notices = [*(notice.message for notice in opened.notices), *recorded.notices]
    run_id = None if opened.layout is None else opened.layout.run_id
    return documents.plan_document(run_id, opened.workflow, opened.order, decisions, notices)


def choose_run(root: CheckpointRoot, run_id: str | None) -> RunLayout:
    """Return the run that was named, or the newest. Raises CheckpointError."""
    if run_id:
        return store.find_run(root, run_id)
    known = store.run_ids(root)
    if not known:
        raise CheckpointError(f"there are no runs in {one_line(root.path)}", help="start one with: workflow run")
    for newest in reversed(known):
        layout = root.run(newest)
        # A run that died before it wrote what it was to do holds nothing to look at.
        if os.path.lexists(layout.definition) or locks.is_held(layout):
            return store.find_run(root, newest)
    return store.find_run(root, known[-1])


def definition_of(layout: RunLayout) -> tuple[Workflow, dict[str, Any]]:
    """Return the definition a run goes by, and its workflow.json. Raises CheckpointError."""
    stored = store.read_definition(layout)
    try:
        return resolved.from_resolved(stored["definition"]), stored
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"workflow.json of {layout.run_id} does not hold a definition ({error})",
            help="start again with: workflow run --force",
        ) from error


def status_of(root: CheckpointRoot, run_id: str | None) -> dict[str, Any]:
    """Return the status document of a run. Writes nothing and waits for nothing."""
    layout = choose_run(root, run_id)
    workflow, stored = definition_of(layout)
    document = documents.status_document(layout, workflow, stored, graph.order(workflow.steps))
    if document["resume_command"]:
        document["resume_command"] = resume_command(root, project_directory(), layout.run_id)
    return document


def mark(root: CheckpointRoot, run_id: str, step_name: str, *, is_done: bool, user: str) -> str:
    """Record a person's word that a step is done, or must run again; return a sentence that says so.

    Durable on return. Raises CheckpointError, UsageError, RunBusyError, NotRecordedError.
    """
    layout = store.find_run(root, run_id)
    workflow, _ = definition_of(layout)
    number = step_number(workflow, step_name)
    step = next(step for step in workflow.steps if step.number == number)
    disk = durable.Disk(private=workflow.checkpoints.private)
    lock = locks.acquire_run(layout)
    try:
        past = store.attempts_of(layout, number)
        content = manifest(step)
        now_at = time.time()
        record = StepRecord(
            step,
            Status.SUCCEEDED if is_done else Status.PENDING,
            (*past, Attempt(past[-1].number + 1 if past else 1, store.read_epoch(layout), now_at, now_at))
            if is_done
            else past,
            Reason("forced", f"{user} said so with workflow mark"),
            fingerprint(content),
            content,
            {},
            {},
            worker=None,
            executor="person",
            completed_by=f"person:{user}",
        )
        if is_done:
            store.commit_done(disk, layout, record, run_id=layout.run_id, epoch=store.read_epoch(layout))
        else:
            disk.remove(layout.marker(number))
            store.commit_not_done(
                disk, layout, record._replace(failure=Failure("marked", f"{user} said that it must run again"))
            )
    finally:
        lock.release()
        disk.close()
    word = "complete: it will not run again" if is_done else "pending: it will run again"
    return f"step {one_line(step.title)} of {layout.run_id} is marked {word} (recorded as {one_line(user)}'s word)"


def logs_of(layout: RunLayout, workflow: Workflow, step_name: str | None) -> list[tuple[Step, str]]:
    """Return the steps whose logs there may be, in order, with the path of each."""
    chosen = None if step_name is None else step_number(workflow, step_name)
    by_number: Mapping[int, Step] = {step.number: step for step in workflow.steps}
    return [
        (by_number[number], layout.log(number)) for number in graph.order(workflow.steps) if chosen in (None, number)
    ]


def is_live(layout: RunLayout) -> bool:
    """Return whether a runner holds the run."""
    return locks.is_held(layout)


def has_log(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
