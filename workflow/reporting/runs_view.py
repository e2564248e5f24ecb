"""Lists for people: the runs there are, the snapshots of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflow.errors import count, one_line, size_text
from workflow.reporting.status_view import coloured_status
from workflow.reporting.wording import Palette

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entries = Sequence[Mapping[str, Any]]

UNKNOWN = "?"
LONGEST_NAME = 40


def runs_text(runs: Entries, *, colour: bool) -> str:
    """Return a list of runs as a table, newest first, without a trailing newline. Keys: see keeping.listing.runs."""
    has_sizes = any(run.get("size_bytes") is not None for run in runs)
    head = ["RUN", "STATUS", "STEPS", "DONE", "STARTED", "UPDATED", *(["SIZE"] if has_sizes else []), "MARKS"]
    rows = []
    for run in runs:
        row = [
            one_line(str(run["run_id"])),
            _status(run),
            _steps(run),
            _percent(run),
            str(run["created_at"] or UNKNOWN),
            str(run["updated_at"] or UNKNOWN),
        ]
        if has_sizes:
            row.append(_size(run))
        row.append(" ".join(run["marks"]))
        rows.append(row)
    table = _table(head, rows, {"STEPS", "DONE", "SIZE"}, Palette(is_coloured=colour))
    problems = [f"{run['run_id']}: {one_line(str(run['problem']))}" for run in runs if run.get("problem")]
    return "\n".join([*table, "", count(len(runs), "run"), *(f"problem: {it}" for it in problems)])


def snapshots_text(snapshots: Entries, *, colour: bool) -> str:
    """Return the snapshots of a run as a table, newest first. Keys: see keeping.listed_snapshots.snapshots_of."""
    rows = [
        [
            one_line(str(it["checkpoint_id"])),
            one_line(str(it["trigger"])),
            _status(it),
            _steps(it),
            _percent(it),
            str(it["created"] or UNKNOWN),
            UNKNOWN if it["size_bytes"] is None else size_text(it["size_bytes"]),
            one_line(str(it["name"] or ""))[:LONGEST_NAME],
        ]
        for it in snapshots
    ]
    head = ["SNAPSHOT", "TRIGGER", "STATUS", "STEPS", "DONE", "CREATED", "SIZE", "NAME"]
    table = _table(head, rows, {"STEPS", "DONE", "SIZE"}, Palette(is_coloured=colour))
    problems = [f"problem: {one_line(str(it['problem']))}" for it in snapshots if it.get("problem")]
    return "\n".join([*table, "", count(len(snapshots), "snapshot"), *problems])


def _status(entry: Mapping[str, Any]) -> str:
    return str(entry["status"] or "unreadable").replace("_", " ")


def _steps(entry: Mapping[str, Any]) -> str:
    total = entry["total_tasks"]
    return UNKNOWN if total is None else f"{entry['completed_tasks']:,}/{total:,}"


def _percent(entry: Mapping[str, Any]) -> str:
    percent = entry["progress_percent"]
    return UNKNOWN if percent is None else f"{percent:.0f}%"


def _size(run: Mapping[str, Any]) -> str:
    return UNKNOWN if run["size_bytes"] is None else size_text(run["size_bytes"])


def _table(head: list[str], rows: list[list[str]], numeric: set[str], palette: Palette) -> list[str]:
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    # One template for all: ten thousand lines are to come within a tenth of a second.
    template = "  ".join(
        f"%{width}s" if name in numeric else f"%-{width}s" for name, width in zip(head, widths, strict=True)
    )
    status_at = head.index("STATUS")
    lines = [palette.dim((template % tuple(head)).rstrip())]
    if not palette.is_coloured:
        return lines + [(template % tuple(row)).rstrip() for row in rows]
    shown: dict[str, str] = {}
    for row in rows:
        status = row[status_at]
        if status not in shown:
            shown[status] = coloured_status(status.replace(" ", "_"), palette) + " " * (widths[status_at] - len(status))
        lines.append((template % (*row[:status_at], shown[status], *row[status_at + 1 :])).rstrip())
    return lines
