"""What people read when a step failed: what, why, the end of its log, and how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow.errors import duration_text, one_line
from workflow.reporting.wording import signal_name

if TYPE_CHECKING:
    from workflow.events import StepFinished

TAIL_LINES = 10
LINE_CHARACTERS = 300


def failure_message(finished: StepFinished, resume_command: str) -> str:
    """Return the whole message of a failed step, without a trailing newline.

    An empty `resume_command` leaves the help line out. Every part is printable: control characters of
    the log are shown as escapes, so that a log cannot move the cursor of who reads about it.
    """
    attempt = f" (attempt {finished.attempt.number})" if finished.attempt is not None else ""
    lines = [f"error: step {one_line(finished.step.title)} failed{attempt}: {failure_cause(finished)}"]
    lines += [f"  | {_shown(line)}" for line in finished.tail[-TAIL_LINES:]]
    # Nobody has said anything yet in the log of a step that a person did not let start.
    if finished.log_path and not is_rejected(finished):
        lines.append(f"log: {one_line(finished.log_path)}")
    if finished.partial_outputs:
        names = ", ".join(one_line(name) for name in finished.partial_outputs)
        lines.append(f"partial outputs (not to be trusted): {names}")
    if resume_command:
        lines.append(f"help: {one_line(resume_command)}")
    return "\n".join(lines)


def is_rejected(finished: StepFinished) -> bool:
    """Return whether the step was not started because a person said no."""
    return finished.failure is not None and finished.failure.kind == "rejected"


def failure_cause(finished: StepFinished) -> str:
    """Return why a step failed as one phrase: `exit code 3`, `killed by SIGKILL (exit code 137)`, and so on."""
    failure = finished.failure
    code = finished.attempt.exit_code if finished.attempt is not None else None
    kind = failure.kind if failure is not None else "exit"
    message = one_line(failure.message) if failure is not None else ""
    if kind == "timeout":
        took = f"ran out of time after {duration_text(finished.duration_s)}"
        limit_s = finished.step.timeout_s
        if limit_s is not None:
            return f"{took} (limit {duration_text(limit_s)})"
        return message or took
    if kind == "exit" and code is not None:
        return f"exit code {code}"
    if kind == "signal" and code is not None and code > 128:
        return f"killed by {signal_name(code - 128)} (exit code {code})"
    return message or one_line(kind.replace("_", " "))


def _shown(line: str) -> str:
    # cut before and after: escapes make a line longer, and a line may be as long as its log
    shown = one_line(line[: LINE_CHARACTERS + 1].expandtabs())
    return shown if len(shown) <= LINE_CHARACTERS else f"{shown[: LINE_CHARACTERS - 3]}..."
