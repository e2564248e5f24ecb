"""Kernel locks: held by a living process or not at all.

The run's lock is a flock on the run's own directory, so that no file can be deleted to get
around it. Every worker holds a second one that its steps inherit: while that is held, a step of
a dead runner may still be alive. Nothing is concluded from a pid alone.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import NamedTuple

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import quote, unquote
from workflow.errors import CheckpointError, NotRecordedError, RunBusyError, one_line

# A reader that asks whether a runner is alive holds a shared lock for some microseconds. Trying
# for this long before saying "busy" keeps such a glance from turning a runner away; it is also
# how fast the loser of a race answers.
BUSY_AFTER_S = 0.4


class Holder(NamedTuple):
    """Who holds a run, for people. `run_inode` tells a run seen over the network from a copy of it."""

    host: str
    boot_id: str
    pid: int
    process_started: str
    since: str
    command: str
    run_inode: int

    @property
    def text(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({one_line(self.command)})"


class RunLock:
    """The lock of one run. Released when the descriptor closes, also by kill -9."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        os.close(self._fd)


def acquire_run(layout: RunLayout) -> RunLock:
    """Take the run's lock or raise RunBusyError within half a second, naming the holder.

    Raises CheckpointError when the run is gone, NotRecordedError where the file system cannot lock.
    """
    try:
        fd = os.open(layout.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _cannot_be_opened(layout, error) from error
    try:
        give_up_at = time.monotonic() + BUSY_AFTER_S
        while not try_lock(fd, layout.path):
            if time.monotonic() >= give_up_at:
                _refuse_removed(layout, fd)
                holder = read_holder(layout)
                who = holder.text if holder else "another runner"
                raise RunBusyError(
                    f"{layout.run_id} is being run by {who}",
                    help=f"watch it: workflow status {layout.run_id}, or: workflow logs {layout.run_id} -f",
                )
            time.sleep(0.02)
        _refuse_removed(layout, fd)
        refuse_foreign_holder(layout, os.fstat(fd).st_ino)
    except BaseException:
        os.close(fd)
        raise
    return RunLock(fd)


def _refuse_removed(layout: RunLayout, fd: int) -> None:
    """Refuse a directory that lost its name while we waited for its lock: whoever held it removed the run."""
    try:
        is_same = os.path.samestat(os.lstat(layout.path), os.fstat(fd))
    except OSError as error:
        raise _cannot_be_opened(layout, error) from error
    if not is_same:
        raise RunBusyError(
            f"{layout.run_id} was replaced by another directory just now", help=f"workflow status {layout.run_id}"
        )


def _cannot_be_opened(layout: RunLayout, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(
            f"{layout.run_id} was removed meanwhile", help="the runs there are: workflow checkpoint list"
        )
    return CheckpointError(
        f"the directory of {layout.run_id} cannot be opened: {error.strerror}",
        help=f"look at it: ls -ld {one_line(layout.path)}",
    )


def try_lock(fd: int, path: str) -> bool:
    """Try once for the exclusive kernel lock. Raises NotRecordedError where flock does not work."""
    from filelock import lock_descriptor

    try:
        return lock_descriptor(fd, blocking=False)
    except OSError as error:
        raise NotRecordedError(
            f"the file system of {one_line(path)} cannot lock ({error.strerror}), so a second runner could get in",
            help="keep the checkpoints on a local disk: workflow run --checkpoint-dir DIR",
        ) from error


def is_held(layout: RunLayout) -> bool:
    """Return whether a runner is alive, without waiting and without writing."""
    return _is_locked(layout.path)


def has_orphans(layout: RunLayout) -> bool:
    """Return whether a step still runs in the run, be it that its runner is dead. Waits for nothing."""
    try:
        names = os.listdir(layout.state_dir)
    except OSError:
        return False
    workers = (name[7:-5] for name in names if name.startswith("worker_") and name.endswith(".lock"))
    return any(worker.isdigit() and is_worker_held(layout, int(worker)) for worker in workers)


def is_worker_held(layout: RunLayout, worker: int) -> bool:
    """Return whether a worker, or a step of it, is alive, without waiting and without writing."""
    return _is_locked(layout.worker_lock(worker))


def _is_locked(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def lock_worker(disk: Disk, layout: RunLayout, worker: int) -> int | None:
    """Take the lock of a worker; return its descriptor, or None while an orphan of it still lives."""
    path = layout.worker_lock(worker)
    fd = disk.open_lock(path)
    if try_lock(fd, path):
        return fd
    os.close(fd)
    return None


def write_holder(disk: Disk, layout: RunLayout, command: str, since: str) -> None:
    """Say beside the lock who holds it."""
    lines = {
        "HOST": os.uname().nodename,
        "BOOT_ID": boot_id(),
        "PID": str(os.getpid()),
        "PROCESS_STARTED": process_started(os.getpid()),
        "SINCE": since,
        "RUN_INODE": str(os.stat(layout.path).st_ino),
        "COMMAND": command,
    }
    text = "".join(f"{key}={quote(value)}\n" for key, value in lines.items())
    disk.write(layout.holder, text.encode("ascii"), sync=False)


def read_holder(layout: RunLayout) -> Holder | None:
    """Return who wrote the note beside the lock, None when there is none or it makes no sense."""
    try:
        with open(layout.holder, encoding="ascii", errors="replace") as file:
            values = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
        return Holder(
            unquote(values["HOST"]),
            unquote(values["BOOT_ID"]),
            int(values["PID"]),
            unquote(values["PROCESS_STARTED"]),
            unquote(values["SINCE"]),
            unquote(values["COMMAND"]),
            int(values["RUN_INODE"]),
        )
    except (OSError, KeyError, ValueError):
        return None


def refuse_foreign_holder(layout: RunLayout, inode: int) -> None:
    """Fail closed when a runner on another machine may hold a run whose lock our kernel gave us.

    Some network file systems keep flock to each machine. A copy or a restored archive has another
    inode, a container of this machine the same boot id: both carry on.
    """
    holder = read_holder(layout)
    if holder is None or holder.run_inode != inode:
        return
    if holder.host != os.uname().nodename and holder.boot_id != boot_id():
        raise RunBusyError(
            f"{layout.run_id} was last held on another machine by {holder.text}, and may still be",
            help=f"if that runner is gone for certain: rm {one_line(layout.holder)}",
        )


def boot_id() -> str:
    """Return what tells this boot of this machine from every other, empty where the system has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def process_started(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot (proc(5), stat field 22), empty if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        return ""
