"""A person's word about a run as a whole: `pinned` (keep it), `abandoned` (nobody will carry it on).

That the file is there is what counts; what is in it says who, when and why, for people.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from workflow.checkpoint.durable import Disk, not_recorded
from workflow.checkpoint.marker import quote, unquote


class Tag(NamedTuple):
    """Who said it (`retention`: nobody, it was time), when, and what they noted; empty where it is not known."""

    by: str
    at: str
    note: str = ""


def write(disk: Disk, path: str, tag: Tag) -> None:
    """Tag a run, durably. That it was tagged is no work on the run: its age stays. Raises NotRecordedError."""
    lines = {"BY": tag.by, "AT": tag.at, "NOTE": tag.note}
    text = "".join(f"{key}={quote(value)}\n" for key, value in lines.items() if value)
    with _age_kept(disk, path):
        disk.write(path, text.encode("ascii"))


def remove(disk: Disk, path: str) -> bool:
    """Take a tag back, durably; return whether there was one. Raises NotRecordedError."""
    if not os.path.lexists(path):
        return False
    with _age_kept(disk, path):
        disk.remove(path)
    return True


def read(path: str) -> Tag | None:
    """Return a tag, None when there is none; a file that says nothing is a tag all the same."""
    values: dict[str, str] = {}
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file.read(16384).splitlines():
                key, equals, value = line.partition("=")
                if equals:
                    values[key] = unquote(value)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        values = {}
    return Tag(values.get("BY", ""), values.get("AT", ""), values.get("NOTE", ""))


@contextmanager
def _age_kept(disk: Disk, path: str) -> Iterator[None]:
    """Put the time of the run's directory back after an entry of it was changed."""
    directory = os.path.dirname(path)
    try:
        times = os.stat(directory)
    except OSError as error:
        raise not_recorded(error, path) from error
    yield
    disk.set_times(directory, times.st_atime_ns, times.st_mtime_ns)
