"""The way out: one ordered queue of lines and copied bytes, never waiting for a slow reader.

An observer must not block, yet a terminal can be stopped (Ctrl-S) and a pager may not read. So
everything is queued, and what a reader does not take now is written at a later event. The queue stays
small: step output waits in its log file, not in memory.
"""

from __future__ import annotations

import codecs
import errno
import os
import select
import stat
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

CHUNK_BYTES = 256 * 1024
# POSIX (write, "pipes"): when a pipe polls writable on Linux a page of it is free, so this much does not block.
READY_BYTES = 4096
FLUSH_S = 0.1
PUMP_S = 0.05
_RESET = b"\x1b[0m"


class _Surface:
    """What a reader sees, shared by two streams that lead to the same place."""

    __slots__ = ("is_at_line_start", "is_styled")

    def __init__(self) -> None:
        self.is_at_line_start = True
        self.is_styled = False


class Destination:
    """One stream, written through its file descriptor where it has one.

    `error` holds what stopped it for good; from then on everything sent to it vanishes.
    """

    __slots__ = ("_can_block", "_decoder", "_stream", "encoding", "error", "fd", "identity", "is_terminal", "surface")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder: codecs.IncrementalDecoder | None = None
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.error: OSError | None = None
        self.surface = _Surface()
        self.is_terminal = False
        self._can_block = False
        self.identity: tuple[int, int] | None = None
        try:
            self.fd = stream.fileno()
            # what others have printed so far must come first; we go around the buffer of the stream
            stream.flush()
            found = os.fstat(self.fd)
        except (AttributeError, OSError, ValueError):
            self.fd = -1
            return
        self.identity = (found.st_dev, found.st_ino)
        self.is_terminal = os.isatty(self.fd)
        self._can_block = not stat.S_ISREG(found.st_mode)

    def is_ready(self) -> bool:
        """Whether a small write would not block now."""
        if self.error is not None or not self._can_block:
            return True
        try:
            return bool(select.select([], [self.fd], [], 0)[1])
        except (OSError, ValueError):
            return True

    def write(self, view: memoryview, *, wait: bool) -> int:
        """Return how many bytes are dealt with; 0 when the reader takes none now. Never raises for a broken stream."""
        if self.error is not None:
            return len(view)
        if self.fd < 0:
            self._write_stream(view)
            return len(view)
        try:
            if wait or not self._can_block:
                return os.write(self.fd, view)
            return os.write(self.fd, view[:READY_BYTES]) if self.is_ready() else 0
        except BlockingIOError:
            # Another process made the stream we share with it non-blocking. Sleeping and not select: that one
            # cannot take every descriptor, and here nobody is kept waiting but the end of the run.
            if wait:
                time.sleep(0.01)
            return 0
        except (OSError, ValueError) as error:
            self.error = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
            return len(view)

    def _write_stream(self, view: memoryview) -> None:
        try:
            buffer = getattr(self._stream, "buffer", None)
            if buffer is not None:
                self._stream.flush()
                buffer.write(bytes(view))
                buffer.flush()
                return
            if self._decoder is None:
                self._decoder = codecs.getincrementaldecoder(self.encoding)("replace")
            self._stream.write(self._decoder.decode(bytes(view)))
            self._stream.flush()
        except OSError as error:
            self.error = error
        except ValueError as error:  # closed in the meantime
            self.error = OSError(errno.EBADF, str(error))


class _Words:
    """Text of ours. `is_drawing`: control sequences, which know where the cursor is better than we do."""

    __slots__ = ("_view", "destination", "is_drawing", "parts")

    def __init__(self, destination: Destination, first: str, *, is_drawing: bool = False) -> None:
        self.destination = destination
        self.parts = [first]
        self.is_drawing = is_drawing
        self._view: memoryview | None = None

    @property
    def is_open(self) -> bool:
        return self._view is None and not self.is_drawing

    def advance(self, outlet: Outlet, stop_at: float | None) -> bool:
        if self._view is None:
            content = "".join(self.parts).encode(self.destination.encoding, "backslashreplace")
            if not self.is_drawing:
                content = self._lead(outlet.is_coloured) + content
            self._view = memoryview(content)
        while self._view:
            written = self.destination.write(self._view, wait=stop_at is None)
            if not written and stop_at is not None:
                return False
            self._view = self._view[written:]
        return True

    def _lead(self, is_coloured: bool) -> bytes:
        surface = self.destination.surface
        lead = b""
        if surface.is_styled and is_coloured:
            lead = _RESET
        if not surface.is_at_line_start:
            lead += b"\n"
        surface.is_styled = False
        surface.is_at_line_start = True
        return lead

    def close(self) -> None:
        pass


class _Copy:
    """Bytes `offset` to `end` of a file, which is opened when its turn comes: a backlog holds no descriptors."""

    __slots__ = ("_fd", "destination", "end", "offset", "path")

    def __init__(self, destination: Destination, path: str, offset: int, end: int) -> None:
        self.destination = destination
        self.path = path
        self.offset = offset
        self.end = end
        self._fd = -1

    def advance(self, outlet: Outlet, stop_at: float | None) -> bool:
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            while self.offset < self.end and self.destination.error is None:
                filled = os.preadv(self._fd, [outlet.buffer], self.offset)
                if not filled:
                    break
                if not self._write(outlet.buffer[: min(filled, self.end - self.offset)], outlet, stop_at):
                    return False
        except OSError:
            # the log went away or cannot be read: it is somebody else's to say so, a run is not harmed by it
            pass
        self.close()
        return True

    def _write(self, view: memoryview, outlet: Outlet, stop_at: float | None) -> bool:
        surface = self.destination.surface
        if self.destination.is_terminal and b"\x1b" in view.tobytes():
            surface.is_styled = True
        while view:
            written = self.destination.write(view, wait=stop_at is None)
            if not written and stop_at is not None:
                return False
            if written:
                surface.is_at_line_start = view[written - 1] == 10
                self.offset += written
                view = view[written:]
        return stop_at is None or self.offset >= self.end or outlet.clock() < stop_at

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Outlet:
    """Two destinations behind one queue: what is said first is seen first, whichever stream it takes.

    `clock` is monotonic seconds. Lines wait at most `FLUSH_S` before `settle` writes them (at once for a terminal).
    """

    def __init__(
        self,
        stream: TextIO,
        errors: TextIO | None = None,
        *,
        is_coloured: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.out = Destination(stream)
        self.err = self.out if errors is None or errors is stream else Destination(errors)
        if self.err.identity is not None and self.err.identity == self.out.identity:
            self.err.surface = self.out.surface
        self.is_coloured = is_coloured
        self.clock = clock
        self._queue: deque[_Words | _Copy] = deque()
        self._buffer: memoryview | None = None
        self._pumped_at = clock()

    @property
    def buffer(self) -> memoryview:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(CHUNK_BYTES))
        return self._buffer

    @property
    def is_idle(self) -> bool:
        """Whether everything queued is written."""
        return not self._queue

    @property
    def is_utf8(self) -> bool:
        return self.out.encoding.lower().replace("-", "").replace("_", "") == "utf8"

    def say(self, line: str) -> None:
        """Queue one line for stdout, without its newline; it will start in column 0."""
        self._add(self.out, line + "\n")

    def complain(self, text: str) -> None:
        """Queue one or more lines for stderr, without the last newline."""
        self._add(self.err, text + "\n")

    def start_line(self) -> None:
        """Queue a newline for stdout, if the last byte copied was none."""
        self._add(self.out, "")

    def draw(self, sequence: str, *, is_first: bool = False) -> None:
        """Queue control sequences for stdout that keep track of the cursor themselves.

        `is_first` puts them before everything queued, of which nothing may be written yet.
        """
        drawing = _Words(self.out, sequence, is_drawing=True)
        if is_first:
            self._queue.appendleft(drawing)
        else:
            self._queue.append(drawing)

    def copy(self, path: str, offset: int, end: int) -> None:
        """Queue bytes `offset` to `end` of the file at `path` for stdout, as they are."""
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Copy) and last.path == path and last.end == offset:
            last.end = end
        elif self.out.error is None:
            self._queue.append(_Copy(self.out, path, offset, end))

    def settle(self) -> None:
        """Write if it is time to: at once for a terminal, else when the last writing is `FLUSH_S` ago."""
        if self._queue and (self.out.is_terminal or self.clock() - self._pumped_at >= FLUSH_S):
            self.pump()

    def pump(self) -> None:
        """Write what readers take without being waited for, for about `PUMP_S` at most."""
        now = self.clock()
        self._pumped_at = now
        self._advance(now + PUMP_S)

    def drain(self) -> None:
        """Write everything, waiting for readers: only when nothing else is left to do."""
        self._advance(None)

    def _add(self, destination: Destination, text: str) -> None:
        if destination.error is not None:
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Words) and last.destination is destination and last.is_open:
            last.parts.append(text)
        else:
            self._queue.append(_Words(destination, text))

    def _advance(self, stop_at: float | None) -> None:
        while self._queue:
            item = self._queue[0]
            if item.destination.error is not None:
                item.close()
            elif not item.advance(self, stop_at):
                return
            self._queue.popleft()
