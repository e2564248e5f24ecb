"""Markers and states read by a second process while we still read the scripts.

A resume reads every marker and holds the state of every complete step against it. With ten thousand
of them that is half of its time, and nothing else waits for it: where there is a second core it runs
there. What comes back only ever says "whole"; whatever it does not vouch for is read again here.
"""

from __future__ import annotations

import marshal
import os
import threading
from typing import NamedTuple

from blake3 import blake3

from workflow.checkpoint import store
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.locks import RunLock
from workflow.checkpoint.marker import Marker

# A directory of states that is smaller than this has a few hundred entries: not worth a fork.
LARGE_DIRECTORY_BYTES = 100_000


class Vouched(NamedTuple):
    """What was read ahead: every marker, all of them whole, and the steps whose state is as its marker says.

    `markers` None: nothing was read, or a marker was damaged.
    """

    markers: dict[int, Marker] | None
    states: frozenset[int]


NOTHING = Vouched(None, frozenset())


class Ahead:
    """Starts on construction; `result` waits for the answer. Close it in any case."""

    def __init__(self, layout: RunLayout, lock: RunLock | None = None) -> None:
        """`lock` is what we hold of the run; the second process lets go of its share of it."""
        self._pid = 0
        self._fd = -1
        try:
            is_large = os.stat(layout.state_dir).st_size > LARGE_DIRECTORY_BYTES
        except OSError:
            return
        # Never beside threads: a child of theirs may inherit locks that nobody will release.
        if not is_large or (os.cpu_count() or 1) < 2 or threading.active_count() > 1 or not hasattr(os, "memfd_create"):
            return
        self._fd = os.memfd_create("workflow-ahead")
        self._pid = os.fork()
        if self._pid == 0:
            try:
                if lock is not None:
                    lock.release()
                _read_all(layout, self._fd)
            finally:
                os._exit(0)

    def result(self) -> Vouched:
        """Wait for what was found; NOTHING where nothing was done or the other process did not get to its end."""
        if self._fd < 0:
            return NOTHING
        self._collect()
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            data = file.read()
        try:
            rows, states = marshal.loads(data)
        except (EOFError, ValueError, TypeError):
            return NOTHING
        markers = None if rows is None else {row[0]: Marker._make(row) for row in rows}
        return Vouched(markers, frozenset(states))

    def close(self) -> None:
        self._collect()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _collect(self) -> None:
        if self._pid:
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:  # collected with the strangers
                pass
            self._pid = 0


def _read_all(layout: RunLayout, to: int) -> None:
    found = store.read_markers(layout)
    directory = os.open(layout.state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    states = [number for number, marker in found.whole.items() if _digest(directory, number) == marker.state_digest]
    rows = None if found.damaged else [tuple(marker) for marker in found.whole.values()]
    data = memoryview(marshal.dumps((rows, states)))
    while data:
        data = data[os.write(to, data) :]


def _digest(directory: int, number: int) -> str | None:
    try:
        state = os.open(
            f"step_{number:02d}_state.json",
            os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
            dir_fd=directory,
        )
    except OSError:
        return None
    try:
        data = os.read(state, 4096)
        digest = blake3(data)
        while len(data) == 4096 and (data := os.read(state, 4096)):
            digest.update(data)
    except OSError:
        return None
    finally:
        os.close(state)
    return f"blake3:{digest.hexdigest()}"
