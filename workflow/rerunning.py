"""What a second `workflow run` finds: a run of the same plan that was cut off, and how far it came."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from typing import Any

from workflow.checkpoint import locks, packed, records, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition.resolved import resolved
from workflow.errors import CheckpointError, UsageError, listed, one_line
from workflow.events import Notice
from workflow.model import RunStatus, Status, Workflow
from workflow.planning.decision import Request


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


def kept_bound(workflow: Workflow, most: object) -> tuple[int | None, Notice | None]:
    """Return the bound that an earlier command gave a run (`most`) if it still bounds anything, and what to tell of it.

    Nobody gave it now: where nothing is repeated any more it is forgotten, and where it is not what the definition
    says, that is told.
    """
    repeats = [(step.title, step.rules.repeat) for step in workflow.steps if step.rules.repeat is not None]
    if not isinstance(most, int) or not repeats:
        return None, None
    others = [
        f"{one_line(title)} ({it.max_iterations or 'no bound'})" for title, it in repeats if it.max_iterations != most
    ]
    if not others:
        return most, None
    return most, Notice(
        f"at most {most:,} iterations, as an earlier command said, and not as many as the definition: {listed(others)}",
        "for another bound: workflow resume --max-iterations N",
    )


def asked_for(request: Request, order: Sequence[int]) -> list[int] | None:
    """Return the numbers of the steps that a command is to do; None: all of them."""
    if request.only:
        return sorted(request.only)
    if request.from_step is None and request.until is None:
        return None
    first = 0 if request.from_step is None else order.index(request.from_step)
    last = len(order) if request.until is None else order.index(request.until) + 1
    return sorted(order[first:last])


def cut_off_run(root: CheckpointRoot, workflow: Workflow) -> tuple[str | None, Notice | None]:
    """Return the newest run of this workflow if it is not over and its plan is the same, and what to tell of it.

    Only the newest counts: what was cut off before a later run is history.
    """
    for run_id in reversed(store.run_ids(root)):
        layout = root.run(run_id)
        archive = packed.archive_of(layout)
        try:
            if archive is None:
                store.refuse_unsafe(layout)
            stored = store.read_definition(layout) if archive is None else packed.definition_of(layout, archive)
        except CheckpointError as error:
            if archive is not None or os.path.lexists(layout.definition):
                return None, Notice(f"{run_id} is not carried on: {error.message}; starting a new run")
            continue
        before = stored["definition"]
        if any(before.get(word) != getattr(workflow, word) for word in ("name", "source")):
            continue
        is_over = _is_over_packed(layout, archive) if archive is not None else _is_over(layout, stored)
        if is_over:
            return None, None
        changed = "it is packed" if archive is not None else _changed(before, workflow)
        if changed:
            advice = f"to carry it on all the same: workflow resume {run_id}"
            return None, Notice(f"{run_id} was cut off, and is not carried on: {changed}; starting a new run", advice)
        return run_id, Notice(f"{run_id} was cut off: it is carried on (resume: auto)", level="note")
    return None, None


def _is_over_packed(layout: RunLayout, archive: str) -> bool:
    stands = packed.manifest_of(layout, archive).summary.get("status")
    return stands in (RunStatus.COMPLETED.value, RunStatus.ABANDONED.value)


def _is_over(layout: RunLayout, stored: records.Document) -> bool:
    """Return whether nothing of a run was cut off: it did what was asked of it, or nobody will carry it on."""
    if os.path.lexists(layout.abandoned):
        return True
    if locks.is_held(layout):
        return False
    said = stored.get("asked")
    asked = [number for number in said if isinstance(number, int)] if isinstance(said, list) else []
    if not asked:
        return is_complete(layout, stored)
    # A runner takes its note away when it ends by itself.
    if os.path.lexists(layout.holder) or not is_complete(layout, stored, asked):
        return False
    others = {int(step["number"]) for step in stored["definition"]["steps"]}.difference(asked)
    return not any(_was_cut(layout, stored, number) for number in others)


def _was_cut(layout: RunLayout, stored: records.Document, number: int) -> bool:
    """Return whether a step ended otherwise than it should have; in doubt it did."""
    states = store.States(layout)
    try:
        status = (states.document(number) or {}).get("status")
    except ValueError:
        return True
    finally:
        states.close()
    is_cut = status in (Status.FAILED.value, Status.CANCELLED.value, Status.RUNNING.value)
    return is_cut and not _is_settled(layout, stored, number)


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


def is_complete(layout: RunLayout, stored: records.Document, asked: Collection[int] | None = None) -> bool:
    """Return whether every step of the stored definition is marked complete; with `asked`, every one of those."""
    numbers = {int(step["number"]) for step in stored.get("definition", {}).get("steps", ())}
    if asked is not None:
        numbers &= set(asked)
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
