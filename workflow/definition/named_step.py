"""Which step a person means."""

from __future__ import annotations

import os

from workflow.errors import UsageError, listed, nearest, one_line
from workflow.model import Workflow


def step_number(workflow: Workflow, name: str) -> int:
    """Return the number of the step that a person named: `5`, `05`, `step_05`, or its name. Raises UsageError."""
    for step in workflow.steps:
        if step.name == name:
            return step.number
    for step in workflow.steps:
        script = os.path.basename(step.script or "")
        if name and name in (script, os.path.splitext(script)[0], step.title):
            return step.number
    digits = name.removeprefix("step_")
    # ASCII only, and not beyond what can be a number: int() takes more than that, or raises.
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        for step in workflow.steps:
            if step.number == int(digits):
                return step.number
    titles = [step.title for step in workflow.steps]
    like = nearest(name, [step.name for step in workflow.steps])
    raise UsageError(
        f"there is no step {one_line(name[:80])}" if name else "a step is named by its number or its name",
        help=f"did you mean {one_line(like)}?"
        if like
        else f"steps there are: {listed(one_line(title) for title in titles)}",
    )
