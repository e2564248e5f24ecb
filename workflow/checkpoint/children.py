"""Processes that the runner started and waits for itself, so that whoever collects strangers leaves them alone.

As subreaper, and as PID 1, the runner collects every child that ended. One that a thread waits for would be gone
before that thread asks how it ended, and Python takes that for success.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

# Held while a child is started and entered, and while others are collected: between the two nobody knows of it.
LOCK = threading.Lock()
PIDS: set[int] = set()


@contextmanager
def started(
    words: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str] | None,
    keep: Sequence[int] = (),
    is_apart: bool = True,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child with pipes for all it reads and says; `keep` are descriptors it inherits. Raises OSError.

    `is_apart`: in a session of its own, for Ctrl-C is meant for steps, not for what keeps their files. Else it has our
    terminal, and may ask for a password there.
    """
    import subprocess

    with LOCK:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=keep,
            start_new_session=is_apart,
        )
        PIDS.add(process.pid)
    try:
        with process:
            yield process
    finally:
        with LOCK:
            PIDS.discard(process.pid)
