"""The JSON Schemas (draft 2020-12) that ship with the package.

Beside what the draft says, two words of our own help to make messages: `x-wants` is what belongs in a
place, in words; `x-section` names the table of `vocabulary` with the words not available yet.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

from workflow.errors import UsageError, listed, nearest

_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schemas")


def names() -> list[str]:
    """Return the names of all schemas, sorted."""
    return sorted(entry.removesuffix(".json") for entry in os.listdir(_DIRECTORY) if entry.endswith(".json"))


@cache
def schema(name: str) -> dict[str, Any]:
    """Return a schema. It is shared: do not change it. Raises UsageError for a name that is none of `names()`."""
    known = names()
    if name not in known:
        near = nearest(name, known)
        advice = f"did you mean `{near}`?" if near else f"there are {listed(known)}"
        raise UsageError(f"there is no schema `{name}`", help=advice)
    with open(os.path.join(_DIRECTORY, f"{name}.json"), encoding="utf-8") as file:
        document: dict[str, Any] = json.load(file)
    return document
