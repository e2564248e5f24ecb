"""Where keeping the files of the work tree is wired up: whether it can be, within which bounds, and what goes along."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence

from workflow.checkpoint import git, snapshots, worktree_refs
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.git import NoWorkTreeError, Repository
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.worktree import MEGABYTE_BYTES, Guard, Passing
from workflow.events import Notice
from workflow.execution.tree_keeping import TreeKeeper
from workflow.model import GitSettings, Workflow


def repository_for(
    workflow: Workflow, environ: Mapping[str, str], notices: list[Notice], *, must: bool
) -> Repository | None:
    """Return the repository whose work tree holds the project; None, with a notice added, where there is none.

    With `must` that is a UsageError instead: whoever asks for it on the command line, or requires it, relies on it.
    """
    try:
        return git.find(workflow.project, environ)
    except NoWorkTreeError as error:
        if must:
            raise
        notices.append(Notice(f"no git checkpoints: {error.message}", error.help))
        return None


def keeper(
    repository: Repository,
    workflow: Workflow,
    root: CheckpointRoot,
    layout: RunLayout,
    disk: Disk,
    put: Callable[[object], None],
) -> TreeKeeper:
    """Return what keeps the files of the work tree of one run; it looks at them for the first time at once."""
    outside = outside_of(root)
    return TreeKeeper(repository, guard_of(workflow.git), layout, disk, put, cache=root.cache, outside=outside)


def keep_now(
    root: CheckpointRoot,
    layout: RunLayout,
    workflow: Workflow,
    environ: Mapping[str, str],
    *,
    number: int,
    name: str,
    about: Sequence[tuple[str, str]],
) -> None:
    """Keep the files of the work tree for a snapshot that was made from outside. Raises WorkflowError."""
    repository = git.find(workflow.project, environ)
    with Passing(repository, environ.get("TMPDIR"), keeps=True) as private:
        tree = private.capture(guard_of(workflow.git), outside_of(root)).tree
        checkpoint_id = snapshots.snapshot_id(layout, number)
        text = worktree_refs.message(repository, checkpoint_id, step="", trigger="manual", name=name, about=about)
        head = repository.head()
        commit = private.commit(tree, text, [] if head is None else [head])
        worktree_refs.keep(repository, layout.run_id, number, commit)


def outside_of(root: CheckpointRoot) -> tuple[str, ...]:
    """Return what is never kept: the checkpoints themselves."""
    return (os.path.realpath(root.path),)


def guard_of(settings: GitSettings) -> Guard:
    """Return the bounds that settings say, in bytes."""

    def bytes_of(megabytes: float | None) -> float:
        return math.inf if megabytes is None else megabytes * MEGABYTE_BYTES

    files = settings.max_files if settings.max_files is not None else 1 << 62
    return Guard(bytes_of(settings.max_file_mb), bytes_of(settings.max_total_mb), files)
