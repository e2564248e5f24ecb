"""Taking a run away as a whole: it is gone with one rename, and what it held is removed afterwards.

Nothing here follows a link, and nothing outside the directory that is removed can be reached: every
entry is named within an open directory. A kill leaves a directory under a name that is no run's
(`.trash-…`), which the next cleaner sweeps.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from workflow.checkpoint.durable import Disk, not_recorded
from workflow.checkpoint.layout import ARCHIVE_ENDINGS, TRASH, CheckpointRoot, RunLayout
from workflow.checkpoint.sizing import size_of
from workflow.errors import NotRecordedError, one_line

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_run(disk: Disk, layout: RunLayout) -> int:
    """Take a run away: its directory, or its archives where there is no directory; return the bytes freed.

    Whoever calls holds the lock of the run. An archive beside a directory stays (`remove_archives`): that is
    how a run becomes an archive. That it is gone is durable on return; a run that is not there is no error.
    Raises NotRecordedError: before anything was done, or with all removed that could be.
    """
    root = os.path.dirname(layout.path)
    try:
        if not stat.S_ISDIR(os.lstat(layout.path).st_mode):
            return 0
    except FileNotFoundError:
        return remove_archives(disk, layout)
    except OSError as error:
        raise _not_removed(error, layout.path) from error
    trash = f"{root}/{TRASH}{layout.run_id}-{os.urandom(4).hex()}"
    with told_as_removal(layout.path):
        if not disk.move_directory(layout.path, trash):
            return 0
        disk.sync_directory(root)
    return _remove_tree(disk, trash)


def remove_archives(disk: Disk, layout: RunLayout) -> int:
    """Remove the archives of a run, durably; return the bytes freed. Raises NotRecordedError."""
    freed = 0
    for ending in ARCHIVE_ENDINGS:
        path = layout.path + ending
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            continue
        with told_as_removal(path):
            disk.remove(path)
        freed += status.st_size
    return freed


def trash_of(root: CheckpointRoot) -> list[str]:
    """Return the paths of what removals that were cut short left behind, and that is ours."""
    try:
        names = [name for name in os.listdir(root.path) if name.startswith(TRASH)]
    except OSError:
        return []
    found = []
    for name in sorted(names):
        path = os.path.join(root.path, name)
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            found.append(path)
    return found


def sweep_trash(root: CheckpointRoot, disk: Disk) -> int:
    """Remove what removals that were cut short left behind; return the bytes freed. Raises NotRecordedError."""
    return sum(_remove_tree(disk, path) for path in trash_of(root))


def size_of_run(layout: RunLayout) -> int:
    """Return how many bytes a run holds: its directory and its archives."""
    total = size_of(layout.path).size_bytes
    for ending in ARCHIVE_ENDINGS:
        try:
            total += os.lstat(layout.path + ending).st_size
        except OSError:
            continue
    return total


def _remove_tree(disk: Disk, path: str) -> int:
    """Remove a directory that no name of a run leads to any more; return the bytes freed.

    What somebody else removes at the same time is no error. Raises NotRecordedError with all removed that could be.
    """
    removal = _Removal(disk, path)
    try:
        removal.go()
    except FileNotFoundError:
        return removal.freed_bytes
    except OSError as error:
        removal.fail(path, error)
    if removal.failure is not None:
        where, cause = removal.failure
        raise _not_removed(cause, where) from cause
    return removal.freed_bytes


class _Removal:
    """One tree. Directories in it are moved to its top before they are emptied, so no depth is too deep."""

    def __init__(self, disk: Disk, path: str) -> None:
        self.disk = disk
        self.path = path
        self.freed_bytes = 0
        self.failure: tuple[str, OSError] | None = None
        self.token = os.urandom(4).hex()
        self.moved = 0

    def fail(self, where: str, error: OSError) -> None:
        """Remember what went wrong first; the rest is removed all the same."""
        if self.failure is None:
            self.failure = where, error

    def go(self) -> None:
        """Remove everything that can be. Raises OSError for the directory itself."""
        above = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = os.path.basename(self.path)
            top = self.enter(above, name)
            try:
                tried: set[str] = set()
                while names := [it for it in os.listdir(top) if it not in tried]:
                    for it in names:
                        tried.add(it)
                        self.remove(top, it, top)
            finally:
                os.close(top)
            if self.failure is None:
                self.disk.remove_at(above, name, is_directory=True)
        finally:
            os.close(above)

    def enter(self, directory: int, name: str) -> int:
        """Open a directory within another one, with leave to remove what is in it. Raises OSError."""
        mode = os.lstat(name, dir_fd=directory).st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            self.disk.open_up(directory, name)
        return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)

    def remove(self, directory: int, name: str, top: int) -> None:
        """Remove one entry; a directory within a directory is put at the top, to be met there."""
        try:
            status = os.lstat(name, dir_fd=directory)
            if not stat.S_ISDIR(status.st_mode):
                self.disk.remove_at(directory, name)
                self.freed_bytes += status.st_size if status.st_nlink == 1 else 0
            elif directory == top:
                self.remove_directory(name, top)
            else:
                if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                    self.disk.open_up(directory, name)
                self.moved += 1
                self.disk.move_at(directory, name, top, f"{self.token}-{self.moved}")
        except FileNotFoundError:  # somebody else was faster
            return
        except OSError as error:
            self.fail(os.path.join(self.path, name), error)

    def remove_directory(self, name: str, top: int) -> None:
        try:
            inside = self.enter(top, name)
        except OSError as error:
            # Empty as a rule, where we may not look into it.
            if error.errno != errno.EACCES:
                raise
        else:
            try:
                for it in os.listdir(inside):
                    self.remove(inside, it, top)
            finally:
                os.close(inside)
        self.disk.remove_at(top, name, is_directory=True)


@contextmanager
def told_as_removal(path: str) -> Iterator[None]:
    """Let what a disk refuses within say that `path` could not be removed. Raises NotRecordedError."""
    try:
        yield
    except NotRecordedError as error:
        if isinstance(error.__cause__, OSError):
            raise _not_removed(error.__cause__, path) from error
        raise
    except OSError as error:
        raise _not_removed(error, path) from error


def _not_removed(error: OSError, path: str) -> NotRecordedError:
    """Return the error a person can act on for something that could not be removed."""
    advice = not_recorded(error, path).help
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTEMPTY, errno.EBUSY):
        advice = f"see who owns it and what is in the way, then clean again: ls -la {one_line(os.path.dirname(path))}"
    return NotRecordedError(f"cannot remove {one_line(path)}: {error.strerror or error}", help=advice)
