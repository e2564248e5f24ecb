"""Which files differ between two snapshots whose work trees are kept."""

from __future__ import annotations

import os
from typing import Any

from workflow.checkpoint import git, worktree_files, worktree_refs
from workflow.checkpoint.git import NoWorkTreeError
from workflow.checkpoint.worktree import Passing
from workflow.keeping.choosing import split
from workflow.session import environment, project_directory


def files_between(first: str, second: str) -> list[dict[str, Any]] | None:
    """Return the files that differ from one snapshot to the other, by path from where we are, renames found.

    None: of one of them no files are kept, or it is no snapshot. Writes nothing. Raises GitError.
    """
    (first_run, first_number), (second_run, second_number) = split(first), split(second)
    if first_number is None or second_number is None:
        return None
    project = project_directory()
    try:
        repository = git.find(project, environment())
    except NoWorkTreeError:
        return None
    a = worktree_refs.find(repository, first_run, first_number)
    b = worktree_refs.find(repository, second_run, second_number)
    if a is None or b is None:
        return None
    with Passing(repository, environment().get("TMPDIR"), keeps=False) as private:
        found = worktree_files.changes(private, a.commit, b.commit, with_renames=True)

    def shown(path: bytes) -> str:
        return os.path.relpath(os.path.join(repository.top, os.fsdecode(path)), os.path.realpath(project))

    return [
        {
            "path": shown(it.path),
            "change": it.change,
            "before": None if it.before is None else shown(it.before),
        }
        for it in found
    ]
