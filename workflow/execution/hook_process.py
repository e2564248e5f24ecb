"""One command of a hook as a process: started, told on its stdin what happened, bounded in time and output.

It runs below a small shell of ours in a session of its own. That shell says the exit code on a pipe of its own, so
that it does not matter who collects the process, and it holds a guard: should the runner be killed, the guard ends
the hook at its limit all the same.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from workflow.execution.environment import find_program
from workflow.execution.processes import signal_group

HEAD_BYTES = 32 << 10
TAIL_BYTES = 32 << 10
DRAIN_S = 0.3  # how long output is waited for that somebody else still holds open
LOOK_S = 0.1
# The guard is for a runner that died: one that lives is quicker.
GUARD_SLACK_S = 2
_LONGEST_GUARD_S = 2_000_000_000  # sleep(1) of some systems takes no more

# What is left in the group when the command has ended goes with it, the guard among it.
_PROGRAM = """\
( exec 3>&- 0</dev/null 1>/dev/null 2>&1; sleep "$1"; kill -KILL 0 ) &
sh -c "$2" 3>&-
echo "$?" >&3
kill -KILL 0
"""


class Ended(NamedTuple):
    """How a hook ended. `exit_code` None: it did not say, since it (or its shell) was killed.

    `why` is empty, `limit` or `cut` where we ended it, or why it could not be started. `output` is bounded: what was
    left out between its beginning and its end is counted in it.
    """

    exit_code: int | None
    why: str
    output: bytes
    duration_s: float

    @property
    def is_good(self) -> bool:
        return self.exit_code == 0 and not self.why


class _Kept:
    """The beginning and the end of what a hook printed."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._lost = 0

    def add(self, data: bytes) -> None:
        room = HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * TAIL_BYTES:
            self._cut()

    def _cut(self) -> None:
        over = len(self._tail) - TAIL_BYTES
        if over > 0:
            self._lost += over
            del self._tail[:over]

    def whole(self) -> bytes:
        self._cut()
        gap = b"\n--- %d bytes left out ---\n" % self._lost if self._lost else b""
        return bytes(self._head) + gap + bytes(self._tail)


def run_hook(
    command: str,
    limit_s: float,
    *,
    told: bytes,
    directory: str,
    environ: Mapping[str, str],
    is_cut: Callable[[], bool],
) -> Ended:
    """Run a command to its end; `told` is its stdin. `is_cut` is asked now and then whether to end it at once.

    Never raises for what the command does, or for one that cannot be started.
    """
    started = time.monotonic()
    try:
        running = _Running(command, limit_s, told, directory, environ)
    except OSError as error:
        return Ended(None, error.strerror or str(error), b"", 0.0)
    try:
        why = running.wait(started + limit_s, is_cut)
        return Ended(running.exit_code, why, running.kept.whole(), time.monotonic() - started)
    finally:
        running.close()


class _Running:
    def __init__(self, command: str, limit_s: float, told: bytes, directory: str, environ: Mapping[str, str]) -> None:
        self.kept = _Kept()
        self.exit_code: int | None = None
        self._told = memoryview(told)
        self._said = b""
        self._ours: set[int] = set()
        theirs: list[int] = []
        shell = find_program("sh", environ.get("PATH")) or "/bin/sh"
        guard_s = str(min(_LONGEST_GUARD_S, int(limit_s) + GUARD_SLACK_S))
        try:
            stdin, self._stdin = self._pipe(theirs, is_ours_to_write=True)
            stdout, self._stdout = self._pipe(theirs)
            status, self._status = self._pipe(theirs)
            # `cd` by the shell: posix_spawn has no word for it. A project that is gone is said on stderr.
            self.pid = os.posix_spawn(
                shell,
                ["sh", "-c", f'cd -- "$3" || exit 1\n{_PROGRAM}', "hook", guard_s, command, directory],
                dict(environ),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, stdout, 1),
                    (os.POSIX_SPAWN_DUP2, stdout, 2),
                    (os.POSIX_SPAWN_DUP2, status, 3),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef={signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ},
            )
        except OSError:
            self._close_ours()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    def _pipe(self, theirs: list[int], *, is_ours_to_write: bool = False) -> tuple[int, int]:
        """Return the end of a pipe that is the hook's, above those it is put over, and ours, which never blocks."""
        read, write = os.pipe()
        their, our = (read, write) if is_ours_to_write else (write, read)
        self._ours.add(our)
        os.set_blocking(our, False)
        try:
            high = fcntl.fcntl(their, fcntl.F_DUPFD_CLOEXEC, 10)
        finally:
            os.close(their)
        theirs.append(high)
        return high, our

    def wait(self, deadline: float, is_cut: Callable[[], bool]) -> str:
        """Wait until the command has ended, or end it; return why we did, empty when we did not."""
        why = ""
        while self._status in self._ours:
            now = time.monotonic()
            if not why and (now >= deadline or is_cut()):
                why = "limit" if now >= deadline else "cut"
                signal_group(self.pid, signal.SIGKILL)
            self._look(LOOK_S if why else min(LOOK_S, max(0.0, deadline - now)))
        signal_group(self.pid, signal.SIGKILL)  # what it left behind; itself, where a hook killed its shell
        until = time.monotonic() + DRAIN_S
        while self._stdout in self._ours and time.monotonic() < until:
            self._look(max(0.0, until - time.monotonic()))
        if self._said.strip().isdigit():
            self.exit_code = int(self._said)
        return why

    def _look(self, wait_s: float) -> None:
        poll = select.poll()
        for fd in (self._stdout, self._status):
            if fd in self._ours:
                poll.register(fd, select.POLLIN)
        if self._stdin in self._ours:
            poll.register(self._stdin, select.POLLOUT)
        for fd, _ in poll.poll(wait_s * 1000):
            if fd == self._stdin:
                self._tell()
                continue
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                continue
            if not data:
                self._end(fd)
            elif fd == self._stdout:
                self.kept.add(data)
            else:
                self._said = (self._said + data)[:16]

    def _tell(self) -> None:
        try:
            self._told = self._told[os.write(self._stdin, self._told) :]
        except BlockingIOError:
            return
        except OSError:  # it does not read, which is its right
            self._told = self._told[:0]
        if not self._told:
            self._end(self._stdin)

    def _end(self, fd: int) -> None:
        self._ours.discard(fd)
        os.close(fd)

    def _close_ours(self) -> None:
        for fd in tuple(self._ours):
            self._end(fd)

    def close(self) -> None:
        """Close what is open and collect the shell."""
        self._close_ours()
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:  # collected with the strangers
            return
