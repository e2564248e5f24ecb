"""What a run came to, said when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import count, duration_text, one_line
from workflow.model import TERMINAL, RunStatus, Status
from workflow.reporting.wording import Palette, signal_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflow.events import RunFinished

TABLE_STEPS = 40
SLOWEST_STEPS = 5
_WORDS = {Status.PENDING: "not run"}


class Row(NamedTuple):
    """One step of a summary. `status` None means that its turn never came; `note` says why it failed."""

    number: int
    title: str
    status: Status | None
    duration_s: float = 0.0
    note: str = ""


def summary_lines(finished: RunFinished, rows: Sequence[Row], palette: Palette) -> list[str]:
    """Return the end of a run: its steps, the total, and last of all how to go on when it is not completed.

    `rows` are sorted by number, their texts printable. With more than `TABLE_STEPS` of them only the failed
    ones and the `SLOWEST_STEPS` slowest are shown.
    """
    if len(rows) <= TABLE_STEPS:
        lines = _table(rows, palette)
    else:
        lines = _table([row for row in rows if row.status is Status.FAILED], palette)
        ran = [row for row in rows if row.status in (Status.SUCCEEDED, Status.FAILED)]
        slowest = sorted(ran, key=lambda row: row.duration_s, reverse=True)[:SLOWEST_STEPS]
        if slowest:
            lines.append(palette.dim("slowest steps:"))
            lines += _table(slowest, palette)
    return [*lines, *closing_lines(finished, palette)]


def closing_lines(finished: RunFinished, palette: Palette) -> list[str]:
    """Return the sentence that says how the run stands, and below it the command that resumes, if there is need."""
    counts = finished.counts
    in_order = sorted(Status, key=lambda status: status not in TERMINAL)
    parts = [f"{counts[status]:,} {_WORDS.get(status, status.value)}" for status in in_order if counts.get(status)]
    is_completed = finished.status is RunStatus.COMPLETED and finished.exit_code == 0
    is_asked_done = finished.exit_code == 0
    word = palette.green(_outcome(finished)) if is_asked_done else palette.red(_outcome(finished))
    steps = ", ".join(parts) or count(0, "step")
    lines = [f"{word} in {duration_text(finished.duration_s)}: {steps}"]
    if not is_completed and finished.resume_command:
        lines.append(f"help: {one_line(finished.resume_command)}")
    return lines


def _outcome(finished: RunFinished) -> str:
    if finished.exit_code in (129, 130, 143):
        return f"interrupted by {signal_name(finished.exit_code - 128)}"
    if finished.exit_code == 124:
        return "stopped by a limit in time"
    if finished.status is RunStatus.COMPLETED:
        return "completed" if finished.exit_code == 0 else "not everything done"
    if finished.exit_code == 0:
        return "what was asked for is done"
    status: str = finished.status.value
    return status.replace("_", " ")


def _table(rows: Sequence[Row], palette: Palette) -> list[str]:
    width = min(max((len(row.title) for row in rows), default=0), 60)
    lines = []
    for row in rows:
        if row.status is None:
            lines.append(palette.dim(f"  ? {row.title:<{width}}  not run"))
            continue
        ran = row.status in (Status.SUCCEEDED, Status.FAILED)
        took = duration_text(row.duration_s) if ran else row.status.value
        note = f"  {row.note}" if row.note else ""
        mark = palette.of(row.status, palette.marks.get(row.status, "?"))
        lines.append(f"  {mark} {row.title:<{width}}  {palette.dim(took)}{note}")
    return lines
