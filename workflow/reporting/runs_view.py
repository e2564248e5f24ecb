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
            str(run["status"] or "unreadable"),
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
            str(it["status"] or "unreadable"),
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
    is_right = [name in numeric for name in head]
    status_at = head.index("STATUS")
    lines = [palette.dim(_line(head, widths, is_right))]
    for row in rows:
        cells = list(row)
        if palette.is_coloured:
            status = row[status_at]
            padding = " " * (widths[status_at] - len(status))
            cells[status_at] = coloured_status(status, palette) + padding
        else:
            cells[status_at] = row[status_at].replace("_", " ")
        lines.append(_line(cells, widths, is_right))
    return lines


def _line(cells: list[str], widths: list[int], is_right: list[bool]) -> str:
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, is_right, strict=True)
    ]
    return "  ".join(padded).rstrip()
