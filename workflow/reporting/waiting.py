"""Steps that wait: for their next attempt, for a lock, for a person's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import duration_text, one_line
from workflow.reporting.wording import Palette, failure_words, noted

if TYPE_CHECKING:
    from workflow.events import StepWaiting

RETRY, LOCK, APPROVAL = "retry", "lock", "approval"


class Asked(NamedTuple):
    """A step that asked for approval and was given no answer; `title` and `text` are printable."""

    number: int
    title: str
    text: str


def waiting_line(event: StepWaiting, title: str, palette: Palette, approve: str = "") -> str:
    """Return what a step waits for, in one line. `approve` is the command that answers, if it asks."""
    if event.why == RETRY:
        failed = f"failed ({failure_words(event.failure)})" if event.failure is not None else "failed"
        when = f"in {duration_text(event.wait_s)}" if event.wait_s else "now"
        return f"-- {title} {palette.yellow(failed)}, trying again {when}{palette.dim(noted([next_attempt(event)]))}"
    detail = one_line(event.detail)
    if event.why == LOCK:
        return f"-- {title} {palette.dim(f'waits for the lock {detail}')}"
    if event.why == APPROVAL:
        return f"-- {title} {palette.yellow('asks:')} {detail}{palette.dim(noted([approve] if approve else []))}"
    return f"-- {title} {palette.dim(f'waits: {detail or one_line(event.why)}')}"


def next_attempt(event: StepWaiting) -> str:
    """Return `attempt 2 of 4`. The attempts of an earlier series are counted too: then nobody can say of how many."""
    most = event.step.rules.retries.limit + 1
    number = event.attempt + 1
    return f"attempt {number} of {most}" if number <= most else f"attempt {number}"


def approve_command(resume_command: str, run_id: str, number: int) -> str:
    """Return what answers yes, to be typed where `resume_command` carries the run on."""
    # Where the checkpoints are, if they are not where everybody looks for them, stands behind the run.
    options = resume_command.removeprefix(f"workflow resume {run_id}")
    return f"workflow approve {run_id} {number:02d}{options if options != resume_command else ''}"
