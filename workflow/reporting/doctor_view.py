"""`workflow doctor` as text: what is wrong first, then what is in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow.errors import count, one_line
from workflow.reporting.wording import Palette

_UNITS = {
    "interval_minutes": ("minute", "minutes"),
    "max_size_mb": ("MB", "MB"),
    "retention.max_age_days": ("day", "days"),
}


def doctor_text(document: Mapping[str, Any], *, is_coloured: bool, is_utf8: bool) -> str:
    """Return the text of the answer, without a trailing newline."""
    palette = Palette(is_coloured=is_coloured)
    good, bad = ("✓", "✗") if is_utf8 else ("+", "x")
    lines = []
    width = max(len(check["name"]) for check in document["checks"])
    for check in document["checks"]:
        mark = {"ok": palette.green(good), "note": palette.yellow("!"), "wrong": palette.red(bad)}[check["status"]]
        lines.append(f"  {mark} {check['name']:<{width}}  {one_line(check['detail'])}")
        if check["help"]:
            lines.append(f"    {'':<{width}}  {palette.dim('help: ' + one_line(check['help']))}")
    lines += ["", "checkpoint settings in force:"]
    width = max(len(setting["key"]) for setting in document["settings"])
    shown = {setting["key"]: one_line(_value(setting)) for setting in document["settings"]}
    broad = min(max(map(len, shown.values())), 40)
    for setting in document["settings"]:
        origin = one_line(setting["where"] or "standard")
        origin = palette.dim(origin) if setting["from"] == "standard" else origin
        lines.append(f"  {setting['key']:<{width}}  {shown[setting['key']]:<{broad}}  {origin}")
    lines.append("")
    wrong = sum(check["status"] == "wrong" for check in document["checks"])
    notes = sum(check["status"] == "note" for check in document["checks"])
    more = f" ({count(notes, 'thing')} worth knowing: !)" if notes else ""
    if wrong:
        lines.append(f"{palette.red('not ready')}: {count(wrong, 'thing')} to mend before a run can be made here{more}")
    else:
        lines.append(f"{palette.green('ready')}{more}")
    return "\n".join(lines)


def _value(setting: Mapping[str, Any]) -> str:
    value = setting["value"]
    if value is None:
        return "no limit" if setting["key"] == "max_size_mb" or "." in setting["key"] else "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        one, many = _UNITS.get(setting["key"], ("", ""))
        return f"{value:,g} {one if value == 1 else many}".rstrip()
    return str(value)
