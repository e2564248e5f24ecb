"""How answers reach stdout: one JSON document, or text that any terminal can take."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from workflow.reporting.terminal import Style, style
from workflow.session import environment


def print_json(document: Any) -> None:
    """Print one JSON document, and nothing else."""
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print text; what stdout's encoding cannot say is shown as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if not text.endswith("\n"):
        sys.stdout.write("\n")
    sys.stdout.flush()


def style_of_stdout() -> Style:
    return style(isatty=sys.stdout.isatty(), environ=environment())


def print_rows(rows: Sequence[Any]) -> None:
    """Print one JSON array, an entry a line: as quick to write as to read with `grep`."""
    encode = json.JSONEncoder().encode
    sys.stdout.write("[" + ",".join(f"\n  {encode(row)}" for row in rows) + ("\n]\n" if rows else "]\n"))
    sys.stdout.flush()


def print_document(document: Mapping[str, Any]) -> None:
    """Print one JSON object that may be large: a key a line, and of an object of objects each one on its own."""
    encode = json.JSONEncoder().encode
    lines = []
    for key, value in document.items():
        if isinstance(value, dict) and value and all(isinstance(it, dict) for it in value.values()):
            inner = ",".join(f"\n    {encode(name)}: {encode(it)}" for name, it in value.items())
            lines.append(f"\n  {encode(key)}: {{{inner}\n  }}")
        else:
            lines.append(f"\n  {encode(key)}: {encode(value)}")
    sys.stdout.write("{" + ",".join(lines) + "\n}\n")
    sys.stdout.flush()


def can_print(text: str) -> bool:
    """Return whether stdout can say this."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
