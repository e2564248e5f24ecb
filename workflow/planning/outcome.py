"""What a run came to, from where its steps stand at the end of a pass."""

from __future__ import annotations

from workflow.checkpoint.master import DONE
from workflow.model import Choice, Decision, RunStatus, Status, Workflow
from workflow.planning.record import Recorded


def with_past(statuses: dict[int, Status], recorded: Recorded) -> dict[int, Status]:
    """Return the statuses with those of steps that were left as they were."""
    return {
        number: Status.FAILED
        if status is Status.PENDING and (fact := recorded.facts.get(number)) and fact.last == "failed"
        else status
        for number, status in statuses.items()
    }


def run_status(statuses: dict[int, Status], workflow: Workflow) -> RunStatus:
    """Return what the run is now that nobody runs it; failures that are tolerated do not count."""
    tolerant = {step.number for step in workflow.steps if step.rules.continue_on_error}
    statuses = {
        number: status for number, status in statuses.items() if not (status is Status.FAILED and number in tolerant)
    }
    if all(status in DONE or status is Status.SKIPPED for status in statuses.values()):
        return RunStatus.COMPLETED
    return RunStatus.FAILED if Status.FAILED in statuses.values() else RunStatus.PAUSED


def is_left_failed(statuses: dict[int, Status], decisions: dict[int, Decision], *, skip_failed: bool) -> bool:
    """Return whether `--skip-failed` left a failed step failed."""
    return skip_failed and any(
        decisions[number].choice is Choice.LEAVE and status is Status.FAILED for number, status in statuses.items()
    )
