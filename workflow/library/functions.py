"""From a function to what another process needs in order to call it: names, a file, arguments of JSON.

Nothing of it is pickled: what a run keeps must be readable, and never be evaluated.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workflow.errors import UsageError, one_line

# What a script is called where it is loaded for one of its functions: its `if __name__ == "__main__":` stays quiet.
SCRIPT = "__workflow_script__"

# The file that is being loaded for the function of a step in this process; empty when none is.
loading = ""


def described(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, step: str, project: str
) -> dict[str, Any]:
    """Return a call as a definition holds it (`definition.calls`). Raises UsageError for what nobody else can call."""
    name = _name_of(function, step)
    module = sys.modules.get(str(getattr(function, "__module__", None)))
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise UsageError(
            f"step {one_line(step)}: {name}() is in no file that another process could read",
            help="put it into a module; what was typed into an interpreter is gone with it",
        )
    file = os.path.abspath(file)
    if not file.endswith(".py"):
        raise UsageError(
            f"step {one_line(step)}: {name}() is not written in Python ({one_line(file)})",
            help="write a function that calls it",
        )
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise UsageError(
            f"step {one_line(step)}: what {module.__name__} calls {name} is something else, so nobody would find it",
            help="give the function that stands there under its own name",
        )
    module_name, root = _place_of(module, file)
    return {
        "module": module_name,
        "function": name,
        "file": _shown(file, project),
        "root": _shown(root, project) if root else "",
        "python": sys.executable,
        "args": _json(list(args), f"step {one_line(step)}: args"),
        "kwargs": _json(dict(kwargs), f"step {one_line(step)}: kwargs"),
    }


def _name_of(function: object, step: str) -> str:
    name: Any = getattr(function, "__qualname__", None)
    bound_to: Any = getattr(function, "__self__", None)
    advice = "define it with `def` at the top of a module, and give what it needs as args and kwargs"
    kind = ""
    if not callable(function):
        kind = f"{type(function).__name__} is nothing to call"
    elif not isinstance(name, str):
        kind = f"a {type(function).__name__} has no name by which another process could find it"
    elif "<lambda>" in name:
        kind = "a lambda has no name by which another process could find it"
    elif "<locals>" in name:
        kind = f"{name.rpartition('.')[2]}() is local to another function, where no other process finds it"
    elif bound_to is not None and not isinstance(bound_to, type(sys)):
        kind = f"{name}() is bound to an object, which another process does not have"
    if kind:
        raise UsageError(f"step {one_line(step)}: {kind}", help=advice)
    return str(name)


def _place_of(module: Any, file: str) -> tuple[str, str]:
    """Return the name to import a module by and the directory it is found from; of a script, `SCRIPT` and its own."""
    name = module.__name__
    if name == "__main__":
        spec = getattr(module, "__spec__", None)
        if spec is None:
            return SCRIPT, os.path.dirname(file)
        name = spec.name  # python -m NAME
    stem = file.removesuffix(".py")
    parts = name.split(".")
    if os.path.basename(stem) == "__init__":
        stem = os.path.dirname(stem)
    root = stem
    for part in reversed(parts):
        if os.path.basename(root) != part:
            return name, ""  # not where its name says: whoever imports it must know how
        root = os.path.dirname(root)
    return name, root


def _shown(path: str, project: str) -> str:
    """Return a path from the project where it lies inside, so that a project may be moved."""
    inside = os.path.relpath(path, project)
    return path if inside.split(os.sep)[0] == os.pardir else inside


def _json(value: Any, what: str) -> Any:
    """Return a value as JSON gives it back. Raises UsageError where that is not the same value."""
    try:
        back = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{what} go to another process as JSON, which cannot hold them: {error}",
            help="give texts, numbers, lists and mappings; of anything larger the path of a file",
        ) from error
    if back != _listed(value):
        raise UsageError(f"{what} would not be the same after JSON", help="keys of mappings are texts in JSON")
    return back


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return {key: _listed(item) for key, item in value.items()} if isinstance(value, dict) else value
