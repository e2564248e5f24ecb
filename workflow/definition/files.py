"""Reading the files of a definition: bounded, never waiting for a writer, with every failure said in words."""

from __future__ import annotations

import os
import shlex
import stat

from workflow.errors import Problem, nearest, one_line

LARGEST_FILE_BYTES = 64 * 1024 * 1024
# O_NONBLOCK: opening a fifo that has no writer would wait for ever.
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def shown_path(project: str, path: str) -> str:
    """Return `path` relative to the project when it lies inside, else absolute. Both are normalised and absolute."""
    prefix = project if project.endswith("/") else project + "/"
    if path == project:
        return "."
    return path.removeprefix(prefix)


def absolute_path(project: str, path: str) -> str:
    """Return `path` as an absolute one; relative ones start from the project. Symlinks stay as they are."""
    return os.path.normpath(os.path.join(project, path))


def kind_of(mode: int) -> str:
    """Return what a thing in the file system is, when it is no regular file."""
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def open_problem(path: str, error: OSError) -> Problem:
    """Return why a file could not be opened or read."""
    if isinstance(error, PermissionError):
        return Problem("this file may not be read", path, help=f"chmod +r {shlex.quote(path)}")
    if isinstance(error, FileNotFoundError):
        try:
            target = os.readlink(path)
        except OSError:
            return Problem("this file does not exist any more", path)
        return dangling_problem(path, target)
    return Problem(f"this file cannot be read: {error.strerror or error}", path)


def dangling_problem(path: str, target: str) -> Problem:
    """Return the problem of a symbolic link that leads nowhere."""
    message = f"this symbolic link leads to {shlex.quote(one_line(target))}, which does not exist"
    return Problem(message, path, help="mend the link or remove it")


def read_bytes(path: str, shown: str, problems: list[Problem]) -> bytes | None:
    """Return the whole file; None, with a problem added, when it is no regular file, too large or not readable."""
    try:
        descriptor = os.open(path, READ_FLAGS)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                problems.append(Problem(f"this is {kind_of(status.st_mode)}, not a file", shown))
                return None
            chunks = []
            left = LARGEST_FILE_BYTES + 1
            while left and (chunk := os.read(descriptor, min(left, 1 << 20))):
                chunks.append(chunk)
                left -= len(chunk)
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = open_problem(path, error)
        problems.append(problem._replace(path=shown))
        return None
    if not left:
        problems.append(Problem(f"this file is larger than {LARGEST_FILE_BYTES >> 20} MiB", shown))
        return None
    return b"".join(chunks)


def decoded(data: bytes, shown: str, problems: list[Problem], first_line: int = 1) -> str | None:
    """Return UTF-8 bytes as text without a byte order mark; None, with a problem added, when they are not that."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start)
        line_start = data.rfind(b"\n", 0, error.start) + 1
        line = data[line_start : line_start + 400].split(b"\n", 1)[0]
        column = len(data[line_start : error.start].decode("utf-8", "replace"))
        advice = "save the file as UTF-8"
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            advice = "this looks like UTF-16: save the file as UTF-8"
        problems.append(
            Problem(
                f"byte {error.start:,} (0x{data[error.start]:02x}) is not UTF-8",
                shown,
                first_line + row,
                column + 1,
                1,
                line.decode("utf-8", "surrogateescape"),
                advice,
            )
        )
        return None
    text = text.removeprefix("\ufeff")
    at = text.find("\0")
    if at >= 0:
        row = text.count("\n", 0, at)
        line_start = text.rfind("\n", 0, at) + 1
        excerpt = text[line_start : line_start + 400].split("\n", 1)[0]
        message = "a NUL byte cannot be part of a definition"
        problems.append(Problem(message, shown, first_line + row, at - line_start + 1, 1, excerpt))
        return None
    return text


def near_help(path: str) -> str:
    """Return the help that names what is there and nearest to a path that is not; empty when nothing is near."""
    folder, name = os.path.split(path)
    try:
        near = nearest(name, os.listdir(folder))
    except OSError:
        return ""
    return f"did you mean `{one_line(near)}`?" if near else ""
