"""One script with `# %%` cells -> raw steps, each of which means what that part of the script means by hand.

A line that begins with `# %%` starts a cell wherever it stands; what stands before the first is a preamble
that every step gets.
"""

from __future__ import annotations

import re
from itertools import pairwise

from workflow.definition import files, header
from workflow.definition.checks import checked_step
from workflow.definition.raw import RawStep, RawWorkflow, digest
from workflow.errors import Problem
from workflow.model import DEFAULT_SHELL, Source

_CELL = re.compile(rb"^#[ \t]?%%(?:[ \t]+([^\r\n]*?))?[ \t]*\r?$", re.MULTILINE)
# Blank lines put a cell at its own line number; in a script of many thousand cells they would outgrow everything.
_MOST_PADDING_BYTES = 4 * 1024 * 1024


def read(path: str, project: str, problems: list[Problem]) -> RawWorkflow:
    """Return the cells of the script at `path` (absolute) as steps, in order."""
    shown = files.shown_path(project, path)
    data = files.read_bytes(path, shown, problems)
    if data is None:
        return RawWorkflow([])
    data = data.removeprefix(b"\xef\xbb\xbf")
    at = data.find(b"\0")
    if at >= 0:
        problems.append(
            Problem(
                "a NUL byte cannot be part of a script",
                shown,
                data.count(b"\n", 0, at) + 1,
                help="is this a program and not a script?",
            )
        )
        return RawWorkflow([])
    starts = list(_CELL.finditer(data))
    if not starts:
        problems.append(
            Problem(
                "there are no cells in this script",
                shown,
                help="begin each step with a line `# %% name`; a script that is one step belongs in steps/",
            )
        )
        return RawWorkflow([])
    interpreter: tuple[str, ...] = DEFAULT_SHELL
    if data.startswith(b"#!"):
        words = header.hashbang_words(data.split(b"\n", 1)[0].decode("utf-8", "surrogateescape"))
        if not words:
            problems.append(
                Problem("the `#!` line names no program", shown, 1, 1, 2, "#!", "write one, like `#!/bin/sh`")
            )
        if words:
            interpreter = words
    preamble = data[: starts[0].start()]
    _refuse_options_in_preamble(preamble, shown, problems)
    lines_before = [data.count(b"\n", 0, starts[0].start())]
    for before, start in pairwise(starts):
        lines_before.append(lines_before[-1] + data.count(b"\n", before.start(), start.start()))
    gaps = [lines - lines_before[0] for lines in lines_before]
    is_padded = sum(gaps) <= _MOST_PADDING_BYTES
    steps = []
    for index, start in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(data)
        body = data[start.start() : end]
        line = lines_before[index] + 1
        padding = b"\n" * gaps[index] if is_padded else b""
        step = RawStep(
            Source(shown, line),
            name=(start[1] or b"").decode("utf-8", "surrogateescape"),
            text=(preamble + padding + body).decode("utf-8", "surrogateescape"),
            interpreter=interpreter,
            # Without the padding: a line more in one cell must not make all the later ones look changed.
            content_digest=digest(preamble + body),
            kind="cell",
        )
        if b"#|" in body:
            step.options = header.options_in(body.split(b"\n"), shown, line, problems)
            if step.options is not None:
                step.values = checked_step(step.options, problems)
        steps.append(step)
    return RawWorkflow(steps)


def _refuse_options_in_preamble(preamble: bytes, shown: str, problems: list[Problem]) -> None:
    # Only at its head, as everywhere: further down it may stand in a here-document.
    for number, line in enumerate(preamble.split(b"\n"), 1):
        if line.startswith(b"#|"):
            problems.append(
                Problem(
                    "options before the first cell belong to no step",
                    shown,
                    number,
                    1,
                    2,
                    line.decode("utf-8", "replace"),
                    "move them below the `# %% name` line of their step",
                )
            )
            return
        if not line.startswith(b"#") and line.strip():
            return
