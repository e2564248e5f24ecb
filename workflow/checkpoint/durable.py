"""The only writer: every file and directory of a checkpoint is made, replaced and removed here.

Per file: a temporary name in the same directory (exclusive, never through a link), all bytes,
fsync, rename, fsync of the directory. ext4's own rescue covers only *replacing* a name, so a
marker written for the first time without fsync can come back empty after a power cut.

Every system call goes through one place, so that tests can make the Nth one die, fail or
write short (`faults.Faults`); without a plan that costs one comparison.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple, TypeVar

from workflow.checkpoint.faults import Fault, Faults
from workflow.checkpoint.layout import RUN_ID, TEMPORARY
from workflow.errors import NotRecordedError, one_line

__all__ = ["FULL_DISK", "Disk", "Fault", "Faults", "Note", "Staged", "not_recorded"]

T = TypeVar("T")

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})


class Staged(NamedTuple):
    """A file that is written and has not got its name yet."""

    temporary: str
    path: str


class Disk:
    """Writes below one checkpoint directory. Thread-safe: it holds no state but cached directories."""

    def __init__(self, *, private: bool = False, faults: Faults | None = None) -> None:
        self.file_mode = 0o600 if private else 0o644
        self.directory_mode = 0o700 if private else 0o755
        self.faults = faults
        self._directories: dict[str, int] = {}
        self._token = os.urandom(4).hex()
        self._count = count()

    def close(self) -> None:
        """Close the cached directories; the disk can be used again afterwards."""
        for fd in self._directories.values():
            os.close(fd)
        self._directories.clear()

    def write(self, path: str, data: bytes | Callable[[], Iterable[bytes]], *, sync: bool = True) -> None:
        """Put `data` at `path`, whole or not at all; a function gives it piece by piece, anew at every call.

        With `sync`, it survives a power cut once this returns; without, only the death of processes.
        Raises NotRecordedError; then `path` is as it was before, unless only the directory could not
        be made durable, and no temporary file is left unless the disk refuses even that.
        """
        try:
            try:
                self._replace(path, data, sync)
            except OSError as error:
                if not (sync and error.errno == errno.EIO):
                    raise
                # A failed fsync is never retried on the same descriptor: kernels mark the pages
                # clean, so the second call would lie. A fresh file, once.
                self._replace(path, data, sync)
        except OSError as error:
            raise not_recorded(error, path) from error

    def stage(self, path: str, data: bytes) -> Staged:
        """Write what is to stand at `path` beside it, where nobody reads it; `put_in_order` gives it its name.

        Survives the death of processes, as a temporary file. Raises NotRecordedError; then nothing is left of it.
        """
        try:
            return Staged(self._stage(path, data, sync=False), path)
        except OSError as error:
            raise not_recorded(error, path) from error

    def put_in_order(self, root: str, groups: Sequence[Sequence[Staged]]) -> bool:
        """Give many staged files their names, with one call for all their bytes (syncfs).

        All files of a group are durable under their names before the first of the next group gets its own.
        Returns False, with nothing done, where the system has no such call. Raises NotRecordedError; then some may
        be in place and others not, none is staged any more, and whoever called writes them one by one.
        """
        try:
            if not self.sync_file_system(root):
                return False
            for files in groups:
                for temporary, path in files:
                    self._call("rename", os.rename, temporary, path)
                for directory in {os.path.dirname(path) for _, path in files}:
                    self.sync_directory(directory)
        except OSError as error:
            self.unstage(file for files in groups for file in files)
            raise not_recorded(error, root) from error
        except NotRecordedError:
            self.unstage(file for files in groups for file in files)
            raise
        return True

    def unstage(self, files: Iterable[Staged]) -> None:
        """Remove staged files that are not to get their names; those that have them are left alone."""
        for temporary, _ in files:
            self._drop(temporary)

    def _replace(self, path: str, data: bytes | Callable[[], Iterable[bytes]], sync: bool) -> None:
        temporary = self._stage(path, data, sync=sync)
        try:
            self._call("rename", os.rename, temporary, path)
        except OSError:
            self._drop(temporary)
            raise
        if sync:
            self.sync_directory(os.path.dirname(path))

    def _stage(self, path: str, data: bytes | Callable[[], Iterable[bytes]], *, sync: bool) -> str:
        directory, name = os.path.split(path)
        temporary = f"{directory}/{TEMPORARY}{name[:200]}-{self._token}{next(self._count)}"
        fd = self._call(
            "open",
            os.open,
            temporary,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            self.file_mode,
        )
        try:
            try:
                for piece in (data,) if isinstance(data, bytes) else data():
                    self._write_all(fd, piece)
                if sync:
                    self._call("fsync", os.fsync, fd)
            finally:
                os.close(fd)
        except OSError:
            self._drop(temporary)
            raise
        return temporary

    def _drop(self, temporary: str) -> None:
        try:
            os.unlink(temporary)
        except OSError:  # gone, or the disk refuses that too: swept by the next resume, under the lock
            pass

    def _write_all(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self.faults is not None and self.faults.meet("write", "before") == "short":
                written = os.write(fd, view[: max(1, len(view) // 2)])
            else:
                written = os.write(fd, view)
            if self.faults is not None:
                self.faults.meet("write", "after")
            view = view[written:]

    def sync_directory(self, directory: str) -> None:
        """Make the names in `directory` durable. Raises OSError."""
        fd = self._directories.get(directory)
        if fd is None:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._directories[directory] = fd
        try:
            self._call("fsync", os.fsync, fd)
        except OSError:
            # Never again on this descriptor. Not closed: another thread may be syncing through it.
            self._directories.pop(directory, None)
            raise

    def sync_file_system(self, path: str) -> bool:
        """Make everything on the file system of `path` durable in one call (Linux, syncfs(2)).

        Returns False where there is no such call; raises NotRecordedError when the disk failed.
        """
        try:
            import ctypes

            syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        except (ImportError, OSError, AttributeError):
            return False
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._call("fsync", syncfs, fd) != 0:
                code = ctypes.get_errno()
                raise not_recorded(OSError(code, os.strerror(code)), path)
        except OSError as error:  # a planned fault
            raise not_recorded(error, path) from error
        finally:
            os.close(fd)
        return True

    def sync_file(self, path: str) -> None:
        """Make a file somebody else wrote durable (a declared output). Raises NotRecordedError."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                self._call("fsync", os.fsync, fd)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EROFS, errno.EACCES, errno.ENXIO):
                return  # a device, a fifo, a file we may not read: nothing of it can be made durable by us
            raise not_recorded(error, path) from error

    def remove(self, path: str, *, sync: bool = True) -> None:
        """Remove `path` if it is there, durably. Raises NotRecordedError."""
        try:
            self._call("unlink", os.unlink, path)
            if sync:
                self.sync_directory(os.path.dirname(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise not_recorded(error, path) from error

    def rename(self, old: str, new: str) -> None:
        """Give a file of the run another name, durably. Raises NotRecordedError."""
        try:
            self._call("rename", os.rename, old, new)
            self.sync_directory(os.path.dirname(new))
            if os.path.dirname(old) != os.path.dirname(new):
                self.sync_directory(os.path.dirname(old))
        except OSError as error:
            raise not_recorded(error, new) from error

    def make_directory(self, path: str, *, exist_ok: bool = True) -> None:
        """Make a directory with this disk's mode whatever the umask opens.

        Raises FileExistsError (only without `exist_ok`), NotRecordedError. Its name is durable
        only after `sync_directory` of its parent.
        """
        try:
            self._call("mkdir", os.mkdir, path, self.directory_mode)
        except FileExistsError:
            if not exist_ok:
                raise
        except OSError as error:
            raise not_recorded(error, path) from error

    def make_directories(self, path: str) -> None:
        """Make a directory and those above it that are missing, their names durable. Raises NotRecordedError."""
        parent = os.path.dirname(path)
        if parent != path and not os.path.isdir(parent):
            self.make_directories(parent)
        self.make_directory(path)
        try:
            self.sync_directory(parent)
        except PermissionError:  # a directory that we may write and not read: its file system must do
            return
        except OSError as error:
            raise not_recorded(error, path) from error

    def open_lock(self, path: str) -> int:
        """Open a file that exists for its lock only, making it where it is missing. Raises NotRecordedError."""
        try:
            return self._call(
                "open", os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, self.file_mode
            )
        except OSError as error:
            raise not_recorded(error, path) from error

    def move_directory(self, old: str, new: str) -> bool:
        """Give a directory another name, not durably; return False where that name is in use or the old one gone."""
        try:
            self._call("rename", os.rename, old, new)
        except (FileNotFoundError, FileExistsError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                return False
            raise not_recorded(error, new) from error
        return True

    def remove_empty_directory(self, path: str) -> None:
        """Remove a directory if it is empty; leave it alone otherwise."""
        try:
            os.rmdir(path)
        except OSError:  # not empty, or gone: both are fine
            return

    def remove_at(self, directory: int, name: str, *, is_directory: bool = False) -> None:
        """Remove an entry of an open directory, a link itself and never what it leads to; not durably. Raises OSError.

        A directory must be empty.
        """
        operation, function = ("rmdir", os.rmdir) if is_directory else ("unlink", os.unlink)
        self._call(operation, partial(function, dir_fd=directory), name)

    def move_at(self, directory: int, name: str, new_directory: int, new_name: str) -> None:
        """Give an entry of an open directory a place in another one, not durably. Raises OSError."""
        self._call("rename", partial(os.rename, src_dir_fd=directory, dst_dir_fd=new_directory), name, new_name)

    def open_up(self, directory: int, name: str) -> None:
        """Let ourselves into a directory of ours in an open one, never through a link. Raises OSError."""
        if not hasattr(os, "O_PATH"):
            self._call("chmod", partial(os.chmod, dir_fd=directory, follow_symlinks=False), name, 0o700)
            return
        # Without O_PATH a directory that nobody may read cannot be opened; and chmod by name would follow a link.
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            self._call("chmod", os.chmod, f"/proc/self/fd/{fd}", 0o700)
        finally:
            os.close(fd)

    def set_times(self, path: str, accessed_ns: int, modified_ns: int) -> None:
        """Give a file or directory of ours other times; without effect where that is not allowed."""
        try:
            self._call("utime", partial(os.utime, ns=(accessed_ns, modified_ns)), path)
        except OSError:  # its age is a little wrong then
            return

    def sweep_temporaries(self, directory: str, *, older_than_s: float = 0.0) -> int:
        """Remove what crashes left under temporary names; return how many.

        Only under the lock of the run, or, where there is no lock, what is older than any write can last.
        """
        swept = 0
        oldest_kept_at = time.time() - older_than_s
        try:
            names = os.listdir(directory)
        except OSError:  # removed by hand: nothing to sweep, and whoever needs it says so
            return swept
        for name in names:
            if name.startswith(TEMPORARY):
                try:
                    if older_than_s and os.lstat(f"{directory}/{name}").st_mtime > oldest_kept_at:
                        continue
                    os.unlink(f"{directory}/{name}")
                    swept += 1
                except OSError:  # not ours to worry about: it is never read
                    continue
        return swept

    def append(self, path: str, data: bytes, *, sync: bool = False) -> int:
        """Add `data` at the end of a file in one write; return how long the file is then. Raises NotRecordedError.

        Survives the death of processes, with `sync` that of the machine.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = self._call("open", os.open, path, flags, self.file_mode)
            try:
                self._write_all(fd, data)
                if sync:
                    self._call("fsync", os.fsync, fd)
                return os.fstat(fd).st_size
            finally:
                os.close(fd)
        except OSError as error:
            raise not_recorded(error, path) from error

    def cut(self, path: str, size_bytes: int, closing: bytes) -> None:
        """Cut a file that grew past its cap to `size_bytes` and end it with `closing`. Raises OSError."""
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(fd, size_bytes)
            os.write(fd, closing)
        finally:
            os.close(fd)

    def _call(self, operation: str, function: Callable[..., T], *arguments: object) -> T:
        if self.faults is None:
            return function(*arguments)
        self.faults.meet(operation, "before")
        result = function(*arguments)
        self.faults.meet(operation, "after")
        return result

    # For `streams`, the other half of this writer.
    call = _call
    write_all = _write_all


class Note:
    """A small file overwritten in place, for what only has to survive the death of processes.

    One pwrite of less than a page replaces it, which no kill can tear on a local file system.
    """

    def __init__(self, path: str, mode: int) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        except OSError as error:
            raise not_recorded(error, path) from error
        self._path = path
        self._length = os.fstat(self._fd).st_size

    def put(self, text: str) -> None:
        """Replace the content. Raises NotRecordedError."""
        data = text.encode("utf-8", "surrogateescape")
        padded = data.ljust(self._length, b"\n")
        try:
            os.pwrite(self._fd, padded, 0)
        except OSError as error:
            raise not_recorded(error, self._path) from error
        self._length = len(padded)

    def close(self) -> None:
        os.close(self._fd)


def planned_faults(environ: Mapping[str, str]) -> Faults | None:
    """Return the fault that a test planned, to make the Nth write die or fail."""
    plan = environ.get("WORKFLOW_FAULT")
    return Faults.parse(plan) if plan else None


def not_recorded(error: OSError, path: str) -> NotRecordedError:
    """Return the error a person can act on for an I/O error at `path`."""
    reason = error.strerror or str(error)
    message = f"cannot record what happened in {one_line(path)}: {reason}"
    if error.errno in FULL_DISK:
        advice = (
            f"free space on that disk (df -h {one_line(os.path.dirname(path))}; workflow checkpoint clean, or "
            "workflow checkpoint compress --all), then carry on with: workflow resume"
        )
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
        advice = "make that directory writable, or choose another with --checkpoint-dir DIR"
    elif error.errno == errno.ENOENT:
        advice = removed_advice(path)
    else:
        advice = "look at the disk (dmesg | tail), then carry on with: workflow resume"
    return NotRecordedError(message, help=advice)


def removed_advice(path: str) -> str:
    """Return what to do where the directory of a file of a run was removed by somebody else."""
    directory = os.path.dirname(path)
    while directory and directory != os.path.dirname(directory):
        if RUN_ID.match(os.path.basename(directory)) and os.path.isdir(directory):
            run_id = os.path.basename(directory)
            return f"a part of {run_id} was removed while it was going; carry on with: workflow resume {run_id}"
        directory = os.path.dirname(directory)
    return "the run's directory was removed while it was going; start again with: workflow run"
