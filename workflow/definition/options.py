"""Values of options that are right in type -> values of the model, with what a schema cannot say checked here."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from workflow.definition.files import absolute_path, near_help, shown_path
from workflow.definition.raw import RawStep, RawWorkflow
from workflow.errors import Problem, one_line
from workflow.model import GitSettings, Input, Smart

LONGEST_DURATION_S = 3650 * 86400
_DURATION = re.compile(r"(?:([0-9.]+)d)? ?(?:([0-9.]+)h)? ?(?:([0-9.]+)m)? ?(?:([0-9.]+)s?)?")
_SHELL_HELP = "write it as in a shell: `shell: bash -eu`"
_WANTS_DURATION = "a duration like 90s, 5m, 1h30m or 2d (or a number of seconds), more than 0 and less than 10 years"
_WANTS_DURATION_OR_ZERO = "a duration like 5s, 2m or 1h30m (or a number of seconds), less than 10 years"


def duration_s(value: float | str, *, can_be_zero: bool = False) -> float | None:
    """Return a duration in seconds; None when it is none, or not between 0 and ten years."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip()) if value.strip() and len(value) < 100 else None
        if match is None:
            return None
        try:
            seconds = sum(
                float(part) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True) if part
            )
        except ValueError:
            return None
    else:
        seconds = float(value)
    is_long_enough = seconds >= 0 if can_be_zero else seconds > 0
    return float(seconds) if is_long_enough and seconds < LONGEST_DURATION_S else None


def duration_problem(word: str, value: object, *, can_be_zero: bool = False) -> str:
    """Return the message for a duration that is none."""
    from workflow.definition.nodes import found

    return f"`{word}` wants {_WANTS_DURATION_OR_ZERO if can_be_zero else _WANTS_DURATION}, not {found(value)}"


def variables(raw: RawStep, word: str) -> tuple[tuple[str, str], ...]:
    """Return `env` or `params` as pairs in the order they were written."""
    values: Mapping[str, Any] = raw.values.get(word, {})
    return tuple((name, str(value)) for name, value in values.items())


def working_directory(raw: RawStep, project: str, problems: list[Problem]) -> str:
    """Return where the step starts, relative to the project where it lies inside."""
    said: str = raw.values.get("working_directory", ".")
    path = absolute_path(project, said)
    if "\0" in said:
        return "."  # the reader has told of it
    # As the kernel goes there: `a/..` is not `.` when a is a symbolic link, so what was written is what is looked at.
    if not os.path.isdir(os.path.join(project, said)):
        is_there = os.path.lexists(os.path.join(project, said))
        message = f"{one_line(said)} is not a directory" if is_there else f"there is no directory {one_line(said)}"
        problems.append(raw.option_problem("working_directory", message, "" if is_there else near_help(path)))
    return shown_path(project, said) if os.path.isabs(said) and os.path.normpath(said) == said else said


def interpreter(raw: RawStep, problems: list[Problem]) -> tuple[str, ...] | None:
    """Return the words the script or text is run with; None leaves it to the kernel."""
    if "shell" not in raw.values:
        if raw.objection is not None:
            problems.append(raw.objection)
        return raw.interpreter
    try:
        words = tuple(shlex.split(raw.values["shell"]))
    except ValueError:
        problems.append(raw.option_problem("shell", "a quote in `shell` is not closed", _SHELL_HELP))
        return raw.interpreter
    if not words or not words[0]:
        problems.append(raw.option_problem("shell", "`shell` names no program", _SHELL_HELP))
        return raw.interpreter
    return words


def timeout_s(raw: RawStep, problems: list[Problem]) -> float | None:
    """Return the time limit of the step in seconds."""
    value = raw.values.get("timeout")
    if value is None:
        return None
    seconds = duration_s(value)
    if seconds is None:
        problems.append(raw.option_problem("timeout", duration_problem("timeout", value)))
    return seconds


def inputs(raw: RawStep) -> tuple[Input, ...]:
    """Return the declared inputs as they were written."""
    value = raw.values.get("inputs", [])
    items = [value] if isinstance(value, str) else value
    return tuple(
        Input(item) if isinstance(item, str) else Input(item["path"], item.get("empty", "warn")) for item in items
    )


def smart(raw: RawWorkflow, problems: list[Problem]) -> Smart:
    """Return what the word `smart` at the top says."""
    said = raw.values.get("smart", False)
    if isinstance(said, bool):
        return Smart(enabled=said)
    if raw.top is not None and "base" in said and said.get("changes") != "git":
        place = raw.top.at(["smart"]).key("base")
        problems.append(place.problem("`base` goes with `changes: git`", "add `changes: git`, or take `base` out"))
    return Smart(
        enabled=said.get("enabled", True),
        ignores_comments=said.get("comments") == "ignore",
        changes=said.get("changes", "content"),
        base=said.get("base", "HEAD"),
    )


def archive(raw: RawStep) -> tuple[str, ...]:
    """Return the files of which copies are kept, as they were written, each once."""
    value = raw.values.get("archive", [])
    return tuple(dict.fromkeys([value] if isinstance(value, str) else value))


def git(raw: RawWorkflow) -> GitSettings:
    """Return what the word `git` at the top says; whoever writes a mapping means that it is on."""
    said = raw.values.get("git", False)
    if isinstance(said, bool):
        return GitSettings(enabled=said)
    given: dict[str, Any] = {
        word: None if value == 0 and word.startswith("max_") else value for word, value in said.items()
    }
    return GitSettings(**{"enabled": True, **given})


def outputs(raw: RawStep) -> tuple[str, ...]:
    """Return the declared outputs as they were written, each once."""
    value = raw.values.get("outputs", [])
    return tuple(dict.fromkeys([value] if isinstance(value, str) else value))
