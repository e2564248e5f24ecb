"""`checkpoint restore`: files of the work tree as a snapshot met them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from workflow.checkpoint import git, locks, snapshots, worktree_files, worktree_refs
from workflow.checkpoint.git import Repository
from workflow.checkpoint.layout import RUN_ID, CheckpointRoot, RunLayout
from workflow.checkpoint.worktree import Guard, Passing, Private
from workflow.checkpoint.worktree_files import Change
from workflow.checkpoint.worktree_refs import Kept
from workflow.errors import CheckpointError, RunBusyError, UsageError, count, listed, nearest, one_line
from workflow.inspection import definition_of
from workflow.keeping.choosing import split
from workflow.keeping.creating import create
from workflow.model import GitSettings
from workflow.session import environment, project_directory
from workflow.tree_checkpoints import guard_of, outside_of


class Restored(NamedTuple):
    """What was done, or with `is_dry` would be. Paths are from where we are, in order; `left` are files made since.

    `before` names where the files went that were replaced; None: none was, or nothing was done.
    """

    checkpoint_id: str
    commit: str
    is_dry: bool
    restored: list[tuple[str, str]]
    left: list[str]
    before: str | None

    def document(self) -> dict[str, Any]:
        return {
            "checkpoint_id": self.checkpoint_id,
            "commit": self.commit,
            "is_dry_run": self.is_dry,
            "restored": [{"path": path, "change": change} for path, change in self.restored],
            "left": self.left,
            "before": self.before,
        }


def restore(root: CheckpointRoot, name: str, paths: Sequence[str], *, is_dry: bool) -> Restored:
    """Write the files of the project, or those below `paths`, as they were at RUN@N; what was made since stays.

    What is there now is kept first, as a snapshot of the run, or beside it where the run is not here. With `is_dry`
    nothing is written. Raises CheckpointError (no such commit, something in the way), UsageError, RunBusyError.
    """
    project, environ = project_directory(), environment()
    repository = git.find(project, environ)
    kept = found(repository, name)
    wanted = _wanted(repository, project, paths)
    layout = _run_here(root, kept.run_id)
    settings = _settings(layout)
    guard, outside = guard_of(settings), outside_of(root)
    if not is_dry and layout is not None:
        _refuse_live(layout)
    with Passing(repository, environ.get("TMPDIR"), keeps=not is_dry) as private:
        now = private.capture(guard, outside)
        differing = worktree_files.changes(private, now.tree, kept.commit, with_renames=False)
        mine = [it for it in differing if not it.is_submodule and wanted(it.path)]
        _refuse_unknown(private, kept, paths, wanted, mine)
        going = [it for it in mine if it.change != "removed"]
        left = [_shown(repository, project, it.path) for it in mine if it.change == "removed"]
        _refuse_in_the_way(repository, project, kept, [it.path for it in going])
        before = None
        if going and not is_dry:
            before = _keep_present(root, layout, private, guard, outside, kept, going)
            worktree_files.write(private, kept.commit, [it.path for it in going])
    said = [(_shown(repository, project, it.path), it.change) for it in going]
    # What is there and was in neither tree was ignored, or left out for its size: it is replaced, not added.
    return Restored(f"{kept.run_id}@{kept.number}", kept.commit, is_dry, said, left, before)


def found(repository: Repository, name: str) -> Kept:
    """Return the commit of a snapshot's files by its name. Raises UsageError, CheckpointError (it lists what is)."""
    run_id, number = split(name)
    if number is None:
        raise UsageError(
            f"{one_line(name)} names no snapshot: files are kept with snapshots",
            help=_what_there_is(repository, run_id),
        )
    kept = worktree_refs.find(repository, run_id, number)
    if kept is None:
        raise CheckpointError(
            f"no files are kept for {one_line(name)} in this repository", help=_what_there_is(repository, run_id)
        )
    return kept


def _what_there_is(repository: Repository, run_id: str) -> str:
    names = [f"{it.run_id}@{it.number}" for it in worktree_refs.kept(repository)]
    own = [name for name in names if name.partition("@")[0] == run_id]
    if names:
        return f"files are kept for {listed(reversed(own or names))}"
    return "keep them from now on: workflow run --git; those of another machine: workflow checkpoint fetch REMOTE"


def _wanted(repository: Repository, project: str, paths: Sequence[str]) -> Callable[[bytes], bool]:
    """Return what tells whether a path from the top is meant: below the project, or below one of `paths`."""
    starts = []
    for path in paths or (".",):
        # Not by what links lead to: git knows the names, and the last of them may be a link that is to come back.
        place = os.path.normpath(os.path.join(os.path.realpath(project), path))
        inside = os.path.relpath(place, repository.top)
        if inside.split(os.sep)[0] == os.pardir:
            raise UsageError(
                f"{one_line(path)} is not in the work tree {one_line(repository.top)}",
                help="paths are from where you are",
            )
        starts.append(b"" if inside == os.curdir else os.fsencode(inside))
    return lambda path: any(not it or path == it or path.startswith(it + b"/") for it in starts)


def _refuse_unknown(
    private: Private, kept: Kept, paths: Sequence[str], wanted: Callable[[bytes], bool], mine: Sequence[Change]
) -> None:
    """Refuse paths that stand for nothing at all in the snapshot, rather than do nothing in silence."""
    if not paths or mine:
        return
    names = [it for it in private.call("ls-tree", "-r", "-z", "--name-only", kept.commit).split(b"\0") if it]
    if any(map(wanted, names)):
        return
    like = nearest(paths[0], [os.fsdecode(name) for name in names[:5000]])
    raise UsageError(
        f"{kept.run_id}@{kept.number} has no file {listed(one_line(path) for path in paths)}",
        help=f"did you mean {one_line(like)}?" if like else f"what it has: git ls-tree -r --name-only {kept.ref}",
    )


def _refuse_in_the_way(repository: Repository, project: str, kept: Kept, paths: Sequence[bytes]) -> None:
    try:
        worktree_files.refuse_in_the_way(repository.top, paths)
    except worktree_files.InTheWayError as error:
        names = [_shown(repository, project, path) for path in error.paths]
        raise CheckpointError(
            f"nothing was restored: {listed(map(one_line, names))} "
            f"{'stands' if len(names) == 1 else 'stand'} where {kept.run_id}@{kept.number} has something else",
            help="nothing but files is ever replaced: move it away, and restore again",
        ) from error


def _refuse_live(layout: RunLayout) -> None:
    if locks.is_held(layout) or locks.has_orphans(layout):
        raise RunBusyError(
            f"steps of {layout.run_id} are running: files are not changed below them",
            help=f"watch it: workflow status {layout.run_id}",
        )


def _run_here(root: CheckpointRoot, run_id: str) -> RunLayout | None:
    """Return the run that a commit belongs to; None when it is not here, is an archive, or cannot be read.

    Files come back all the same: what there is of the run has no part in that.
    """
    layout = root.run(run_id)
    if RUN_ID.match(run_id) is None or not os.path.isfile(layout.definition):
        return None
    try:
        definition_of(layout)
    except CheckpointError:
        return None
    return layout


def _settings(layout: RunLayout | None) -> GitSettings:
    """Return within which bounds the run keeps files; the standard ones where it is not here."""
    return GitSettings() if layout is None else definition_of(layout)[0].git


def _keep_present(
    root: CheckpointRoot,
    layout: RunLayout | None,
    private: Private,
    guard: Guard,
    outside: Sequence[str],
    kept: Kept,
    going: Sequence[Change],
) -> str:
    """Keep what is there now, also of what is usually left out as far as it is to be replaced; return its name."""
    repository = private.repository
    tree = private.capture(guard, outside, also={it.path for it in going}).tree
    name = f"before restore of {kept.run_id}@{kept.number}"
    if layout is not None:
        number = int(create(root, layout.run_id, name, keeps_files=False)["number"])
        run_id, checkpoint_id = layout.run_id, snapshots.snapshot_id(layout, number)
    else:
        run_id = worktree_refs.BEFORE_RESTORE
        number = int(time.strftime("%Y%m%d%H%M%S", time.gmtime()))
        while worktree_refs.find(repository, run_id, number) is not None:
            number += 1
        checkpoint_id = f"{run_id}@{number}"
    about = [("Files", count(len(going), "file") + " about to be replaced")]
    text = worktree_refs.message(repository, checkpoint_id, step="", trigger="manual", name=name, about=about)
    head = repository.head()
    commit = private.commit(tree, text, [] if head is None else [head])
    worktree_refs.keep(repository, run_id, number, commit)
    return checkpoint_id


def _shown(repository: Repository, project: str, path: bytes) -> str:
    return os.path.relpath(os.path.join(repository.top, os.fsdecode(path)), os.path.realpath(project))
