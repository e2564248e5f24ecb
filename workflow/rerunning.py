"""What a second `workflow run` finds: a run of the same plan that was cut off, and how far it came."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from workflow.checkpoint import locks, packed, records, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition.resolved import resolved
from workflow.errors import CheckpointError, UsageError, listed, one_line
from workflow.events import Notice
from workflow.model import Status, Workflow


def bounded(workflow: Workflow, most: int | None) -> Workflow:
    """Return the workflow with at most so many iterations of each repeated step; None: as it says itself.

    Raises UsageError where no step is repeated.
    """
    if most is None:
        return workflow
    if all(step.rules.repeat is None for step in workflow.steps):
        raise UsageError(
            "--max-iterations bounds steps that are repeated, and there is none",
            help="leave it out, or give a step `repeat: {until: TEST}`",
        )
    steps = tuple(
        step
        if step.rules.repeat is None
        else dataclasses.replace(
            step, rules=step.rules._replace(repeat=step.rules.repeat._replace(max_iterations=most))
        )
        for step in workflow.steps
    )
    return dataclasses.replace(workflow, steps=steps)


def cut_off_run(root: CheckpointRoot, workflow: Workflow) -> tuple[str | None, Notice | None]:
    """Return the newest run of this workflow if it is not over and its plan is the same, and what to tell of it.

    Only the newest counts: what was cut off before a later run is history.
    """
    for run_id in reversed(store.run_ids(root)):
        layout = root.run(run_id)
        if packed.archive_of(layout) is not None:  # only what is over is packed by itself
            continue
        try:
            store.refuse_unsafe(layout)
            stored = store.read_definition(layout)
        except CheckpointError as error:
            if os.path.lexists(layout.definition):
                return None, Notice(f"{run_id} is not carried on: {error.message}; starting a new run")
            continue
        before = stored["definition"]
        if any(before.get(word) != getattr(workflow, word) for word in ("name", "source")):
            continue
        if os.path.lexists(layout.abandoned) or (is_complete(layout, stored) and not locks.is_held(layout)):
            return None, None
        changed = _changed(before, workflow)
        if changed:
            advice = f"to carry it on all the same: workflow resume {run_id}"
            return None, Notice(f"{run_id} was cut off, and is not carried on: {changed}; starting a new run", advice)
        return run_id, Notice(f"{run_id} was cut off: it is carried on (resume: auto)", level="note")
    return None, None


def _changed(before: records.Document, workflow: Workflow) -> str:
    """Return what of the plan is not as it was; empty where nothing is. Limits say nothing about what is done."""
    now = resolved(workflow)
    old = {step["number"]: _bare(step) for step in before["steps"]}
    new = {step["number"]: _bare(step) for step in now["steps"]}
    steps = [number for number in sorted(old.keys() | new.keys()) if old.get(number) != new.get(number)]
    if steps:
        names = {**old, **new}
        titles = [f"{number:02d} {one_line(str(names[number].get('name', '')))}" for number in steps]
        return f"its plan has changed ({listed(titles)})"
    if before.get("smart") != now.get("smart"):
        return "its plan has changed (smart)"
    return ""


def _bare(step: dict[str, Any]) -> dict[str, Any]:
    """Return a step without what only bounds it or says what is kept of it, and without where it was written."""
    bare = {word: value for word, value in step.items() if word not in ("source", "timeout_s", "archive")}
    repeat = bare.get("rules", {}).get("repeat")
    if repeat is not None:
        until = {word: value for word, value in repeat.items() if word != "max_iterations"}
        bare["rules"] = {**bare["rules"], "repeat": until}
    return bare


def is_complete(layout: RunLayout, stored: records.Document) -> bool:
    """Return whether every step of the stored definition is marked complete."""
    numbers = {int(step["number"]) for step in stored.get("definition", {}).get("steps", ())}
    if not numbers:
        return False
    try:
        names = set(os.listdir(layout.path))
    except OSError:
        return False
    # From the end, and one by one: that is where a run stopped, and the first that is open decides.
    unmarked = (number for number in sorted(numbers, reverse=True) if f"step_{number:02d}.complete" not in names)
    settled = set()
    for number in unmarked:
        if not _is_settled(layout, stored, number):
            return False
        settled.add(number)
    return numbers - settled <= store.read_markers(layout).whole.keys()


def _is_settled(layout: RunLayout, stored: records.Document, number: int) -> bool:
    """Return whether a step without a marker needs no other look: skipped, or failed with `continue_on_error`."""
    states = store.States(layout)
    try:
        status = (states.document(number) or {}).get("status")
    except ValueError:
        return False
    finally:
        states.close()
    if status != Status.FAILED.value:
        return status == Status.SKIPPED.value
    rules = next((step.get("rules") for step in stored["definition"]["steps"] if step["number"] == number), None)
    return isinstance(rules, dict) and bool(rules.get("continue_on_error"))
