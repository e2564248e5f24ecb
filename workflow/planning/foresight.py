"""What a run with reuse would do, as far as that can be told before anything has run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from workflow.errors import one_line
from workflow.model import Choice, Decision, Reason, Step, Workflow
from workflow.planning import globs
from workflow.planning.evidence import place_of, shown
from workflow.planning.judgement import Judgement, reused
from workflow.planning.visibility import Visibility
from workflow.planning.world import World


def foresee(
    world: World,
    workflow: Workflow,
    order: Sequence[int],
    decisions: Mapping[int, Decision],
    *,
    with_evidence: bool = True,
) -> tuple[dict[int, Decision], dict[int, Judgement]]:
    """Return the decisions with REUSE where nothing has changed and all reasons where something has; and the evidence.

    A step whose evidence a step before it will make anew is told as one that runs; when the same bytes come of that,
    the run reuses it all the same.
    """
    by_number = {step.number: step for step in workflow.steps}
    visible = Visibility(workflow.steps, {})
    judgements: dict[int, Judgement] = {}
    told = dict(decisions)
    running: dict[str, Step] = {}
    remade: dict[str, Step] = {}
    for number in order:
        step, decision = by_number[number], decisions[number]
        if not is_open(decision):
            continue
        # What a step goes by is asked where it is to be shown, and where something before it runs.
        judgement = world.judge(step, visible.seen_by(number), may_be_quick=not with_evidence and not running)
        judgements[number] = judgement
        reasons = list(judgement.reasons)
        if not judgement.is_never:
            reasons += _upstream(step, judgement, running, remade, by_number)
        if not reasons:
            reasons += _to_come(step, remade, workflow.project)
        if reasons:
            told[number] = Decision(Choice.RUN, tuple(reasons))
            running[step.name] = step
            made = [shown(workflow.project, place_of(step, name, workflow.project)) for name in step.outputs]
            remade.update(dict.fromkeys((*made, *(judgement.success.outputs if judgement.success else ())), step))
            continue
        told[number] = Decision(Choice.REUSE, (reused(judgement),))
        if judgement.success is not None and (judgement.success.published or judgement.success.env):
            visible.finish(number, {**judgement.success.published, **judgement.success.env})
    return told, judgements


def is_open(decision: Decision) -> bool:
    """Return whether a step would run only because this run has not run it: then it may be reused."""
    return decision.choice is Choice.RUN and decision.reasons[0].code == "never-run"


def _upstream(
    step: Step,
    judgement: Judgement,
    running: Mapping[str, Step],
    remade: Mapping[str, Step],
    by_number: Mapping[int, Step],
) -> list[Reason]:
    before: dict[str, None] = {}
    for number in step.needs or ():
        if by_number[number].name in running:
            before[by_number[number].title] = None
    for path in judgement.evidence.inputs if remade else ():
        while path:  # what lies below a directory that is made anew is made anew
            if path in remade and remade[path].number < step.number:
                before[remade[path].title] = None
            path = path.rpartition("/")[0]
    values = judgement.success.values if judgement.success is not None else {}
    missing = [name for name in values if name not in judgement.evidence.values]
    if missing and running and not before:
        before[next(iter(running.values())).title] = None
    if not before:
        return []
    return [Reason("upstream-changed", f"{one_line(title)} runs again") for title in before]


def _to_come(step: Step, remade: Mapping[str, Step], project: str) -> list[Reason]:
    """Return a reason for each step before this one that makes an input which is not there yet."""
    base = os.path.join(project, step.working_directory)
    patterns = [item.pattern for item in step.inputs]
    before: dict[str, None] = {}
    for path, maker in remade.items():
        full = os.path.join(project, path)
        if maker.number < step.number and not os.path.lexists(full):
            if globs.is_meant(os.path.relpath(full, base), patterns):
                before[maker.title] = None
    return [Reason("upstream-changed", f"{one_line(title)} runs again") for title in before]
