"""Steps that are functions of Python: the text of such a step says which function, with what, and what it was.

The interpreter of the text is `python -m workflow.library.calling`. Since the text holds a digest of the module's file
and the source of the function, an edit of either is a change of the step like that of any script.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping
from typing import Any

from workflow.definition import files
from workflow.definition.nodes import Node
from workflow.definition.raw import digest
from workflow.errors import Problem

CALLING = ("-m", "workflow.library.calling")
_TEXTS = ("module", "function", "file", "root", "python")


def is_call(call: Any) -> bool:
    """Return whether this is a call: `module, function, file, root, python` (texts), `args` and `kwargs`."""
    if not isinstance(call, dict) or not all(isinstance(call.get(key), str) for key in _TEXTS):
        return False
    return isinstance(call.get("args"), list) and isinstance(call.get("kwargs"), dict)


def interpreter(call: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words that the text of the step is run with."""
    return (call["python"], *CALLING)


def file_of(call: Mapping[str, Any], words: Mapping[str, Any]) -> str:
    """Return the file of the function, as an input of a step with these words."""
    working_directory = words.get("working_directory", ".")
    if os.path.isabs(call["file"]) or not isinstance(working_directory, str) or os.path.isabs(working_directory):
        return str(call["file"])
    return os.path.relpath(call["file"], working_directory)


def text_of(call: Mapping[str, Any], project: str, place: Node, problems: list[Problem]) -> str:
    """Return the text of the step, with the file as it is now; a problem where that is gone."""
    path = files.absolute_path(project, call["file"])
    data = files.read_bytes(path, call["file"], problems)
    if data is None:
        problems.append(place.problem(f"the file of {call['function']}() cannot be read", "put it back where it was"))
    document = {
        "call": f"{call['module']}:{call['function']}",
        "file": call["file"],
        "root": call["root"],
        "args": call["args"],
        "kwargs": call["kwargs"],
        "digest": digest(data or b""),
        "source": source_of(data or b"", call["function"]),
    }
    return json.dumps(document, indent=1) + "\n"


def source_of(data: bytes, name: str) -> list[str]:
    """Return the lines of a function by its qualified name; none where they cannot be told."""
    try:
        text = data.decode("utf-8")
        body: list[ast.stmt] = ast.parse(text).body
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    found: ast.stmt | None = None
    for part in name.split("."):
        # The last one of a name is the one that counts, as when the module is executed.
        found = next((it for it in reversed(body) if getattr(it, "name", None) == part), None)
        body = getattr(found, "body", [])
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or found.end_lineno is None:
        return []
    first = min([found.lineno, *(it.lineno for it in found.decorator_list)])
    return text.splitlines()[first - 1 : found.end_lineno]
