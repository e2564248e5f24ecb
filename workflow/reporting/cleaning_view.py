"""What `checkpoint delete`, `clean` and `prune` are about to do, and what they did, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow.errors import count, one_line, size_text

MOST_LINES = 20


def going_lines(removed: Sequence[Mapping[str, Any]], abandoned: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each run or snapshot that goes or is marked, the rest counted beyond some."""
    lines = [
        f"  {it['name']}  {it['status']}, {size_text(it['size_bytes'])}: {one_line(it['why'])}"
        for it in removed[:MOST_LINES]
    ]
    if len(removed) > MOST_LINES:
        lines.append(f"  and {len(removed) - MOST_LINES:,} more")
    lines += [f"  {it['run_id']}  to be marked abandoned: {one_line(it['why'])}" for it in abandoned[:MOST_LINES]]
    if len(abandoned) > MOST_LINES:
        lines.append(f"  and {len(abandoned) - MOST_LINES:,} more to be marked abandoned")
    return lines


def left_lines(left: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each run that is left alone."""
    lines = [f"note: {it['run_id']} is left alone: {one_line(it['why'])}" for it in left[:MOST_LINES]]
    if len(left) > MOST_LINES:
        lines.append(f"note: {len(left) - MOST_LINES:,} more are left alone")
    return lines


def what_text(document: Mapping[str, Any]) -> str:
    """Return what goes, counted: `3 runs (12 MB)`, `1 run and 2 snapshots (4.1 MB)`."""
    snapshots = sum(1 for it in document["removed"] if it["snapshot"] is not None)
    runs = len(document["removed"]) - snapshots
    parts = [count(runs, "run")] if runs or not snapshots else []
    parts += [count(snapshots, "snapshot")] if snapshots else []
    return f"{' and '.join(parts)} ({size_text(document['freed_bytes'])})"


def done_text(document: Mapping[str, Any]) -> str:
    """Return what was done, or with a dry run would be, in a line or more."""
    is_dry = document["is_dry_run"]
    lines = []
    if document["removed"] or document["freed_bytes"]:
        if is_dry:
            lines += [f"would remove {what_text(document)}:"]
            lines += going_lines(document["removed"], document["abandoned"])
        else:
            lines.append(f"removed {what_text(document)}")
    elif is_dry and document["abandoned"]:
        lines += ["would remove nothing", *going_lines((), document["abandoned"])]
    if document["abandoned"] and not is_dry:
        lines.append(f"marked {count(len(document['abandoned']), 'run')} abandoned")
    return "\n".join(lines) if lines else "nothing to remove"


def snapshots_text(document: Mapping[str, Any]) -> str:
    """Return how many snapshots go: `3 snapshots (12 kB)`."""
    return f"{count(len(document['removed']), 'snapshot')} ({size_text(document['freed_bytes'])})"
