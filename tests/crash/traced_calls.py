"""Which system calls that change something a command makes: so that a kill at each kind cannot be a kill at none."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

from tests.crash.recovering import program, program_env

CHANGING = (
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "mknod", "mknodat"),
    *("write", "writev", "pwrite64", "pwritev", "pwritev2", "copy_file_range", "sendfile"),
    *("truncate", "ftruncate", "fallocate", "utimensat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat"),
    *("fsync", "fdatasync", "syncfs", "sync", "sync_file_range"),
)


def calls_made(words: tuple[str, ...] | list[str], cwd: Path, log: Path) -> Counter[str]:
    """Run a command line that must succeed; return how often it made each of these calls, those it did not left out."""
    wanted = ",".join(f"?{name}" for name in CHANGING)
    result = subprocess.run(
        ["strace", "-qq", "-f", "-o", str(log), "-e", f"trace={wanted}", *program(*words)],
        cwd=cwd,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
