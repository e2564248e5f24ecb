"""Named locks (`lock: db`): one step at a time, in whatever run of this user on this machine.

A kernel lock (flock) on a file of the user's own; the worker of the step inherits it, so that it
is held for as long as the step lives, also after its runner died. The runner gives it back on
the shared description, so that a daemon which the step left behind does not keep it.
"""

from __future__ import annotations

import fcntl
import os
import time

from workflow.checkpoint import locks, records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.marker import quote, unquote
from workflow.errors import NotRecordedError, one_line

LOWEST_DESCRIPTOR = 10


class NamedLocks:
    """The named locks as one run takes them. `directory` is made when the first one is."""

    def __init__(self, directory: str, disk: Disk, run_dir: str) -> None:
        self.directory = directory
        self._disk = disk
        self._run_dir = run_dir

    def path(self, name: str) -> str:
        return os.path.join(self.directory, f"{name}.lock")

    def try_take(self, name: str, title: str) -> int | None:
        """Take a lock if it is free and say beside it who has it; return its descriptor, else None.

        Raises NotRecordedError where it cannot be locked at all.
        """
        try:
            return self._try_take(name, title)
        except NotRecordedError as error:
            raise NotRecordedError(
                error.message, help="named locks lie below XDG_STATE_HOME: set it to a local directory you may write to"
            ) from error

    def _try_take(self, name: str, title: str) -> int | None:
        if not os.path.isdir(self.directory):
            self._disk.make_directories(self.directory)
        path = self.path(name)
        fd = self._disk.open_lock(path)
        try:
            if not locks.try_lock(fd, path):
                os.close(fd)
                return None
            # Somebody may have removed the file between our look and our lock: then it locks nothing.
            if not os.path.samestat(os.fstat(fd), os.stat(path)):
                os.close(fd)
                return None
        except FileNotFoundError:
            os.close(fd)
            return None
        except NotRecordedError:
            os.close(fd)
            raise
        # Above the descriptors with one digit, which are given to the worker in its own order.
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
        os.close(fd)
        since = records.utc_text(time.time()) or ""
        about = {"STEP": title, "RUN": self._run_dir, "PID": str(os.getpid()), "SINCE": since}
        text = "".join(f"{key}={quote(value)}\n" for key, value in about.items())
        try:
            self._disk.write(f"{path[:-5]}.holder", text.encode("ascii"), sync=False)
        except NotRecordedError:  # for people only; the kernel has the lock
            pass
        return high

    def give_back(self, fd: int) -> None:
        """Let go of a lock, whoever inherited its descriptor."""
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    def holder(self, name: str) -> str:
        """Return who holds a lock, for people."""
        try:
            with open(f"{self.path(name)[:-5]}.holder", encoding="ascii", errors="replace") as file:
                values = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
            step, run_dir = unquote(values["STEP"]), unquote(values["RUN"])
            return f"step {one_line(step)} of {one_line(run_dir)} (process {values['PID']}, since {values['SINCE']})"
        except (OSError, KeyError, ValueError):
            return "another process"
