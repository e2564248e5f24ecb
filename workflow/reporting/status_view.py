"""The answer of `workflow status`: one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from workflow.errors import duration_text, one_line, printable
from workflow.reporting.waiting import approve_command
from workflow.reporting.wording import Palette

SCREEN_STEPS = 40
SHOWN_GROUPS = 6
BAR_CELLS = 20
_GOOD = frozenset({"completed", "bypassed", "reused"})
_BAD = frozenset({"failed", "abandoned"})
_ALWAYS_SHOWN = frozenset({"failed", "running", "waiting"})


def status_text(document: Mapping[str, Any], *, colour: bool, now_at: float) -> str:
    """Return a status document as text, without a trailing newline.

    Keys: run_id, status, run_dir, project_path, created_at, updated_at (text or seconds since the epoch),
    epoch, total_tasks, completed_tasks, failed_tasks, skipped_tasks, progress_percent, steps (by number; each step,
    name, status, duration_seconds, exit_code, reason, failure, completed_by, tolerated, next_attempt_at, approval;
    all but the first three may be None or absent), groups (each name, steps, status), current (labels), problems,
    resume_command or None, holder or None (pid, host, since, command).
    With more than `SCREEN_STEPS` steps neighbours of one status share a line; one that failed, runs or waits has its
    own, as long as these are not too many themselves.
    """
    palette = Palette(is_coloured=colour)
    steps: Sequence[Mapping[str, Any]] = document.get("steps") or ()
    lines = steps_table(steps, palette, now_at)
    lines += _groups(document, palette)
    current = document.get("current") or ()
    if current:
        word = "now" if document.get("holder") or _is_running(document) else "next"
        lines.append(f"{word}: {', '.join(one_line(str(label)) for label in current)}")
    for problem in document.get("problems") or ():
        lines.append(f"{palette.yellow('problem:')} {printable(str(problem))}")
    blocks = [_head(document, palette, now_at), lines]
    blocks.append(_asked(steps, str(document.get("run_id", "")), document.get("resume_command"), palette))
    if document.get("resume_command"):
        blocks.append([f"help: {one_line(str(document['resume_command']))}"])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def steps_table(steps: Sequence[Mapping[str, Any]], palette: Palette, now_at: float) -> list[str]:
    """Return the lines of the steps of a status document, folded where there are many."""
    if len(steps) <= SCREEN_STEPS:
        width = min(max((len(_title(step)) for step in steps), default=0), 60)
        return [_step_line(step, palette, width, now_at) for step in steps]
    folded = list(_folded(steps, palette, now_at))
    # statuses that alternate do not fold
    return folded if len(folded) <= SCREEN_STEPS else list(_counted(steps, palette, now_at))


def progress_line(document: Mapping[str, Any], palette: Palette) -> str:
    """Return the bar, the share of steps that are over, and how many are done."""
    done, total = document.get("completed_tasks") or 0, document.get("total_tasks") or 0
    failed, skipped = document.get("failed_tasks") or 0, document.get("skipped_tasks") or 0
    percent = float(document.get("progress_percent") or 0.0)
    filled = max(0, min(BAR_CELLS, int(percent * BAR_CELLS / 100)))
    return (
        f"[{'#' * filled}{'-' * (BAR_CELLS - filled)}] {percent:.0f}%, {done:,} of {total:,} steps done"
        + (f", {palette.red(f'{failed:,} failed')}" if failed else "")
        + (f", {skipped:,} skipped" if skipped else "")
    )


def coloured_status(status: str, palette: Palette) -> str:
    """Return the status of a run or a step in its colour."""
    return _coloured(status, one_line(status.replace("_", " ")), palette)


def _is_running(document: Mapping[str, Any]) -> bool:
    return any(step.get("status") == "running" for step in document.get("steps") or ())


def step_label(step: Any) -> str:
    """Return a step's number as every message shows it; what is no number stays as it is."""
    return f"{step:02d}" if isinstance(step, int) else one_line(str(step))


def _head(document: Mapping[str, Any], palette: Palette, now_at: float) -> list[str]:
    status = str(document.get("status", ""))
    resumes = (document.get("epoch") or 1) - 1
    resumed = f", resumed {'once' if resumes == 1 else f'{resumes:,} times'}" if resumes > 0 else ""
    shown = coloured_status(status, palette)
    lines = [
        f"run {one_line(str(document.get('run_id', '')))}: {shown}{resumed}",
        progress_line(document, palette),
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


def _step_line(step: Mapping[str, Any], palette: Palette, width: int, now_at: float) -> str:
    status = str(step["status"])
    parts = [f"{_title(step):<{width}}", _coloured(status, f"{one_line(status):<9}", palette)]
    if step.get("duration_seconds") is not None:
        parts.append(palette.dim(duration_text(float(step["duration_seconds"]))))
    parts += _notes(step, palette, now_at)
    return f"  {'  '.join(parts).rstrip()}"


def _notes(step: Mapping[str, Any], palette: Palette, now_at: float) -> Iterator[str]:
    status = str(step["status"])
    if status == "failed" or (status == "waiting" and step.get("failure")):
        failure = step.get("failure")
        message = failure.get("message") if isinstance(failure, Mapping) else failure
        if message:
            yield one_line(str(message))
        elif step.get("exit_code") is not None:
            yield f"exit code {step['exit_code']}"
        if step.get("tolerated"):
            yield palette.dim("tolerated")
    elif step.get("reason"):
        yield palette.dim(one_line(str(step["reason"])))
    if step.get("next_attempt_at"):
        yield palette.dim(_next_attempt(str(step["next_attempt_at"]), now_at))
    approval = step.get("approval")
    if isinstance(approval, Mapping) and approval.get("answer") and status != "failed":
        yield palette.dim(f"{one_line(str(approval['answer']))} by {one_line(str(approval.get('by')))}")
    if step.get("completed_by") and step["completed_by"] != "runner":
        yield palette.dim(f"by {one_line(str(step['completed_by']))}")


def _next_attempt(instant: str, now_at: float) -> str:
    at = _seconds_of(one_line(instant))
    if at is None:
        return "again later"
    return f"again in {duration_text(at - now_at)}" if at > now_at else "again now"


def _folded(steps: Sequence[Mapping[str, Any]], palette: Palette, now_at: float) -> Iterator[str]:
    for (status, reason), group in groupby(steps, key=_kind):
        same = list(group)
        if status in _ALWAYS_SHOWN or len(same) == 1:
            for step in same:
                yield _step_line(step, palette, 0, now_at)
        else:
            span = f"{step_label(same[0]['step'])}-{step_label(same[-1]['step'])}"
            word = _coloured(status, one_line(status), palette) + (f" {one_line(reason)}" if reason else "")
            yield f"  {span} {word} {palette.dim(f'({len(same):,} steps)')}"


def _kind(step: Mapping[str, Any]) -> tuple[str, str]:
    """Return what neighbours must share to share a line: their status, and of blocked ones what blocks them."""
    status = str(step["status"])
    return status, str(step.get("reason") or "") if status == "blocked" else ""


def _counted(steps: Sequence[Mapping[str, Any]], palette: Palette, now_at: float) -> Iterator[str]:
    counts: dict[str, int] = {}
    for step in steps:
        status = str(step["status"])
        counts[status] = counts.get(status, 0) + 1
        if status in _ALWAYS_SHOWN and counts[status] <= SCREEN_STEPS // 2:
            yield _step_line(step, palette, 0, now_at)
    for status, number in counts.items():
        if status not in _ALWAYS_SHOWN:
            yield f"  {number:,} {_coloured(status, one_line(status), palette)}"
        elif number > SCREEN_STEPS // 2:
            yield f"  {number - SCREEN_STEPS // 2:,} more {_coloured(status, one_line(status), palette)}"


def _groups(document: Mapping[str, Any], palette: Palette) -> Iterator[str]:
    groups = document.get("groups") or ()
    if 0 < len(groups) <= SHOWN_GROUPS:
        for group in groups:
            numbers, status = group["steps"], str(group["status"])
            span = step_label(numbers[0]) + (f"-{step_label(numbers[-1])}" if len(numbers) > 1 else "")
            yield f"group {one_line(str(group['name']))} ({span}): {_coloured(status, one_line(status), palette)}"
    elif groups:
        counts: dict[str, int] = {}
        for group in groups:
            counts[str(group["status"])] = counts.get(str(group["status"]), 0) + 1
        yield "groups: " + ", ".join(f"{number:,} {one_line(status)}" for status, number in counts.items())


def _asked(steps: Sequence[Mapping[str, Any]], run_id: str, resume: Any, palette: Palette) -> list[str]:
    """Return what persons are asked now, and the commands that answer."""
    lines = []
    for step in steps:
        approval = step.get("approval")
        if step["status"] != "waiting" or not isinstance(approval, Mapping) or approval.get("answer"):
            continue
        command = approval.get("command") or approve_command(str(resume or ""), run_id, step["step"])
        approve = one_line(str(command))
        lines.append(f"{palette.yellow(_title(step))} asks: {one_line(str(approval['text']))}")
        lines += [f"  yes: {approve}", f"  no:  {approve} --reject"]
    most = 3 * SHOWN_GROUPS
    return lines if len(lines) <= most else [*lines[:most], f"and {(len(lines) - most) // 3:,} more ask"]


def _coloured(status: str, text: str, palette: Palette) -> str:
    if status in _GOOD:
        return palette.green(text)
    if status in _BAD:
        return palette.red(text)
    if status in ("paused", "blocked", "cancelled", "interrupted", "retrying", "waiting"):
        return palette.yellow(text)
    return text if status in ("in_progress", "running") else palette.dim(text)


def _instant_text(instant: Any, now_at: float) -> str:
    """Return `2026-11-20T17:15:00Z (3m05s ago)`; text that is no instant stays as it is."""
    if isinstance(instant, int | float):
        from workflow.checkpoint.records import utc_text

        found: float | None = float(instant)
        text = utc_text(found) or ""
    else:
        text = one_line(str(instant))
        found = _seconds_of(text)
    if found is None:
        return text
    ago_s = now_at - found
    # a clock that is behind ours makes an instant of the future: then the instant alone is the truth
    return f"{text} ({_age(ago_s)} ago)" if ago_s >= 0 else text


def _seconds_of(text: str) -> float | None:
    """Return an instant (ISO 8601, UTC unless it says otherwise) as seconds since the epoch, None if it is none."""
    from datetime import datetime, timezone

    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=timezone.utc)).timestamp()


def _age(seconds: float) -> str:
    days = int(seconds // 86400)
    if days >= 2:
        return f"{days:,} days"
    return duration_text(seconds)
