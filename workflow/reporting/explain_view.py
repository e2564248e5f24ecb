"""`explain` for people: the choice, every reason, what was there before and now, and what was edited."""

from __future__ import annotations

from typing import Any

from workflow.errors import count, one_line, printable
from workflow.reporting.wording import Palette

_SECTIONS = (
    ("inputs", "input"),
    ("outputs", "output"),
    ("values", "published value"),
    ("upstream", "from the steps it needs"),
    ("definition", "definition"),
)
_CHOICES = {
    "run": "would run",
    "reuse": "would be reused",
    "bypass": "is complete in this run",
    "skip": "would be skipped",
    "leave": "would be left as it is",
}


def explain_text(document: dict[str, Any], *, colour: bool) -> str:
    """Return the text of an explanation."""
    palette = Palette(is_coloured=colour)
    title = f"{document['step']:02d} {one_line(document['name'])}"
    lines = [f"step {title} {_CHOICES[document['choice']]}"]
    for reason in document["reasons"]:
        detail = f": {one_line(reason['detail'])}" if reason["detail"] else ""
        lines.append(f"  {palette.yellow(reason['code'])}{detail}")
    success = document["last_success"]
    if success is not None:
        lines.append(f"last success: {success['run_id']}, {success['completed_at']}")
    else:
        lines.append("last success: none that is known")
    same = 0
    for key, word in _SECTIONS:
        for pair in document[key]:
            if pair["before"] == pair["now"]:
                same += 1
            elif success is not None:
                lines.append(f"{word} {one_line(pair['name'])}")
                lines.append(f"  before {_shown(pair['before'])}")
                lines.append(f"  now    {_shown(pair['now'])}")
    if success is not None and same:
        lines.append(f"{count(same, 'other fact')} about it: the same")
    lines += [f"nothing matches its input {one_line(pattern)}" for pattern in document["empty_patterns"]]
    for path, line in document["written_by_many"].items():
        lines.append(f"{one_line(path)} is written by {' and then '.join(one_line(name) for name in line)}")
    if document["diff"]:
        lines += ["", *(printable(one) for one in document["diff"])]
    return "\n".join(lines)


def _shown(value: str | None) -> str:
    return "(nothing)" if value is None else one_line(value)
