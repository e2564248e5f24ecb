"""`explain`: every reason at once why one step would run or be reused."""

from __future__ import annotations

from typing import Any

from workflow.definition.named_step import step_number
from workflow.opening import open_run
from workflow.options import Options
from workflow.planning.decision import decide
from workflow.planning.explanation import explanation
from workflow.planning.foresight import foresee
from workflow.planning.record import nothing_recorded
from workflow.reusing import world_of
from workflow.session import environment, project_directory


def explain(options: Options, step_name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the explanation of a step for a new run, and what people should know besides. Writes nothing.

    Raises DefinitionError, UsageError.
    """
    opened = open_run(options, project_directory(), environment(), to_run=False)
    workflow = opened.workflow
    number = step_number(workflow, step_name)
    world = world_of(options, opened, environment())
    recorded = nothing_recorded(workflow)
    decisions = decide(workflow.steps, opened.order, recorded.facts, opened.request, recorded.markers)
    # Only what comes before it has a say.
    before = opened.order[: opened.order.index(number) + 1]
    told, judgements = foresee(world, workflow, before, decisions)
    judgement = judgements[number]
    document = explanation(judgement, told[number], world.outputs_of(judgement.step), world.writers_of_many())
    return document, world.problems
