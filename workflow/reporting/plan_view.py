"""The answer of `workflow plan`: what would run, what not, and why."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from workflow.errors import count, one_line
from workflow.reporting.status_view import step_label
from workflow.reporting.wording import Palette, noted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCREEN_STEPS = 40
BAR = "|"


def plan_text(document: Mapping[str, Any], colour: bool = False) -> str:
    """Return a plan document as text, without a trailing newline.

    Keys: run_id or None (a new run), steps (by number; each step, name, choice, reasons [{code, detail}], the most
    telling first; group and `if` where it has them), counts {choice: number}, will_run (a number).
    Steps of a group, which run side by side, have a bar at their left.
    With more than `SCREEN_STEPS` steps, neighbours that are not to run for the same reason share a line.
    """
    palette = Palette(is_coloured=colour)
    steps: Sequence[Mapping[str, Any]] = document.get("steps") or ()
    run_id = document.get("run_id")
    lines = [f"plan for run {one_line(str(run_id))}" if run_id else "plan for a new run"]
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
