"""How answers reach stdout: one JSON document, or text that any terminal can take."""

from __future__ import annotations

import json
import sys
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
