"""Files that count only while nobody else could have planted or changed them."""

from __future__ import annotations

import os
import stat

from workflow.errors import CheckpointError, one_line


def refuse_others(path: str, status: os.stat_result) -> None:
    """Refuse a file that somebody else owns or anybody may change. Raises CheckpointError."""
    name = one_line(path)
    if status.st_uid != os.geteuid():
        raise CheckpointError(
            f"{name} belongs to another user (uid {status.st_uid})", help=f"chown {os.geteuid()} {name}"
        )
    if status.st_mode & stat.S_IWOTH:
        raise CheckpointError(f"everybody may write into {name}", help=f"chmod o-w {name}")
