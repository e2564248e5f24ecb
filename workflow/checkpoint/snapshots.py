"""The snapshots of a run: where it stood at one moment. History, never truth: what runs next never rests on one.

A number is given once. Whoever makes a snapshot holds a flock on the directory `snapshots/` while it looks for the
next free number and puts the file there, so the runner and a `checkpoint create` beside it cannot take the same one.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from workflow.checkpoint import locks, records, removal, store
from workflow.checkpoint.durable import Disk, not_recorded
from workflow.checkpoint.layout import FORMAT_VERSION, TEMPORARY, CheckpointRoot, RunLayout
from workflow.checkpoint.records import Document, RecordDamagedError, RecordNewerError
from workflow.errors import CheckpointError, NotRecordedError, UsageError, one_line
from workflow.errors import listed as in_words

TRIGGERS = ("manual", "auto", "error", "completion")
LONGEST_NAME = 200

_FILE = re.compile(r"(\d{4,18})_([a-z]+)\.json\Z", re.ASCII)
# A number as people type it; longer ones are none that was ever given.
_NUMBER = re.compile(r"\d{1,18}\Z", re.ASCII)
# Whoever holds the lock writes one file. Only a process that was stopped meanwhile holds it for longer.
LOCK_WAIT_S = 1.0
_HEAD_BYTES = 4096


class Entry(NamedTuple):
    """A snapshot, from the name of its file."""

    number: int
    trigger: str
    path: str


class Head(NamedTuple):
    """What the first lines of a snapshot say, without a look at its checksum: for lists. None: it does not say."""

    number: int
    trigger: str
    path: str
    name: str | None
    created: str | None
    status: str | None


def snapshot_id(layout: RunLayout, number: int) -> str:
    """Return what people call a snapshot: `RUN@N`."""
    return f"{layout.run_id}@{number}"


def listed(layout: RunLayout) -> list[Entry]:
    """Return the snapshots of a run by number; empty when there are none. Reads no file."""
    try:
        names = os.listdir(layout.snapshots_dir)
    except OSError:
        return []
    found = []
    for name in names:
        match = _FILE.match(name)
        if match:
            found.append(Entry(int(match[1]), match[2], f"{layout.snapshots_dir}/{name}"))
    return sorted(found)


def newest(layout: RunLayout) -> Entry | None:
    """Return the snapshot that was made last, None when there is none."""
    entries = listed(layout)
    return entries[-1] if entries else None


def heads(layout: RunLayout) -> list[Head]:
    """Return the snapshots of a run by number, with what a list shows. Reads only the beginning of each file."""
    return [head(entry) for entry in listed(layout)]


def read(layout: RunLayout, number: int) -> Document:
    """Return a snapshot. Raises CheckpointError: there is none of that number, it is damaged, or it is newer."""
    entry = next((it for it in listed(layout) if it.number == number), None)
    name = snapshot_id(layout, number)
    if entry is None:
        raise CheckpointError(f"there is no snapshot {name}", help=_what_there_is(layout))
    try:
        document = records.decode_document(store.read_small(entry.path))
        _refuse_misshapen(document, layout, number)
        return document
    except RecordNewerError as error:
        raise CheckpointError(
            f"snapshot {name} was written in format {error}, this workflow reads {FORMAT_VERSION}",
            help="use a newer workflow: pip install --upgrade workflow",
        ) from error
    except (RecordDamagedError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"snapshot {name} is damaged: {why}", help=f"nothing rests on it; {_what_there_is(layout, but=number)}"
        ) from error


def is_snapshot_name(name: str) -> bool:
    """Return whether a person means a snapshot, not a run."""
    return "@" in name


def find(root: CheckpointRoot, name: str, to_change: Disk | None = None) -> tuple[RunLayout, int]:
    """Return the run and the number that `RUN@N` names; whether the snapshot is whole is `read`'s to say.

    `to_change` as of `store.find_run`: a run that is an archive gets its directory back.
    Raises UsageError where that is no name of a snapshot, CheckpointError where there is no such run or snapshot.
    """
    run_id, _, digits = name.partition("@")
    if not run_id:
        raise UsageError(f"{one_line(name)} names no run", help="a snapshot is named RUN@N: its run and its number")
    layout = store.find_run(root, run_id, to_change)
    if not _NUMBER.match(digits):
        raise UsageError(
            f"{one_line(name[:80])} names no snapshot: what follows the @ is not a number",
            help=_what_there_is(layout),
        )
    number = int(digits)
    if all(entry.number != number for entry in listed(layout)):
        raise CheckpointError(f"there is no snapshot {snapshot_id(layout, number)}", help=_what_there_is(layout))
    return layout, number


def write(
    disk: Disk,
    layout: RunLayout,
    document: Document,
    *,
    trigger: str,
    name: str = "",
    most: int | None = None,
    spare: int = 0,
) -> Entry:
    """Write a snapshot under the next free number; durable on return.

    `document` has the keys of checkpoint.json and `tasks`; the rest is added here. More than `most` are not kept: the
    oldest go, but never number `spare`. Needs no lock of the run. Raises NotRecordedError; then there is no new one.
    """
    with _numbering(disk, layout):
        last = newest(layout)
        number = 1 if last is None else last.number + 1
        first = {
            "version": FORMAT_VERSION,
            "checkpoint_id": snapshot_id(layout, number),
            "number": number,
            "trigger": trigger,
            "name": name[:LONGEST_NAME],
            "created": records.utc_text(time.time()),
            "status": document.get("status"),
        }
        entry = Entry(number, trigger, layout.snapshot(number, trigger))
        whole = {**first, **document}
        disk.write(entry.path, lambda: records.encode_in_pieces(whole))
        if most is not None:
            try:
                _remove(disk, [it for it in listed(layout)[:-most] if it.number != spare])
            except NotRecordedError:  # it is made; the next one tries again
                pass
    return entry


def remove(disk: Disk, layout: RunLayout, entries: list[Entry]) -> int:
    """Remove snapshots, the oldest first; return how many bytes they had. Durable on return.

    The newest is never removed, whoever asks: its number would be given again. Raises NotRecordedError.
    """
    if not entries:
        return 0
    with _numbering(disk, layout):
        last = newest(layout)
        freed_bytes = _remove(disk, [it for it in sorted(entries) if last is None or it.number != last.number])
        try:
            disk.sync_directory(layout.snapshots_dir)
        except OSError as error:
            raise not_recorded(error, layout.snapshots_dir) from error
    return freed_bytes


def sweep(disk: Disk, layout: RunLayout) -> None:
    """Remove what a kill left of a snapshot that was being written."""
    try:
        if any(name.startswith(TEMPORARY) for name in os.listdir(layout.snapshots_dir)):
            with _numbering(disk, layout):
                return  # taking the lock does it
    except (OSError, NotRecordedError):  # there are none, or somebody writes one just now: nothing reads these
        return


def _remove(disk: Disk, entries: list[Entry]) -> int:
    freed_bytes = 0
    for entry in entries:
        try:
            size_bytes = os.lstat(entry.path).st_size
        except OSError:  # somebody else removed it
            continue
        with removal.told_as_removal(entry.path):
            disk.remove(entry.path, sync=False)
        freed_bytes += size_bytes
    return freed_bytes


@contextmanager
def _numbering(disk: Disk, layout: RunLayout) -> Iterator[None]:
    """Hold the lock under which snapshots get their numbers. Raises NotRecordedError."""
    directory = layout.snapshots_dir
    if not os.path.lexists(directory):
        disk.make_directory(directory)
        try:
            disk.sync_directory(layout.path)
        except OSError as error:
            raise not_recorded(error, directory) from error
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise not_recorded(error, directory) from error
    try:
        give_up_at = time.monotonic() + LOCK_WAIT_S
        while not locks.try_lock(fd, directory):
            if time.monotonic() >= give_up_at:
                raise NotRecordedError(
                    f"another process keeps {one_line(directory)} locked", help="look for one that was stopped (ps)"
                )
            time.sleep(0.005)
        # What a kill left here: nobody else writes while we hold the lock.
        disk.sweep_temporaries(directory)
        yield
    finally:
        os.close(fd)


def _refuse_misshapen(document: Document, layout: RunLayout, number: int) -> None:
    if document.get("checkpoint_id") != snapshot_id(layout, number):
        raise RecordDamagedError(f"it says that it is {one_line(str(document.get('checkpoint_id')))}")
    tasks = document.get("tasks")
    if not isinstance(tasks, dict) or not all(isinstance(task, dict) for task in tasks.values()):
        raise RecordDamagedError("it does not say where the steps stood")


def head(entry: Entry) -> Head:
    """Return what the beginning of a snapshot says."""
    said: dict[str, Any] = {}
    try:
        with open(os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            lines = file.read(_HEAD_BYTES).split(b"\n")[:-1]
    except OSError:
        lines = []
    for line in lines[1:8]:
        try:
            said.update(json.loads(b"{%s}" % line.strip().rstrip(b",")))
        except (ValueError, RecursionError):  # damaged: whoever reads it as a whole says so
            continue
    name, created, status = (
        value if isinstance(value := said.get(key), str) else None for key in ("name", "created", "status")
    )
    return Head(*entry, name, created, status)


def _what_there_is(layout: RunLayout, *, but: int = 0) -> str:
    names = [snapshot_id(layout, it.number) for it in reversed(listed(layout)) if it.number != but]
    if names:
        return f"snapshots there are: {in_words(names)}"
    there_are = "no other snapshots" if but else "no snapshots"
    return f"{layout.run_id} has {there_are}; make one: workflow checkpoint create {layout.run_id}"
