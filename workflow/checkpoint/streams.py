"""Files too large for memory, and directories that nobody knows yet: the second half of the one writer.

As in `durable`, every system call that changes something goes through `Disk.call`, so that tests can make it die or
fail.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from workflow.checkpoint.durable import Disk, not_recorded
from workflow.checkpoint.layout import TEMPORARY
from workflow.errors import NotRecordedError, one_line

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READING = "workflow-read-"
# Between making a directory and locking it a moment passes, in which nobody is to take it for a dead one.
SETTLED_AFTER_S = 60.0


@contextmanager
def told_as(what: str, again: str) -> Iterator[None]:
    """Say of what a disk refuses which command came to nothing, and what to type once the disk takes it."""
    try:
        yield
    except NotRecordedError as error:
        cause = error.__cause__
        reason = cause.strerror or str(cause) if isinstance(cause, OSError) else error.message
        raise NotRecordedError(f"{what}: {reason}", help=f"{_way_out(cause)}; then: {again}") from error


def _way_out(cause: BaseException | None) -> str:
    if isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        # A system call on a directory that is held open does not name it.
        where = cause.filename if isinstance(cause.filename, str) and os.path.isabs(cause.filename) else ""
        return f"make {one_line(os.path.dirname(where)) or 'the checkpoint directory'} writable"
    return "make room (df -h), or mend the disk"


class NewFile:
    """A file that is written beside its place and gets its name when it is whole."""

    def __init__(self, disk: Disk, path: str, mode: int) -> None:
        """Begin it. Raises NotRecordedError."""
        self._disk = disk
        self.path = path
        directory, name = os.path.split(path)
        self.temporary = f"{directory}/{TEMPORARY}{name[:200]}-{os.urandom(4).hex()}"
        try:
            self._fd = disk.call("open", os.open, self.temporary, _NEW, mode)
        except OSError as error:
            raise not_recorded(error, path) from error

    def write(self, data: bytes) -> None:
        """Add to its end. Raises OSError."""
        self._disk.write_all(self._fd, data)

    def write_at_start(self, data: bytes) -> None:
        """Overwrite its first bytes. Raises OSError."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._disk.write_all(self._fd, data)

    def sync(self) -> int:
        """Make its bytes durable and return how many there are. Raises OSError."""
        self._disk.call("fsync", os.fsync, self._fd)
        return os.fstat(self._fd).st_size

    def put(self) -> None:
        """Give it its name, durably, in place of what had it. Raises NotRecordedError."""
        self._disk.rename(self.temporary, self.path)

    def forget(self) -> None:
        """Remove what has no name yet; nothing once it was put. A disk that refuses even that keeps it, unread."""
        os.close(self._fd)
        try:
            os.unlink(self.temporary)
        except OSError:
            return


@contextmanager
def new_file(disk: Disk, path: str, mode: int) -> Iterator[NewFile]:
    """Give a file to be written; unless it is `put`, nothing of it is left. Raises NotRecordedError."""
    file = NewFile(disk, path, mode)
    try:
        yield file
    except OSError as error:
        raise not_recorded(error, path) from error
    finally:
        file.forget()


def fill(disk: Disk, path: str, content: Iterable[bytes], mode: int) -> None:
    """Write a file in a directory that nobody reads yet; not durable. Raises NotRecordedError."""
    try:
        fd = disk.call("open", os.open, path, _NEW, mode)
        try:
            for data in content:
                disk.write_all(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise not_recorded(error, path) from error


def replace(disk: Disk, path: str, data: bytes) -> None:
    """Overwrite a file, its mode as it was, in a directory that nobody reads yet; not durable.

    Raises NotRecordedError.
    """
    try:
        fd = disk.call("open", os.open, path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            disk.write_all(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise not_recorded(error, path) from error


def make_directory(disk: Disk, path: str, mode: int) -> None:
    """Make a directory in one that nobody reads yet; not durable. Raises NotRecordedError."""
    try:
        disk.call("mkdir", os.mkdir, path, mode)
    except OSError as error:
        raise not_recorded(error, path) from error


def set_time(paths: Iterable[str], at: float) -> None:
    """Let files of a copy that is only read look as old as what they were copied from."""
    for path in paths:
        try:
            os.utime(path, (at, at))
        except OSError:  # not there
            continue


@contextmanager
def nursery(disk: Disk, root: str, mode: int) -> Iterator[str]:
    """Give an empty directory within `root` in which something grows that is to be moved out of it when it is whole.

    What is still in it afterwards is removed; what a kill leaves, the next one removes. Raises NotRecordedError.
    """
    path = f"{root}/{TEMPORARY}nursery-{os.urandom(6).hex()}"
    fd = -1
    try:
        # Nobody is to sweep between the two moments at which it is there and at which it is locked.
        with _locked(root):
            _sweep_nurseries(root)
            make_directory(disk, path, mode)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    except OSError as error:
        raise not_recorded(error, path) from error
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if fd >= 0:
            os.close(fd)


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def sweep_nurseries(root: str) -> None:
    """Remove the nurseries of those who died; a disk that refuses keeps them, and nobody reads them."""
    try:
        with _locked(root):
            _sweep_nurseries(root)
    except OSError:
        return


def _sweep_nurseries(root: str) -> None:
    try:
        names = [name for name in os.listdir(root) if name.startswith(f"{TEMPORARY}nursery-")]
    except OSError:
        return
    for name in names:
        _remove_unlocked(f"{root}/{name}", 0.0)


def _remove_unlocked(path: str, settled_after_s: float) -> None:
    """Remove a directory of ours whose maker, who held its lock, is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        status = os.fstat(fd)
        if status.st_uid == os.geteuid() and time.time() - status.st_ctime >= settled_after_s:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    except OSError:  # somebody lives in it
        return
    finally:
        os.close(fd)


class ReadingPlace:
    """A private directory outside the project, for as long as this process lives."""

    def __init__(self) -> None:
        """Make it. Raises NotRecordedError."""
        import atexit

        top = tempfile.gettempdir()
        try:
            for name in os.listdir(top):
                if name.startswith(READING):
                    _remove_unlocked(f"{top}/{name}", SETTLED_AFTER_S)
            self.path = tempfile.mkdtemp(prefix=READING)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise not_recorded(error, top) from error
        self._pid = os.getpid()
        atexit.register(self.remove)
        _end_in_order()

    def remove(self) -> None:
        """Remove it and what is in it; a child of ours leaves it alone."""
        if os.getpid() == self._pid:
            shutil.rmtree(self.path, ignore_errors=True)


def _end_in_order() -> None:
    """Let a polite end of this process by a signal remove what it made, where nobody minds these signals yet."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def exchange(disk: Disk, grown: str, place: str) -> bool:
    """Give what grew the name of another directory, and that one its own, in one step and durably.

    Returns False, with nothing done, where the system has no such call. Raises NotRecordedError.
    """
    import ctypes

    _sync_all(disk, grown)
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        if disk.call("rename", renameat2, here, os.fsencode(grown), here, os.fsencode(place), both) != 0:
            return False
        disk.sync_directory(os.path.dirname(place))
    except OSError as error:
        raise not_recorded(error, place) from error
    return True


def move_into_place(disk: Disk, grown: str, place: str) -> bool:
    """Give what grew in a nursery its name, with all its bytes durable before it has it; False where it is in use.

    Raises NotRecordedError; then it may have its name, and is whole.
    """
    _sync_all(disk, grown)
    if not disk.move_directory(grown, place):
        return False
    try:
        disk.sync_directory(os.path.dirname(place))
    except OSError as error:
        raise not_recorded(error, place) from error
    return True


def _sync_all(disk: Disk, top: str) -> None:
    if disk.sync_file_system(top):
        return
    for folder, _, files in os.walk(top):
        for name in files:
            disk.sync_file(f"{folder}/{name}")
        try:
            disk.sync_directory(folder)
        except OSError as error:
            raise not_recorded(error, folder) from error
