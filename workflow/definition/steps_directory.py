"""A directory of numbered scripts -> raw steps. Ten thousand of them must cost no more than a blink."""

from __future__ import annotations

import os
import re
import shlex
import stat
from functools import cache

from blake3 import blake3

from workflow.definition import files, header
from workflow.definition.checks import checked_step
from workflow.definition.raw import RawStep
from workflow.errors import Problem, listed, one_line
from workflow.model import DEFAULT_SHELL, Source

HIGHEST_NUMBER = 999_999
_STEP_NAME = re.compile(r"(step_)?([0-9]+)(?:[_-](.*?))?(\.[^.]*)?", re.DOTALL)
_LEFT_BY_EDITORS = ("~", ".bak", ".orig", ".rej", ".swo", ".swp", ".tmp")
_CHUNK_BYTES = 1 << 20
NAMES_HELP = "name scripts step_NN_name.ext, NN_name.ext or NN-name.ext, like step_00_hello.sh"


def parts(entry: str) -> re.Match[str] | None:
    """Return the match (`step_`, digits, name, extension) when a file name is that of a step."""
    first = entry[:1]
    if not ("0" <= first <= "9" or first == "s") or entry.endswith(_LEFT_BY_EDITORS):
        return None
    match = _STEP_NAME.fullmatch(entry)
    # `00.sh` says no more than a number; it is far more often data than a step.
    if match is None or (match[1] is None and match[3] is None):
        return None
    return match


def ignored_files(directory: str) -> list[str]:
    """Return the names of files in `directory` that are no steps, sorted; dot files and directories are left out."""
    with os.scandir(directory) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and parts(entry.name) is None and not entry.is_dir()
        )


def read(directory: str, project: str, problems: list[Problem]) -> list[RawStep]:
    """Return the steps in `directory` (absolute), sorted by number; nothing is read below it."""
    shown = files.shown_path(project, directory)
    prefix = "" if shown == "." else shown.rstrip("/") + "/"
    found: list[tuple[int, str, re.Match[str]]] = []
    seen: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                match = parts(name)
                if match is None:
                    seen.append(name)
                elif len(match[2]) > 6 and len(match[2].lstrip("0")) > 6:
                    message = f"the number of this step is above {HIGHEST_NUMBER:,}"
                    problems.append(Problem(message, prefix + name, help="give it a smaller number"))
                else:
                    found.append((int(match[2]), name, match))
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        problems.append(Problem(f"the steps directory cannot be read: {error.strerror or error}", shown))
        return []
    try:
        found.sort(key=lambda item: item[:2])
        steps = [_script(descriptor, prefix, number, match, problems) for number, _, match in found]
    finally:
        os.close(descriptor)
    if not found and not problems:
        quoted = [shlex.quote(one_line(name)) for name in sorted(seen)]
        inside = f"; it holds {listed(quoted, 4)}" if seen else "; it is empty"
        problems.append(Problem(f"there are no steps in this directory{inside}", shown, help=NAMES_HELP))
    return steps


def _script(directory: int, prefix: str, number: int, match: re.Match[str], problems: list[Problem]) -> RawStep:
    """Return the step of one script; with a problem, too: otherwise others would seem to need a step there is not."""
    name = match[0]
    path = prefix + name
    step = RawStep(Source(path), number, match[3] or "", script=path, interpreter=DEFAULT_SHELL)
    try:
        script = os.open(name, files.READ_FLAGS, dir_fd=directory)
        try:
            status = os.fstat(script)
            if not stat.S_ISREG(status.st_mode):
                message = f"this is {files.kind_of(status.st_mode)}, not a script"
                problems.append(Problem(message, path, help="give it another name, or move it elsewhere"))
                return step
            # Asking for no more than there is: the buffer for a megabyte costs more than the reading.
            asked = min(status.st_size + 1, _CHUNK_BYTES)
            head = os.read(script, asked)
            whole = blake3(head)
            if len(head) == asked:
                while chunk := os.read(script, _CHUNK_BYTES):
                    whole.update(chunk)
        finally:
            os.close(script)
    except OSError as error:
        problems.append(_open_problem(directory, name, path, error))
        return step
    step.content_digest = f"blake3:{whole.hexdigest()}"
    if head.startswith(b"#!"):
        step.interpreter = None
        # Thousands of scripts share a handful of first lines: what was once found good stays good.
        if status.st_mode & 0o111 != 0o111 or not _is_good_hashbang(head[:4096].split(b"\n", 1)[0]):
            step.objection = _hashbang_objection(head, path, status, directory, name)
    elif head.startswith(b"\xef\xbb\xbf"):
        advice = f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(path)}"
        problems.append(
            Problem("this script begins with a byte order mark, which no shell understands", path, 1, help=advice)
        )
    elif match[4] != ".sh":
        step.objection = Problem(
            "nothing says what runs this script",
            path,
            1,
            help="begin it with a `#!` line, like `#!/usr/bin/env python3`, and `chmod +x` it",
        )
    if b"#|" in head:
        step.options = header.options_in(head.split(b"\n"), path, 1, problems)
        if step.options is not None:
            step.values = checked_step(step.options, problems)
    return step


def _open_problem(directory: int, name: str, path: str, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        try:
            target = os.readlink(name, dir_fd=directory)
        except OSError:
            return Problem("this file does not exist any more", path)
        return files.dangling_problem(path, target)
    return files.open_problem(path, error)


@cache
def _is_good_hashbang(line: bytes) -> bool:
    return not line.endswith(b"\r") and bool(header.hashbang_words(os.fsdecode(line)))


def _hashbang_objection(head: bytes, path: str, status: os.stat_result, directory: int, name: str) -> Problem | None:
    line = os.fsdecode(head[:4096].split(b"\n", 1)[0])
    if line.endswith("\r"):
        return Problem(
            "the `#!` line ends in a carriage return, which becomes part of the program's name",
            path,
            1,
            1,
            len(line),
            line.rstrip("\r"),
            f"sed -i 's/\\r$//' {shlex.quote(path)}",
        )
    if not header.hashbang_words(line):
        return Problem("the `#!` line names no program", path, 1, 1, 2, line, "write one, like `#!/bin/sh`")
    # All three bits are the usual case and need no second look; otherwise it depends on who asks.
    if status.st_mode & 0o111 != 0o111 and not os.access(name, os.X_OK, dir_fd=directory):
        message = "this script has a `#!` line but may not be executed"
        return Problem(message, path, help=f"chmod +x {shlex.quote(path)}")
    return None


def renumbered(path: str, number: int) -> str:
    """Return the path of a script with another number, written as wide as before."""
    folder, slash, name = path.rpartition("/")
    match = parts(name)
    if match is None:
        return path
    start, end = match.span(2)
    return f"{folder}{slash}{name[:start]}{str(number).zfill(end - start)}{name[end:]}"
