"""Digests of the step states, taken by a second process while we still read scripts and markers.

A resume holds the state of every complete step against its marker. With ten thousand of them that
is a fifth of its time, and nothing else waits for it: where there is a second core it runs there.
What it finds only ever says "whole"; whatever it does not vouch for is read again here.
"""

from __future__ import annotations

import os
import threading

from blake3 import blake3

from workflow.checkpoint.layout import RunLayout

# A directory of states that is smaller than this has a few hundred entries: not worth a fork.
LARGE_DIRECTORY_BYTES = 100_000


class StateDigests:
    """Starts on construction; `result` waits for the answer. Close it in any case."""

    def __init__(self, layout: RunLayout) -> None:
        self._pid = 0
        self._fd = -1
        try:
            is_large = os.stat(layout.state_dir).st_size > LARGE_DIRECTORY_BYTES
        except OSError:
            return
        # Never beside threads: a child of theirs may inherit locks that nobody will release.
        if not is_large or (os.cpu_count() or 1) < 2 or threading.active_count() > 1 or not hasattr(os, "memfd_create"):
            return
        self._fd = os.memfd_create("workflow-states")
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _digest_all(layout.state_dir, self._fd)
            finally:
                os._exit(0)

    def result(self) -> dict[int, str]:
        """Return `blake3:<hex>` by step number; without those that could not be read, empty where nothing was done."""
        if self._fd < 0:
            return {}
        self._collect()
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            lines = file.read().decode("ascii").split("\n")
        pairs = (line.split(" ") for line in lines[:-1])
        return {int(number): digest for number, digest in pairs}

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


def _digest_all(directory: str, to: int) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lines = []
    for name in os.listdir(fd):
        if not (name.startswith("step_") and name.endswith("_state.json")):
            continue
        try:
            state = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
            digest = blake3()
            while data := os.read(state, 65536):
                digest.update(data)
            os.close(state)
        except OSError:
            continue
        lines.append(f"{int(name[5:-11])} blake3:{digest.hexdigest()}\n")
    text = memoryview("".join(lines).encode("ascii"))
    while text:
        text = text[os.write(to, text) :]
