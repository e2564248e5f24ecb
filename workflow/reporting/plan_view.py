"""The answer of `workflow plan`: what would run, what not, and why."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from workflow.errors import count, listed, one_line
from workflow.reporting.status_view import step_label
from workflow.reporting.wording import Palette, noted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCREEN_STEPS = 40
BAR = "|"
MOST_NAMED = 10


def plan_text(document: Mapping[str, Any], colour: bool = False) -> str:
    """Return a plan document as text, without a trailing newline.

    Keys: run_id or None (a new run), steps (by number; each step, name, choice, reasons [{code, detail}], the most
    telling first; group and `if` where it has them), counts {choice: number}, will_run (a number).
    `recovery` of a resume: see planning.recovery_plan.
    Steps of a group, which run side by side, have a bar at their left.
    With more than `SCREEN_STEPS` steps, neighbours that are not to run for the same reason share a line.
    """
    palette = Palette(is_coloured=colour)
    steps: Sequence[Mapping[str, Any]] = document.get("steps") or ()
    run_id = document.get("run_id")
    lines = [f"plan for run {one_line(str(run_id))}" if run_id else "plan for a new run"]
    lines += recovery_lines(document)
    width = min(max((len(_title(step)) for step in steps), default=0), 60)
    if len(steps) <= SCREEN_STEPS:
        lines += [_line(step, palette, width) for step in steps]
    else:
        for (choice, codes, name), group in groupby(steps, key=_kind):
            same = list(group)
            if len(same) < 3 or (choice == "run" and codes != "never-run"):
                lines += [_line(step, palette, width) for step in same]
                continue
            span = f"{step_label(same[0]['step'])}-{step_label(same[-1]['step'])}"
            why = f"({count(len(same), 'step')}{', ' + codes if codes else ''}{' side by side' if name else ''})"
            lines.append(f"  {_choice(choice, palette)}  {span}  {palette.dim(why)}")
    if len(steps) <= SCREEN_STEPS and any(step.get("group") for step in steps):
        lines.append(palette.dim(f"steps behind {BAR} run side by side"))
    counts: Mapping[str, int] = document.get("counts") or {}
    others = [f"{number:,} {one_line(str(choice))}" for choice, number in counts.items() if number and choice != "run"]
    will_run = int(document.get("will_run") or 0)
    closing = f"{count(will_run, 'step')} would run" if will_run else "nothing to run"
    return "\n".join([*lines, closing + noted(others)])


def recovery_lines(document: Mapping[str, Any]) -> list[str]:
    """Return what a resume takes up again: how much of it, then one by one. Nothing for a new run."""
    recovery: Mapping[str, Any] | None = document.get("recovery")
    if recovery is None:
        return []
    workers, locks, approvals = recovery["workers"], recovery["locks"], recovery["approvals"]
    asking = [it for it in approvals if it["answer"] is None]
    counts = (
        f"{count(len(workers), 'worker')} to restore",
        f"{count(len(recovery['steps_to_resume']), 'step')} to resume",
        f"{count(len(locks), 'lock')} to re-establish",
        f"{count(len(asking), 'approval')} to wait for",
    )
    lines = [f"recovery: {', '.join(counts)}"]
    lines += [f"  worker {it['worker']}: {_worker(it)}" for it in workers[:MOST_NAMED]]
    lines += [f"  lock {one_line(it['lock'])}: {_steps(it['steps'])}" for it in locks[:MOST_NAMED]]
    lines += [f"  approval: {_approval(it)}" for it in approvals[:MOST_NAMED]]
    left = sum(max(0, len(those) - MOST_NAMED) for those in (workers, locks, approvals))
    return [*lines, *([f"  and {left:,} more"] if left else [])]


def _worker(worker: Mapping[str, Any]) -> str:
    title = f"{worker['step']} {one_line(str(worker['name']))}"
    if worker["state"] == "next":
        return f"begins with {title}"
    what = f"had {title} in hand (attempt {worker['attempt']}, since {worker['started_at']})"
    if worker["state"] == "running":
        return f"{what}, which still runs: it is waited for"
    if worker["state"] == "ended":
        return f"{what}, which ended with exit code {worker['exit_code']}: that is taken over"
    return f"{what}, which was cut short: it runs again"


def _steps(labels: Sequence[str]) -> str:
    return f"step{'' if len(labels) == 1 else 's'} {listed(labels)}"


def _approval(approval: Mapping[str, Any]) -> str:
    answer = f" ({one_line(str(approval['answer']))})" if approval["answer"] else ""
    return f"{approval['step']} {one_line(str(approval['name']))} asks: {one_line(str(approval['text']))}{answer}"


def _kind(step: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(step["choice"]), _codes(step), str(step.get("group") or "")


def _title(step: Mapping[str, Any]) -> str:
    bar = f"{BAR} " if step.get("group") else ""
    return f"{bar}{step_label(step['step'])} {one_line(str(step['name']))}"


def _codes(step: Mapping[str, Any]) -> str:
    return ", ".join(one_line(str(reason["code"])) for reason in step.get("reasons") or ())


def _choice(choice: str, palette: Palette) -> str:
    word = f"{one_line(choice):<6}"
    return palette.green(word) if choice == "run" else palette.dim(word)


def _line(step: Mapping[str, Any], palette: Palette, width: int) -> str:
    reasons = []
    for reason in step.get("reasons") or ():
        detail = reason.get("detail")
        reasons.append(one_line(f"{reason['code']}: {detail}" if detail else str(reason["code"])))
    if step.get("if") and step["choice"] == "run":
        reasons.append(f"if: {one_line(str(step['if']))}")
    why = palette.dim("; ".join(reasons)) if reasons else ""
    return f"  {_choice(str(step['choice']), palette)}  {_title(step):<{width}}  {why}".rstrip()
