"""Declared outputs of completed steps, as a resume looks at them: missing ones, and with digests changed ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from workflow.checkpoint import outputs, store
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import Marker
from workflow.errors import listed, one_line
from workflow.model import Choice, Decision, Reason, Step, Workflow
from workflow.planning.record import Recorded

MOST_NAMED = 4


def hold_outputs(layout: RunLayout, workflow: Workflow, recorded: Recorded) -> None:
    """Add to the facts of completed steps that outputs of theirs are missing or changed, so that they run again.

    Digests are compared where `strict_hash_check` is on; that reads the outputs as a whole.
    """
    owned = outputs.owned(workflow.project, workflow.steps, recorded.markers)
    if not owned:
        return
    by_number = {step.number: step for step in workflow.steps}
    states = store.States(layout)
    try:
        for number, names in owned.items():
            digests = _digests(states, recorded, number) if workflow.checkpoints.strict_hash_check else {}
            reasons = tuple(_reasons(workflow.project, by_number[number], names, digests))
            if reasons:
                fact = recorded.facts[number]
                recorded.facts[number] = fact._replace(changes=(*fact.changes, *reasons))
    finally:
        states.close()


def _digests(states: store.States, recorded: Recorded, number: int) -> Mapping[str, object]:
    try:
        state = states.document(recorded.moves.get(number, number))
    except ValueError:  # told elsewhere; whether the output is there is known without it
        return {}
    found = (state or {}).get("output_digests")
    return found if isinstance(found, dict) else {}


def _reasons(project: str, step: Step, names: list[str], digests: Mapping[str, object]) -> Iterator[Reason]:
    for name in names:
        path = outputs.output_path(project, step, name)
        if not os.path.lexists(path):
            yield Reason("output-missing", f"{one_line(name)} is not there")
            continue
        expected = outputs.recorded_digest(digests, step, name, path)
        if expected is not None and outputs.digest_of(path) != expected:
            yield Reason("output-changed", f"{one_line(name)} is not what the step had made")


def missing_notice(
    workflow: Workflow, decisions: Mapping[int, Decision], markers: Mapping[int, Marker], run_id: str
) -> tuple[str, str] | None:
    """Return what to say, and what to do, where outputs of steps that are bypassed are not there; None: all are."""
    declaring = [step for step in workflow.steps if step.outputs and decisions[step.number].choice is Choice.BYPASS]
    if not declaring:
        return None
    owned = outputs.owned(workflow.project, declaring, markers)
    lost = [
        (step, name)
        for step in declaring
        for name in owned.get(step.number, ())
        if not os.path.lexists(outputs.output_path(workflow.project, step, name))
    ]
    if not lost:
        return None
    named = listed((f"{one_line(name)} of {one_line(step.title)}" for step, name in lost), most=MOST_NAMED)
    first = min((step for step, _ in lost), key=lambda step: step.number)
    what = "an output" if len(lost) == 1 else f"{len(lost):,} outputs"
    advice = f"to make what is missing again: workflow resume {run_id} --from-step {first.label} (or --revalidate)"
    return f"{what} of steps that are complete and bypassed cannot be found: {named}", advice
