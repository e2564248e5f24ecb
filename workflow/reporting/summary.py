"""What a run came to, said when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workflow.errors import EXIT_WAITING, count, duration_text, one_line
from workflow.model import TERMINAL, RunStatus, Status
from workflow.reporting.wording import Palette, signal_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflow.events import RunFinished
    from workflow.reporting.waiting import Asked

TABLE_STEPS = 40
SLOWEST_STEPS = 5
# So many steps blocked by others have a line each; of more, one line says how many there are and by what.
BLOCKED_STEPS = 3
CAUSES = 5
ASKED_STEPS = 8
_WORDS = {Status.PENDING: "not run"}


class Row(NamedTuple):
    """One step of a summary. `status` None means that its turn never came.

    `note` says why it failed or was skipped, or what it waits for; of a blocked step, the step that failed.
    """

    number: int
    title: str
    status: Status | None
    duration_s: float = 0.0
    note: str = ""
    is_tolerated: bool = False


class Ending(NamedTuple):
    """What the end of a run has to say besides its steps. All texts are printable.

    `tolerated` counts failures that do not count. `first_failed` names the first failure, if it was not the only
    thing that went wrong. `asked` holds the steps that wait for approval, each with the command that gives it.
    """

    tolerated: int = 0
    first_failed: str = ""
    asked: tuple[tuple[Asked, str], ...] = ()


NOTHING_ELSE = Ending()


def summary_lines(
    finished: RunFinished, rows: Sequence[Row], palette: Palette, ending: Ending = NOTHING_ELSE
) -> list[str]:
    """Return the end of a run: its steps, the total, and last of all how to go on when it is not completed.

    `rows` are sorted by number, their texts printable. With more than `TABLE_STEPS` of them only those that failed or
    were cancelled and the `SLOWEST_STEPS` slowest are shown.
    """
    blocked = [row for row in rows if row.status is Status.BLOCKED]
    is_folded = len(blocked) > BLOCKED_STEPS
    if len(rows) <= TABLE_STEPS:
        lines = _table([row for row in rows if not is_folded or row.status is not Status.BLOCKED], palette)
    else:
        ended_badly = [row for row in rows if row.status in (Status.FAILED, Status.CANCELLED)]
        ended_badly.sort(key=lambda row: (row.status is not Status.FAILED or row.is_tolerated, row.number))
        shown = ended_badly[:TABLE_STEPS] + ([] if is_folded else blocked)
        lines = _table(shown, palette)
        if len(ended_badly) > TABLE_STEPS:
            lines.append(palette.dim(f"  and {len(ended_badly) - TABLE_STEPS:,} more that failed or were cancelled"))
        ran = [row for row in rows if row.status in (Status.SUCCEEDED, Status.FAILED)]
        slowest = sorted(ran, key=lambda row: row.duration_s, reverse=True)[:SLOWEST_STEPS]
        if slowest:
            lines.append(palette.dim("slowest steps:"))
            lines += _table(slowest, palette)
    if is_folded:
        lines += _causes(blocked, palette)
    return [*lines, *closing_lines(finished, palette, ending)]


def closing_lines(finished: RunFinished, palette: Palette, ending: Ending = NOTHING_ELSE) -> list[str]:
    """Return the sentence that says how the run stands, and below it the command that resumes, if there is need."""
    parts = []
    for status in sorted(Status, key=lambda status: status not in TERMINAL):
        number = finished.counts.get(status, 0)
        if status is Status.FAILED and ending.tolerated:
            parts.append((number - ending.tolerated, status.value))
            parts.append((ending.tolerated, "failed and tolerated"))
        else:
            parts.append((number, _WORDS.get(status, status.value)))
    steps = ", ".join(f"{number:,} {word}" for number, word in parts if number > 0) or count(0, "step")
    is_completed = finished.status is RunStatus.COMPLETED and finished.exit_code == 0
    colour = {0: palette.green, EXIT_WAITING: palette.yellow}.get(finished.exit_code, palette.red)
    lines = [f"{colour(_outcome(finished))} in {duration_text(finished.duration_s)}: {steps}"]
    if ending.first_failed:
        lines.append(f"first to fail: {ending.first_failed}")
    for asked, approve in ending.asked[:ASKED_STEPS]:
        lines.append(f"{asked.title} asks: {asked.text}")
        if approve:
            lines += [f"  yes: {approve}", f"  no:  {approve} --reject"]
    if len(ending.asked) > ASKED_STEPS:
        lines.append(f"and {len(ending.asked) - ASKED_STEPS:,} more ask: workflow status {one_line(finished.run_id)}")
    if not is_completed and finished.resume_command:
        lines.append(f"help: {one_line(finished.resume_command)}")
    return lines


def _outcome(finished: RunFinished) -> str:
    if finished.exit_code in (129, 130, 143):
        return f"interrupted by {signal_name(finished.exit_code - 128)}"
    if finished.exit_code == 124:
        return "stopped by a limit in time"
    if finished.exit_code == EXIT_WAITING:
        return "waiting for approval" if finished.counts.get(Status.WAITING) else "stopped by a limit"
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
            lines.append(palette.dim(f"  ? {row.title:<{width}}  {row.note or 'not run'}"))
            continue
        mark = palette.marks.get(row.status, "?")
        mark = palette.yellow(mark) if row.is_tolerated else palette.of(row.status, mark)
        lines.append(f"  {mark} {row.title:<{width}}  {_became(row, palette)}")
    return lines


def _became(row: Row, palette: Palette) -> str:
    if row.status is Status.BLOCKED:
        return palette.dim(f"blocked by {row.note}" if row.note else "not started")
    if row.status in (Status.SUCCEEDED, Status.FAILED):
        return palette.dim(duration_text(row.duration_s)) + (f"  {row.note}" if row.note else "")
    word = row.status.value if row.status is not None else ""
    return palette.dim(f"{word}  {row.note}" if row.note else word)


def _causes(blocked: Sequence[Row], palette: Palette) -> list[str]:
    """Return how many steps each failure blocked, the one that blocked most first."""
    numbers: dict[str, int] = {}
    for row in blocked:
        numbers[row.note] = numbers.get(row.note, 0) + 1
    ordered = sorted(numbers.items(), key=lambda item: -item[1])
    lines = [
        f"{count(number, 'step')} " + (f"blocked by {cause}" if cause else "not started") for cause, number in ordered
    ]
    if len(lines) > CAUSES:
        rest = sum(number for _, number in ordered[CAUSES:])
        lines[CAUSES:] = [f"{count(rest, 'step')} blocked by {len(ordered) - CAUSES:,} others"]
    mark = palette.of(Status.BLOCKED, palette.marks[Status.BLOCKED])
    return [f"  {mark} {line}" for line in lines]
