"""A definition that a program built, through the same checks as one that was written in a file.

It holds the words of workflow.yaml as plain values. The run keeps it, so that any later resume reads the very same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from workflow.definition import calls, files
from workflow.definition.build import build
from workflow.definition.checks import checked_step, checked_top
from workflow.definition.header import hashbang_words
from workflow.definition.nodes import LARGEST_SHOWN_TEXT, Entry, Node, Page
from workflow.definition.raw import RawStep, RawWorkflow, digest
from workflow.errors import CheckpointError, DefinitionError, Problem
from workflow.model import TEXT_SHELL, Source, Workflow

_STRANGE = "the definition that the run keeps is not of the form that was written"


class BuiltStep(NamedTuple):
    """One step: its words as in workflow.yaml, or `call` instead of `run`; `line` counts from 1 in the file `path`."""

    words: Mapping[str, Any]
    path: str
    line: int
    call: Mapping[str, Any] | None = None


class Built(NamedTuple):
    """A definition of JSON values. `source` is the program's file (absolute), `top` the words beside `steps`."""

    source: str
    top: Mapping[str, Any]
    steps: tuple[BuiltStep, ...]

    def document(self) -> dict[str, Any]:
        """Return it as workflow.json of a run holds it."""
        steps = [
            {
                "words": dict(it.words),
                "path": it.path,
                "line": it.line,
                "call": None if it.call is None else dict(it.call),
            }
            for it in self.steps
        ]
        return {"source": self.source, "top": dict(self.top), "steps": steps}


def from_document(document: Any) -> Built:
    """Undo `Built.document`. Raises CheckpointError for anything else."""
    try:
        steps = tuple(BuiltStep(**entry) for entry in document["steps"])
        built = Built(document["source"], document["top"], steps)
    except (KeyError, TypeError) as error:
        raise CheckpointError(_STRANGE, help="run the program again that built it") from error
    source: object = built.source
    if not (isinstance(source, str) and isinstance(built.top, dict) and all(map(_is_right, steps))):
        raise CheckpointError(_STRANGE, help="run the program again that built it")
    return built


def _is_right(step: BuiltStep) -> bool:
    path: object = step.path
    line: object = step.line
    is_placed = isinstance(path, str) and isinstance(line, int) and line >= 1
    return is_placed and isinstance(step.words, dict) and (step.call is None or calls.is_call(step.call))


def load(built: Built, project: str, *, params: Mapping[str, str], policy: str | None) -> Workflow:
    """Return the workflow, as `loader.load` does for a file. Raises DefinitionError, UsageError."""
    problems: list[Problem] = []
    raw = read(built, project, problems)
    changes = None
    if policy is not None:
        from workflow.definition import policy as policies

        changes = policies.read(files.absolute_path(project, policy), project, problems)
    workflow = build(raw, project, built.source, params, problems, changes)
    if workflow is None:
        raise DefinitionError(sorted(set(problems), key=lambda problem: problem[1:4]))
    return workflow


def read(built: Built, project: str, problems: list[Problem]) -> RawWorkflow:
    """Return the steps and the words at the top as every reader does."""
    pages: dict[str, Page] = {}
    top = _Place(_page(built.source, project, pages), 1).node({**built.top, "steps": []})
    raw = RawWorkflow([], top, checked_top(top, problems))
    if not built.steps:
        problems.append(Problem("the workflow has no steps", top.page.path, help='add one: .step("build", run="make")'))
    for step in built.steps:
        raw.steps.append(_raw_step(step, _Place(_page(step.path, project, pages), step.line), project, problems))
    return raw


def _raw_step(step: BuiltStep, place: _Place, project: str, problems: list[Problem]) -> RawStep:
    words = dict(step.words)
    text = str(words.get("run", ""))
    interpreter: tuple[str, ...] = TEXT_SHELL
    if step.call is not None:
        text, interpreter = calls.text_of(step.call, project, place.here, problems), calls.interpreter(step.call)
        # Git, and whoever else looks at files alone, must see an edit of the function, too.
        if "inputs" in words or "outputs" in words:
            said = words.get("inputs", [])
            words["inputs"] = [*(said if isinstance(said, list) else [said]), calls.file_of(step.call, words)]
    node = place.node(words)
    raw = RawStep(Source(place.page.path, step.line), options=node, place=place.here, kind="item")
    raw.values = checked_step(node, problems)
    raw.text = text
    raw.content_digest = digest(text.encode("utf-8", "surrogateescape"))
    raw.interpreter = interpreter
    if step.call is None and "run" not in words:
        problems.append(raw.problem("this step has no `run`", 'say what it does: run="make", or call=function'))
    if step.call is None and text.startswith("#!"):
        raw.interpreter = hashbang_words(text.split("\n", 1)[0]) or None
        if raw.interpreter is None:
            problems.append(raw.problem("the `#!` line names no program", "write one, like `#!/bin/sh`"))
    return raw


def _page(path: str, project: str, pages: dict[str, Page]) -> Page:
    """Return the text that a step was written in, for messages; an empty one where it cannot be read any more."""
    page = pages.get(path)
    if page is None:
        shown = files.shown_path(project, path)
        data = files.read_bytes(path, shown, [])
        text = (data or b"").decode("utf-8", "replace")
        page = pages[path] = Page(shown, text if len(text) <= LARGEST_SHOWN_TEXT else "")
    return page


class _Place:
    """A line of a program: where all values of the call that stands there were written."""

    def __init__(self, page: Page, line: int) -> None:
        self.page = page
        rows = page.text.split("\n", line)
        row = rows[line - 1] if len(rows) >= line else ""
        self._at = (page, line - 1, len(row) - len(row.lstrip()), max(1, len(row.strip())))
        self.here = Node(*self._at)

    def node(self, value: Any) -> Node:
        """Return a JSON value as the readers of files do."""
        if isinstance(value, dict):
            entries = {word: Entry(Node(*self._at, text=word), self.node(part)) for word, part in value.items()}
            return Node(*self._at, entries=entries)
        if isinstance(value, list):
            return Node(*self._at, items=[self.node(part) for part in value])
        if value is None:
            return Node(*self._at, text="", is_plain=True)
        if isinstance(value, bool):
            return Node(*self._at, text="true" if value else "false", is_plain=True)
        return Node(*self._at, text=str(value), is_plain=not isinstance(value, str))
