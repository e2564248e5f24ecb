"""`python -m workflow.library.calling FILE`: the process of a step that is a function.

FILE is the text of the step (`definition.calls`). What the function returns as a mapping is published; what it raises
fails the step, with the traceback in its log.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from workflow.checkpoint import values
from workflow.checkpoint.durable import Disk
from workflow.library import functions

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def main() -> int:
    """Call the function; return the exit code of the step."""
    with open(sys.argv[1], encoding="utf-8") as file:
        order = json.load(file)
    try:
        result = _function(order)(*order["args"], **order["kwargs"])
        if inspect.iscoroutine(result):
            import asyncio

            result = asyncio.run(result)
        _publish(result, order["call"])
    except Exception as error:  # noqa: BLE001 it is the user's: whatever it raises fails the step, and the log says so
        _print(error)
        return 1
    return 0


def _print(error: Exception) -> None:
    """Print a traceback that begins in the code of the user."""
    sys.stdout.flush()
    own = os.path.dirname(os.path.abspath(__file__))
    trace = error.__traceback__
    while trace is not None and os.path.dirname(os.path.abspath(trace.tb_frame.f_code.co_filename)) == own:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    render = getattr(error, "render", None)
    if callable(render):  # ours: a sentence with what to do
        print(render(), file=sys.stderr)


def _given(name: str) -> str:
    """Return what every step is given; empty where this is none."""
    return os.environ.get(name, "")


def _function(order: Mapping[str, Any]) -> Callable[..., Any]:
    project = _given("WORKFLOW_PROJECT") or os.getcwd()
    module_name, _, name = order["call"].partition(":")
    path = os.path.normpath(os.path.join(project, order["file"]))
    # What the functions of this file see is what they saw where the workflow was built.
    if order["root"]:
        root = os.path.normpath(os.path.join(project, order["root"]))
        if root not in sys.path:
            sys.path.insert(0, root)
    functions.loading = path
    try:
        found: Any = _script(path) if module_name == functions.SCRIPT else importlib.import_module(module_name)
    finally:
        functions.loading = ""
    there = getattr(found, "__file__", None)
    if there is None or not os.path.exists(path) or not os.path.samefile(there, path):
        raise ImportError(f"{module_name} was to be {path}, and here it is {there}")
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def _script(path: str) -> Any:
    """Load a script without running what it does when it is started."""
    spec = importlib.util.spec_from_file_location(functions.SCRIPT, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no script of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[functions.SCRIPT] = module
    spec.loader.exec_module(module)
    return module


def _publish(result: Any, call: str) -> None:
    if result is None:
        return
    if not isinstance(result, Mapping):
        kind = type(result).__name__
        _warn(f"{call} returned a {kind}, which goes nowhere: return a dict of values to publish, or nothing")
        return
    published = {_key(key): _text(value, key) for key, value in result.items()}
    data = values.encode(published)
    values.decode(data)  # a name that is kept for others is told of here, where the function is known
    path = _given("WORKFLOW_OUTPUT")
    if published and path:
        Disk().append(path, data)


def _key(key: object) -> str:
    if not isinstance(key, str) or not _KEY.match(key):
        raise ValueError(f"{key!r} cannot be the name of a published value: letters, digits and `_`, no digit first")
    return key


def _text(value: object, key: str) -> str:
    """Return a value as later steps see it in their environment: texts as they are, all else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the published value {key} is a {type(value).__name__}, which JSON cannot hold") from error


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
    path = _given("WORKFLOW_EVENTS")
    if path:
        Disk().append(path, f"warning {text}\n".encode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(main())
