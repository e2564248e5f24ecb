"""Lines with `[CHECKPOINT]` in what a step prints, found in its log as it grows."""

from __future__ import annotations

import os

MARK = b"[CHECKPOINT]"
# Of what an attempt prints, only the beginning is looked through: ten gigabytes of output must cost nothing.
MOST_BYTES = 64 << 20
# How much is looked through while the step runs, ten times a second.
MOST_A_LOOK_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20


class MarkScan:
    """Looks through the log of one attempt, each byte once."""

    __slots__ = ("_at", "_carry", "_end", "_is_in_marked_line", "_path", "attempt")

    def __init__(self, path: str, from_bytes: int, attempt: int) -> None:
        self._path = path
        self._at = from_bytes
        self._end = from_bytes + MOST_BYTES
        self._carry = b""
        self._is_in_marked_line = False
        self.attempt = attempt

    def look(self, most_bytes: int = MOST_BYTES) -> bool:
        """Look through what came since the last look; return whether a line with a mark did.

        What is beyond `most_bytes` is left to the next look.
        """
        try:
            # Most steps print little or nothing: a glance at the size costs least.
            size_bytes = os.stat(self._path).st_size
        except OSError:
            return False
        end = min(size_bytes, self._end, self._at + most_bytes)
        if self._at >= end:
            return False
        is_marked = False
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            while self._at < end and (data := os.pread(fd, min(_CHUNK_BYTES, end - self._at), self._at)):
                self._at += len(data)
                is_marked = self._take(data) or is_marked
        except OSError:
            return is_marked
        finally:
            os.close(fd)
        return is_marked

    def _take(self, data: bytes) -> bool:
        text = self._carry + data
        is_marked = False
        at = 0
        while True:
            if self._is_in_marked_line:
                end_of_line = text.find(b"\n", at)
                if end_of_line < 0:
                    self._carry = b""
                    return is_marked
                at = end_of_line + 1
                self._is_in_marked_line = False
            hit = text.find(MARK, at)
            if hit < 0:
                # A mark may be cut in two by the end of what was read.
                self._carry = text[max(at, len(text) - len(MARK) + 1) :]
                return is_marked
            is_marked = self._is_in_marked_line = True
            at = hit + len(MARK)
