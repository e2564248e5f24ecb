"""The one event queue of a run, and the one place where the engine waits.

Threads and signal handlers put things here; descriptors (the answers of workers) are read here.
Instead of a queue fed by a reader thread per worker, the waiting thread polls the descriptors
itself: that saves two thread switches a step and leaves a single owner of time.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

# Waking later than asked by more than this means that we were stopped (SIGSTOP, a frozen
# container), not merely late.
PAUSE_NOTICED_S = 1.0


class SignalCame(NamedTuple):
    """INT, TERM or HUP was sent to the runner."""

    number: int


class Inbox:
    """Events in the order they came. One thread waits; any thread may put."""

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._heard: deque[Any] = deque()
        self._poll = select.poll()
        self._sources: dict[int, Callable[[], list[Any]]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll.register(self._wake_read, select.POLLIN)
        self._is_woken = False
        self._paused_s = 0.0
        self._looked_at = time.monotonic()
        self._handlers: dict[int, Any] = {}
        self._old_wakeup = -1
        self._is_asking = False

    def put(self, event: object) -> None:
        """Add an event and wake who waits."""
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        # A byte that was not read yet wakes for this event, too: `next` reads it before it looks at the events.
        if self._is_woken:
            return
        self._is_woken = True
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:  # the pipe is full: it will wake anyway
            return

    def watch(self, fd: int, read: Callable[[], list[Any]]) -> None:
        """Call `read` for events whenever `fd` has something, or has ended."""
        self._sources[fd] = read
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        if self._sources.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def now(self) -> float:
        """Return monotonic seconds in which the time we were stopped does not count."""
        self._look(time.monotonic())
        return self._looked_at - self._paused_s

    def _look(self, at: float, asked_s: float = 0.0) -> None:
        # Between two looks little is done but waiting. A longer gap means that we were stopped, be
        # it while we waited or in between.
        late_s = at - self._looked_at - asked_s
        if late_s > PAUSE_NOTICED_S:
            self._paused_s += late_s
        self._looked_at = at

    def next(self, wait_s: float) -> Any | None:
        """Return the next event, or None when `wait_s` passed without one."""
        heard, events = self._heard, self._events
        if heard:
            return heard.popleft()
        # A worker that has nothing to do is worth more than news of what is recorded: its answer is looked for
        # before each of those.
        if events:
            wait_s = 0.0
        self._look(time.monotonic())
        ready = self._poll.poll(max(0.0, wait_s) * 1000)
        self._look(time.monotonic(), max(0.0, wait_s))
        for fd, _ in ready:
            if fd == self._wake_read:
                try:
                    os.read(fd, 4096)
                except BlockingIOError:
                    pass
                self._is_woken = False
            else:
                source = self._sources.get(fd)
                if source is not None:
                    heard.extend(source())
        if heard:
            return heard.popleft()
        return events.popleft() if events else None

    def catch_signals(self) -> None:
        """Turn INT, TERM and HUP into events. Does nothing outside the main thread of the interpreter.

        A signal that was ignored when we were started (nohup, a background job) stays ignored.
        """
        import threading

        if threading.current_thread() is not threading.main_thread():
            return
        self._old_wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._heard.append(SignalCame(number))
        if self._is_asking:
            raise KeyboardInterrupt

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a person is being asked: a signal is an event as always, and ends the question, too.

        Without this a prompt would wait on through Ctrl-C, since a handler that returns lets the read go on.
        """
        self._is_asking = True
        try:
            yield
        except KeyboardInterrupt:
            pass
        finally:
            self._is_asking = False

    def close(self) -> None:
        """Give the signals back and close the descriptors."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._handlers:
            signal.set_wakeup_fd(self._old_wakeup)
        self._handlers.clear()
        os.close(self._wake_read)
        os.close(self._wake_write)
