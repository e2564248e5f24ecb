"""What is written and gone again: the directory of a run of which nothing is kept, and the trial of a directory.

Beside `durable`, the one other place that writes: nothing of this has to survive anything.
"""

from __future__ import annotations

import errno
import os

from workflow.checkpoint.durable import not_recorded
from workflow.errors import NotRecordedError, one_line

# File systems without nameless files say one of these; any other answer is the truth about the directory.
_NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})


def make_private_directory(parent: str, prefix: str) -> str:
    """Make a directory with a new name that only we may read; return its path. Raises NotRecordedError."""
    while True:
        path = os.path.join(parent, f"{prefix}{os.urandom(6).hex()}")
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise not_recorded(error, path) from error
        return path


def remove_private_directory(path: str) -> None:
    """Remove what `make_private_directory` made, with all that is in it. Raises NotRecordedError."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    try:
        # A step may have closed a directory of its own to everybody.
        for folder, directories, _ in os.walk(path):
            for name in directories:
                if not os.path.islink(f"{folder}/{name}"):
                    os.chmod(f"{folder}/{name}", 0o700)
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotRecordedError(
            f"the temporary directory of the run is left behind: {one_line(path)} ({error.strerror})",
            help=f"remove it by hand: rm -r {one_line(path)}",
        ) from error


def why_not_writable(directory: str) -> str:
    """Try to write in a directory, leaving nothing; return why that cannot be, empty when it can."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return "it may not be written"
    if not hasattr(os, "O_TMPFILE"):
        return ""
    try:
        # A file without a name is gone when it is closed, and no directory changes.
        fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            return str(error.strerror)
        return "" if os.statvfs(directory).f_blocks else "it is no place for files"
    try:
        os.write(fd, b"workflow")
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(fd)
    return ""
