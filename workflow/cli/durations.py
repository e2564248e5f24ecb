"""Ages on the command line: `7d`, `12h`, `2w`, `1d12h`; a bare number is days."""

from __future__ import annotations

import re

from workflow.errors import UsageError, one_line

_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PART = re.compile(rf"({_NUMBER})([wdhms])")
_AGE = re.compile(rf"{_NUMBER}|(?:{_NUMBER}[wdhms])+")


def age_s(text: str, option: str) -> float:
    """Return an age in seconds. Raises UsageError with an example."""
    said = text.strip().lower().replace(" ", "")
    for word, unit in (("weeks", "w"), ("week", "w"), ("days", "d"), ("day", "d"), ("hours", "h"), ("hour", "h")):
        said = said.replace(word, unit)
    if not _AGE.fullmatch(said):
        raise UsageError(
            f"{option} {one_line(text[:40])}: that is no age", help=f"for example: {option} 7d (12h, 2w; 30 is 30 days)"
        )
    parts = _PART.findall(said)
    if not parts:
        return float(said) * _UNITS["d"]
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
