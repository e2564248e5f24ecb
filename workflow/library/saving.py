"""The states of a run that go to a store: when one is due, and what is in it.

A state is an archive of the run's directory, as `workflow checkpoint compress` makes it, without the programs for
shells: those are made anew from the definition wherever it is put back.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from workflow import __version__, packing
from workflow.checkpoint import archive, records
from workflow.checkpoint.archive import Entry
from workflow.checkpoint.archive_format import COMPRESSED, Manifest
from workflow.checkpoint.compression import GZIP_ENDING
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import LIB_DIR, RESUME_SH, STEPS_SH, RunLayout
from workflow.errors import CheckpointError, NotRecordedError, WorkflowError
from workflow.events import Event, Notice, RunFinished, RunStarted, StepFinished, StepStarted, Tick
from workflow.inspection import definition_of
from workflow.library.talking import Keeping, Line, Save
from workflow.model import RunStatus, Status

# Of each log the end: a state is kept after every step, and the logs of a long run would be kept again each time.
LOG_BYTES = 1 << 20
_AT_THE_END = {RunStatus.COMPLETED: "completion", RunStatus.FAILED: "error"}


class Saver:
    """Sends states to the program; an observer that comes before all others: saved, then told.

    `is_saved` says that the store has what the run's directory has. A state that the store refuses, or that cannot be
    made (`error`), stops the run.
    """

    def __init__(self, line: Line, keeping: Keeping, disk: Disk) -> None:
        self._line = line
        self._keeping = keeping
        self._disk = disk
        self._layout: RunLayout | None = None
        self._next_at = 0.0
        self._has_news = False
        self._is_stopped = False
        self.is_saved = True
        self.error: Exception | None = None

    @property
    def layout(self) -> RunLayout | None:
        """The run, once it has begun."""
        return self._layout

    def on_event(self, event: Event) -> None:
        keeping = self._keeping
        if isinstance(event, RunStarted):
            self._layout = RunLayout(event.run_dir)
            self._wait()
            if keeping.is_automatic:
                self._save("auto")
        elif isinstance(event, StepStarted):
            self._has_news = True
            if keeping.before_step:
                self._save("auto", f"before {event.step.title}")
        elif isinstance(event, StepFinished):
            self._has_news = True
            if event.status is Status.FAILED and not event.is_tolerated:
                self._save("error", event.step.title)
            elif keeping.after_step and event.attempt is not None:
                self._save("auto", f"after {event.step.title}")
        elif isinstance(event, Tick):
            if keeping.interval_s is not None and self._has_news and time.monotonic() >= self._next_at:
                self._save("auto")
        elif isinstance(event, RunFinished):
            self._save(_AT_THE_END.get(event.status, "auto"))

    def _wait(self) -> None:
        self._next_at = time.monotonic() + (self._keeping.interval_s or 0.0)

    def _save(self, trigger: str, name: str = "") -> None:
        self.is_saved = False
        if self._layout is None or self._line.is_cut:
            return
        try:
            facts, state = packed(self._layout, self._disk)
        except (WorkflowError, OSError) as error:
            refusal: object = error
            self.error = self.error or error
        else:
            facts |= {"trigger": trigger, "name": name}
            refusal = self._line.ask(Save(self._layout.run_id, facts, state))
        self._wait()
        self._has_news = False
        self.is_saved = refusal is None and not self._line.is_cut
        if refusal is not None and not self._is_stopped:
            self._is_stopped = True  # once: the next one would insist
            # Nobody is told that it is kept when it is not: as for a full disk, the run stops.
            os.kill(os.getpid(), signal.SIGTERM)


def packed(layout: RunLayout, disk: Disk) -> tuple[dict[str, Any], bytes]:
    """Return what is to be said of a run, and its state, though it may be going on.

    Raises CheckpointError, NotRecordedError.
    Markers are read before the states they vouch for: a step that completes meanwhile is in it as a whole or not done.
    """
    workflow, stored = definition_of(layout)
    held = archive.contents(layout, COMPRESSED)
    entries = [entry for entry in held.files if not _is_made_anew(entry.path)]
    read: dict[str, bytes] = {}
    for entry in sorted(entries, key=lambda it: not it.path.endswith(".complete")):
        data = _read(entry, layout)
        if data is not None:
            read[entry.path] = data
    entries = [entry._replace(content=_giver(read[entry.path])) for entry in entries if entry.path in read]
    directories = tuple(it for it in held.directories if not _is_made_anew(it[0]))
    summary = packing.summary_of(layout, workflow, stored, is_live=False)
    members = tuple(archive.describe(entry) for entry in entries)
    manifest = Manifest(layout.run_id, COMPRESSED, __version__, summary, directories, members)
    path = f"{os.path.dirname(layout.path)}/state-{layout.run_id}{GZIP_ENDING}"
    archive.write(disk, path, manifest, entries, ending=GZIP_ENDING, mode=0o600)
    try:
        with open(path, "rb") as file:
            state = file.read()
    finally:
        disk.remove(path, sync=False)
    facts = {
        "workflow": workflow.name,
        "run_name": stored.get("run_name") or "",
        "project": workflow.project,
        "status": summary["status"],
        "completed_tasks": summary["completed_tasks"],
        "total_tasks": summary["total_tasks"],
        "failed_tasks": summary["failed_tasks"],
        "created": records.utc_text(time.time()),
    }
    return facts, state


def _is_made_anew(path: str) -> bool:
    return path in (STEPS_SH, RESUME_SH, LIB_DIR) or path.startswith(f"{LIB_DIR}/")


def _read(entry: Entry, layout: RunLayout) -> bytes | None:
    """Return the bytes of a file of a run that goes on, None when it went away; of a log the end."""
    path = f"{layout.path}/{entry.path}"
    try:
        if entry.path.startswith("logs/"):
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOG_BYTES))
                return file.read(LOG_BYTES)
        return b"".join(entry.content())
    except (CheckpointError, OSError):
        if os.path.lexists(path):
            raise
        return None


def _giver(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter((data,))


def restore(disk: Disk, root: str, run_id: str, state: bytes) -> None:
    """Put a state where a run that is an archive is: the resume takes it from there as it takes any. Durable.

    Raises NotRecordedError.
    """
    disk.write(f"{root}/{run_id}{GZIP_ENDING}", state)


def saved_in_vain(error: BaseException) -> Notice:
    """Return what people should know of a snapshot that could not be made."""
    message = error.message if isinstance(error, NotRecordedError) else str(error)
    return Notice(f"no snapshot was made: {message}")
