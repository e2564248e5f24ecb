"""How much of the disk a run takes."""

from __future__ import annotations

import os
from typing import NamedTuple


class Size(NamedTuple):
    """Files below a directory, and their bytes together as `ls -l` counts them. Links count as themselves."""

    files: int
    size_bytes: int


def size_of(path: str) -> Size:
    """Return the size of a file, or of everything below a directory; what cannot be read counts as nothing."""
    files = size_bytes = 0
    waiting = [path]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                            continue
                        size_bytes += entry.stat(follow_symlinks=False).st_size
                    except OSError:  # gone since it was listed
                        continue
                    files += 1
        except NotADirectoryError:
            return Size(1, os.lstat(here).st_size)
        except OSError:  # removed meanwhile, or not ours to read
            continue
    return Size(files, size_bytes)
