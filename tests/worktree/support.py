"""Repositories for the tests of kept work trees, and what must stay in them byte for byte."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from tests.conftest import Project

WHO = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")


def git(where: str | os.PathLike[str], *words: str, check: bool = True) -> str:
    """Run git as a person would and return what it printed."""
    done = subprocess.run(["git", *WHO, *words], cwd=where, capture_output=True, check=check)
    return done.stdout.decode("utf-8", "surrogateescape")


def repository(project: Project) -> Project:
    """Make the project a repository with one commit of all that is in it; checkpoints are ignored."""
    git(project, "init", "-q")
    project.file(".gitignore", ".checkpoints/\nignored\n")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    return project


def files_below(top: str | os.PathLike[str], *, but: tuple[str, ...] = ()) -> dict[str, tuple[object, ...]]:
    """Return every file and link below a directory: mode, times, content. Paths that begin so are left out."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, top)
            if inside.startswith(but):
                continue
            status = os.lstat(path)
            is_link = stat.S_ISLNK(status.st_mode)
            content = os.fsencode(os.readlink(path)) if is_link else Path(path).read_bytes()
            found[inside] = (status.st_mode, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def state_of_git(project: Project) -> dict[str, tuple[object, ...]]:
    """Return all that git keeps but objects and our own refs: HEAD, branches, index, stash, logs, hooks, settings."""
    return files_below(project.path / ".git", but=("objects/", "refs/workflow/"))


def refs(project: Project) -> list[str]:
    """Return the refs of ours, by run and number."""
    found = git(project, "for-each-ref", "--format=%(refname)", "refs/workflow/").split()
    return sorted(found, key=lambda ref: (ref.rpartition("/")[0], int(ref.rpartition("/")[2])))


def numbers(project: Project) -> list[int]:
    """Return the numbers of the snapshots of the newest run whose files are kept."""
    start = f"refs/workflow/{project.newest_run.name}/"
    return [int(ref.removeprefix(start)) for ref in refs(project) if ref.startswith(start)]


def at(project: Project, number: int) -> str:
    """Return what the snapshot of that number of the newest run is called."""
    return f"{project.newest_run.name}@{number}"


def kept(project: Project, number: int, path: str) -> str:
    """Return a file as a snapshot of the newest run kept it."""
    return git(project, "show", f"refs/workflow/{project.newest_run.name}/{number}:{path}")


def names_kept(project: Project, number: int) -> list[str]:
    """Return the paths that a snapshot of the newest run kept."""
    said = git(project, "ls-tree", "-r", "-z", "--name-only", f"refs/workflow/{project.newest_run.name}/{number}")
    return [name for name in said.split("\0") if name]
