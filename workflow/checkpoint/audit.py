"""The audit log: who did what to the checkpoints of a project, when, and how it came out.

`audit.jsonl` in the checkpoint directory; one JSON object a line, added at the end and never changed. A record, not a
truth: nothing is ever read from it, and an operation whose line cannot be written is done all the same, and told.
What is done by hand (`rm -rf`) leaves no line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot
from workflow.errors import NotRecordedError
from workflow.events import Event, RunFinished, RunStarted, SnapshotMade

# Then it is renamed, and a new one begun. What was renamed stays: nobody cleans an audit but a person.
LARGEST_BYTES = 10 << 20
LONGEST_TEXT = 1000
MOMENT_S = 0.02


def note(
    root: CheckpointRoot,
    disk: Disk,
    operation: str,
    outcome: str,
    *,
    by: str,
    run_id: str | None = None,
    sync: bool = True,
    about: Mapping[str, Any] | None = None,
) -> str:
    """Add a line; return why that could not be, empty when it could. With `sync` it survives a power cut.

    `outcome` is `begun`, `done`, `failed`, or what a run came to. Where there is no checkpoint directory there is
    nothing to say of it, and none is made. The lines of two processes never mix: each is one write at the end.
    """
    if not os.path.isdir(root.path):
        return ""
    entry: dict[str, Any] = {"at": _now(), "by": by, "uid": os.getuid(), "host": os.uname().nodename}
    entry |= {"pid": os.getpid(), "operation": operation, "run_id": run_id, "outcome": outcome}
    entry |= {key: value[:LONGEST_TEXT] if isinstance(value, str) else value for key, value in (about or {}).items()}
    line = json.dumps(entry).encode("ascii") + b"\n"
    try:
        # A line that a full disk or a power cut tore is ended first, so that it costs itself only.
        size = disk.append(root.audit, (b"\n" if _is_torn(root.audit) else b"") + line, sync=sync)
    except NotRecordedError as error:
        return error.message
    if size > LARGEST_BYTES:
        _put_aside(root, disk)
    return ""


def _put_aside(root: CheckpointRoot, disk: Disk) -> None:
    """Give a log that has grown another name, one that is free; where that cannot be, it grows on."""
    name = f"{root.path}/audit-{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}.jsonl"
    if os.path.lexists(name):  # another of this second: this one has a second to grow
        return
    try:
        disk.move_directory(root.audit, name)
    except NotRecordedError:
        return


def _now() -> str:
    seconds = time.time()
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{int(seconds % 1 * 1000):03d}Z", time.gmtime(seconds))


def _is_torn(path: str) -> bool:
    """Return whether the last line has no end. One that is just being written has it a moment later."""
    before = _end(path)
    if before[1] in (b"", b"\n"):
        return False
    time.sleep(MOMENT_S)
    return _end(path) == before


def _end(path: str) -> tuple[int, bytes]:
    """Return how long the log is, and its last byte; 0 and nothing where there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return size, file.read(1)
    except OSError:
        return 0, b""


class RunAudit:
    """Notes a run, or a resume, with its snapshots; an observer. What kept a line from being written is in `objection`.

    The lines of a run are made durable with the last of them.
    """

    def __init__(self, root: CheckpointRoot, disk: Disk, by: str, *, went_back_to: str | None = None) -> None:
        self.objection = ""
        self._root = root
        self._disk = disk
        self._by = by
        self._back_to = went_back_to
        self._operation = "run"
        self._run_id = ""

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run_id = event.run_id
            self._operation = "run" if event.epoch == 1 else "resume"
            about: dict[str, Any] = {"workflow": event.workflow.name, "epoch": event.epoch, "steps": event.to_run}
            if self._back_to is not None:
                about["checkpoint"] = self._back_to
            self._note(self._operation, "begun", about)
        elif isinstance(event, SnapshotMade):
            self._note("create", "done", {"checkpoint": event.checkpoint_id, "trigger": event.trigger})
        elif isinstance(event, RunFinished):
            self._note(self._operation, event.status.value, {"exit_code": event.exit_code}, sync=True)

    def _note(self, operation: str, outcome: str, about: dict[str, Any], *, sync: bool = False) -> None:
        objection = note(
            self._root, self._disk, operation, outcome, by=self._by, run_id=self._run_id, sync=sync, about=about
        )
        self.objection = self.objection or objection
