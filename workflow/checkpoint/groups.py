"""How the parallel groups of a workflow stand, for tools that look at groups instead of steps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from workflow.model import Status, Step, Workflow

PENDING, RUNNING, COMPLETED, FAILED = "pending", "running", "completed", "failed"

_DONE = frozenset({Status.SUCCEEDED, Status.BYPASSED, Status.REUSED, Status.SKIPPED})
_AT_WORK = frozenset({Status.READY, Status.QUEUED, Status.RUNNING})


def group_states(workflow: Workflow, statuses: Mapping[int, Status]) -> list[dict[str, Any]]:
    """Return `name`, `steps` (numbers) and `status` of each block of a group, in order of number.

    A block is neighbours (by number) of one group, so a name may stand there more than once. `status` is
    `running` while a step of it is at work, else `failed` when one failed that was not to be tolerated, `completed`
    when all are done, skipped or failed as they may, else `pending`. A step that `statuses` does not know is pending.
    """
    states = []
    for name, block in groupby(workflow.steps, key=lambda step: step.group):
        if name is not None:
            steps = list(block)
            status = _status([(step, statuses.get(step.number, Status.PENDING)) for step in steps])
            states.append({"name": name, "steps": [step.number for step in steps], "status": status})
    return states


def _status(members: list[tuple[Step, Status]]) -> str:
    found = {status for _, status in members}
    if found & _AT_WORK:
        return RUNNING
    if any(status is Status.FAILED and not step.rules.continue_on_error for step, status in members):
        return FAILED
    return COMPLETED if found <= _DONE | {Status.FAILED} else PENDING
