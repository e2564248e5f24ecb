"""Copying a log to a descriptor as it is: `workflow logs`."""

from __future__ import annotations

import os

CHUNK_BYTES = 1 << 20


def copy_log(path: str, offset: int, descriptor: int) -> int:
    """Write the log from `offset` on to `descriptor`; return the offset reached.

    Raises OSError when the reader is gone.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return offset
    try:
        while data := os.pread(fd, CHUNK_BYTES, offset):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            offset += len(data)
    finally:
        os.close(fd)
    return offset
