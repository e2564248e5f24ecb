"""The answer of `workflow status`: one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from workflow.errors import duration_text, one_line, printable
from workflow.reporting.wording import Palette

SCREEN_STEPS = 40
BAR_CELLS = 20
_GOOD = frozenset({"completed", "bypassed", "reused"})
_BAD = frozenset({"failed", "abandoned"})
_ALWAYS_SHOWN = frozenset({"failed", "running"})


def status_text(document: Mapping[str, Any], *, colour: bool, now_at: float) -> str:
    """Return a status document as text, without a trailing newline.

    Keys: run_id, status, run_dir, project_path, created_at, updated_at (text or seconds since the epoch),
    epoch, total_tasks, completed_tasks, failed_tasks, progress_percent, steps (by number; each step, name, status,
    duration_seconds, exit_code, reason, failure, completed_by; all but the first three may be None or absent),
    current (labels), problems, resume_command or None, holder or None (pid, host, since, command).
    With more than `SCREEN_STEPS` steps neighbours of one status share a line; a failed one always has its own.
    """
    palette = Palette(is_coloured=colour)
    lines = []
    steps: Sequence[Mapping[str, Any]] = document.get("steps") or ()
    if len(steps) <= SCREEN_STEPS:
        width = min(max((len(_title(step)) for step in steps), default=0), 60)
        lines += [_step_line(step, palette, width) for step in steps]
    else:
        folded = list(_folded(steps, palette))
        # statuses that alternate do not fold
        lines += folded if len(folded) <= SCREEN_STEPS else _counted(steps, palette)
    current = document.get("current") or ()
    if current:
        word = "now" if document.get("holder") or _is_running(document) else "next"
        lines.append(f"{word}: {', '.join(one_line(str(label)) for label in current)}")
    for problem in document.get("problems") or ():
        lines.append(f"{palette.yellow('problem:')} {printable(str(problem))}")
    blocks = [_head(document, palette, now_at), lines]
    if document.get("resume_command"):
        blocks.append([f"help: {one_line(str(document['resume_command']))}"])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _is_running(document: Mapping[str, Any]) -> bool:
    return any(step.get("status") == "running" for step in document.get("steps") or ())


def step_label(step: Any) -> str:
    """Return a step's number as every message shows it; what is no number stays as it is."""
    return f"{step:02d}" if isinstance(step, int) else one_line(str(step))


def _head(document: Mapping[str, Any], palette: Palette, now_at: float) -> list[str]:
    status = str(document.get("status", ""))
    done, total = document.get("completed_tasks") or 0, document.get("total_tasks") or 0
    failed = document.get("failed_tasks") or 0
    percent = float(document.get("progress_percent") or 0.0)
    filled = max(0, min(BAR_CELLS, int(percent * BAR_CELLS / 100)))
    resumes = (document.get("epoch") or 1) - 1
    resumed = f", resumed {'once' if resumes == 1 else f'{resumes:,} times'}" if resumes > 0 else ""
    shown = _coloured(status, one_line(status.replace("_", " ")), palette)
    lines = [
        f"run {one_line(str(document.get('run_id', '')))}: {shown}{resumed}",
        f"[{'#' * filled}{'-' * (BAR_CELLS - filled)}] {percent:.0f}%, {done:,} of {total:,} steps done"
        + (f", {palette.red(f'{failed:,} failed')}" if failed else ""),
    ]
    details = []
    if document.get("project_path"):
        details.append(f"project {one_line(str(document['project_path']))}")
    if document.get("run_dir"):
        details.append(f"files   {one_line(str(document['run_dir']))}")
    for key, word in (("created_at", "started"), ("updated_at", "changed")):
        if document.get(key):
            details.append(f"{word} {_instant_text(document[key], now_at)}")
    holder = document.get("holder")
    if holder:
        details.append(
            f"held by process {holder.get('pid')} on {one_line(str(holder.get('host')))} since "
            f"{_instant_text(holder.get('since'), now_at)}: {one_line(str(holder.get('command')))}"
        )
    return lines + [palette.dim(line) for line in details]


def _title(step: Mapping[str, Any]) -> str:
    return f"{step_label(step['step'])} {one_line(str(step['name']))}"


def _step_line(step: Mapping[str, Any], palette: Palette, width: int) -> str:
    status = str(step["status"])
    parts = [f"{_title(step):<{width}}", _coloured(status, f"{one_line(status):<9}", palette)]
    if step.get("duration_seconds") is not None:
        parts.append(palette.dim(duration_text(float(step["duration_seconds"]))))
    if status == "failed":
        failure = step.get("failure")
        message = failure.get("message") if isinstance(failure, Mapping) else failure
        if message:
            parts.append(one_line(str(message)))
        elif step.get("exit_code") is not None:
            parts.append(f"exit code {step['exit_code']}")
    elif step.get("reason"):
        parts.append(palette.dim(one_line(str(step["reason"]))))
    if step.get("completed_by") and step["completed_by"] != "runner":
        parts.append(palette.dim(f"by {one_line(str(step['completed_by']))}"))
    return f"  {'  '.join(parts).rstrip()}"


def _folded(steps: Sequence[Mapping[str, Any]], palette: Palette) -> Iterator[str]:
    for status, group in groupby(steps, key=lambda step: str(step["status"])):
        same = list(group)
        if status in _ALWAYS_SHOWN or len(same) == 1:
            for step in same:
                yield _step_line(step, palette, 0)
        else:
            span = f"{step_label(same[0]['step'])}-{step_label(same[-1]['step'])}"
            yield f"  {span} {_coloured(status, one_line(status), palette)} {palette.dim(f'({len(same):,} steps)')}"


def _counted(steps: Sequence[Mapping[str, Any]], palette: Palette) -> Iterator[str]:
    counts: dict[str, int] = {}
    for step in steps:
        status = str(step["status"])
        counts[status] = counts.get(status, 0) + 1
        if status in _ALWAYS_SHOWN:
            yield _step_line(step, palette, 0)
    for status, number in counts.items():
        if status not in _ALWAYS_SHOWN:
            yield f"  {number:,} {_coloured(status, one_line(status), palette)}"


def _coloured(status: str, text: str, palette: Palette) -> str:
    if status in _GOOD:
        return palette.green(text)
    if status in _BAD:
        return palette.red(text)
    if status in ("paused", "blocked", "cancelled", "retrying"):
        return palette.yellow(text)
    return text if status in ("in_progress", "running") else palette.dim(text)


def _instant_text(instant: Any, now_at: float) -> str:
    """Return `2026-11-20T17:15:00Z (3m05s ago)`; text that is no instant stays as it is."""
    from datetime import datetime, timezone

    if isinstance(instant, int | float):
        at = float(instant)
        text = datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    else:
        text = one_line(str(instant))
        try:
            parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            return text
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=timezone.utc)
        at = parsed.timestamp()
    ago_s = now_at - at
    # a clock that is behind ours makes an instant of the future: then the instant alone is the truth
    return f"{text} ({_age(ago_s)} ago)" if ago_s >= 0 else text


def _age(seconds: float) -> str:
    days = int(seconds // 86400)
    if days >= 2:
        return f"{days:,} days"
    return duration_text(seconds)
