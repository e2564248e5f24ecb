"""`changes: git`: which files are as in a base revision, as git tells it. Nothing of the repository is run."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple

from workflow.errors import UsageError, one_line

# Whatever a repository's configuration names to be run at such times is not run; nothing is refreshed on disk.
_CALM = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")
# And it looks closely, whatever the configuration lets it overlook.
_CLOSE = ("core.trustctime=true", "core.checkStat=default", "core.fileMode=true", "core.ignoreStat=false")
_EXACT = (*_CALM, *(word for setting in _CLOSE for word in ("-c", setting)))


class Unchanged(NamedTuple):
    """What git knows of the work tree at `top` against a revision: the files that are the same, and those deleted."""

    top: str
    same: frozenset[str]
    deleted: tuple[str, ...]

    def is_untouched(self, path: str) -> bool:
        """Return whether an absolute path is a file that git tracks and that is as it was.

        What git does not track is never untouched: nothing is known of it.
        """
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if os.path.isdir(real) and not os.path.islink(real):
            return True  # a directory is what is in it, and that is asked for one by one
        return os.path.relpath(real, self.top) in self.same


def unchanged_since(project: str, base: str) -> Unchanged:
    """Ask git. Raises UsageError: no git, no work tree, no such revision."""
    top = _git(project, "rev-parse", "--show-toplevel").decode("utf-8", "surrogateescape").rstrip("\n")
    commit = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}", base=base)
    revision = commit.decode("ascii").strip()
    diff = ("diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--name-only", "-z", revision, "--")
    before = _names(_git(top, "ls-tree", "-r", "-z", "--name-only", revision))
    changed = _names(_git(top, *diff))
    # Files that the index was told to take for unchanged: nothing is known of them.
    marked = _names(_git(top, "ls-files", "-v", "-z"))
    unknown = {name[2:] for name in marked if name[0].islower() or name[0] == "S"}
    start = os.path.realpath(top)
    gone = sorted(name for name in changed & before if not os.path.lexists(os.path.join(start, name)))
    return Unchanged(start, frozenset(before - changed - unknown), tuple(os.path.join(start, name) for name in gone))


def _names(data: bytes) -> set[str]:
    return {os.fsdecode(name) for name in data.split(b"\0") if name}


def _git(directory: str, *words: str, base: str = "") -> bytes:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *_EXACT, "-C", directory, *words],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise UsageError(
            f"changes: git needs git, and it cannot be started ({error.strerror})",
            help="install git, or leave out --changed-since and `changes: git`",
        ) from error
    if done.returncode == 0:
        return done.stdout
    if base:
        raise UsageError(f"git knows no revision {one_line(base)}", help="name a commit, a branch or a tag")
    said = one_line(done.stderr.decode("utf-8", "replace").strip().partition("\n")[0])
    raise UsageError(f"changes: git: {said or 'git failed'}", help="it works inside the work tree of a repository")
