"""`checkpoint push` and `fetch`: kept work trees to a shared repository, and from there.

The configuration of the repository is asked for the address of the remote and for nothing else: what goes out and
comes in passes through a git directory of our own, with the settings of the user.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from workflow.checkpoint import git, worktree_refs
from workflow.checkpoint.git import GitError, Repository
from workflow.checkpoint.layout import RUN_ID
from workflow.checkpoint.worktree import Passing, Private
from workflow.checkpoint.worktree_refs import BEFORE_RESTORE, Kept
from workflow.errors import CheckpointError, UsageError, listed, nearest, one_line
from workflow.keeping.choosing import split
from workflow.session import environment, project_directory

# How many refs one call names: a command line has its limits.
_AT_ONCE = 500


class Shared(NamedTuple):
    """What went over. `same` counts those that were there already, `differing` names those that are others there."""

    remote: str
    verb: str
    moved: list[str]
    same: int
    differing: list[str]

    def document(self) -> dict[str, Any]:
        return self._asdict()


def push(remote: str, names: Sequence[str]) -> Shared:
    """Give kept work trees of this project, all or those of the runs or snapshots named, to a remote.

    What the remote has under the same name is never replaced. Raises CheckpointError, UsageError.
    """
    repository, address = _both(remote)
    every = worktree_refs.of_this_project(repository, worktree_refs.kept(repository))
    mine = [it for it in every if it.run_id != BEFORE_RESTORE or names]
    chosen = _chosen(mine, names)
    if not chosen:
        raise CheckpointError("there are no kept files to push", help="keep them: workflow run --git")
    with Passing(repository, environment().get("TMPDIR"), keeps=True) as private:
        there = _there(private, address)
        going = [it for it in chosen if it.ref not in there]
        differing = [_name(it) for it in chosen if there.get(it.ref, it.commit) != it.commit]
        for at in range(0, len(going), _AT_ONCE):
            # An empty lease: made while we looked, it is somebody else's, and stays.
            words = [f"--force-with-lease={it.ref}:" for it in going[at : at + _AT_ONCE]]
            refs = [f"{it.commit}:{it.ref}" for it in going[at : at + _AT_ONCE]]
            private.call("push", "--quiet", "--no-verify", *words, "--", address, *refs, is_apart=False)
    same = len(chosen) - len(going) - len(differing)
    return Shared(remote, "push", [_name(it) for it in going], same, differing)


def fetch(remote: str, names: Sequence[str]) -> Shared:
    """Take kept work trees from a remote, all or those of the runs or snapshots named.

    Nothing that is here is replaced, and nothing of the work tree changes. Raises CheckpointError, UsageError.
    """
    repository, address = _both(remote)
    with Passing(repository, environment().get("TMPDIR"), keeps=True) as private:
        seen = (_kept(ref, commit) for ref, commit in _there(private, address).items())
        chosen = _chosen(sorted(it for it in seen if it is not None), names)
        here = {it.ref: it.commit for it in worktree_refs.kept(repository)}
        coming = [it for it in chosen if it.ref not in here]
        differing = [_name(it) for it in chosen if here.get(it.ref, it.commit) != it.commit]
        for at in range(0, len(coming), _AT_ONCE):
            refs = [f"{it.ref}:{it.ref}" for it in coming[at : at + _AT_ONCE]]
            quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
            private.call("-c", "fetch.fsckObjects=true", "fetch", *quiet, "--", address, *refs, is_apart=False)
        for it in coming:
            # What came is what was announced, or it is not kept.
            private.call("cat-file", "-e", f"{it.commit}^{{tree}}")
            worktree_refs.keep(repository, it.run_id, it.number, it.commit)
    same = len(chosen) - len(coming) - len(differing)
    return Shared(remote, "fetch", [_name(it) for it in coming], same, differing)


def _both(remote: str) -> tuple[Repository, str]:
    """Return the repository here and the address of the remote: by its name, or as it was given."""
    repository = git.find(project_directory(), environment())
    try:
        said = repository.call("config", "--get-all", f"remote.{remote}.url").decode("utf-8", "surrogateescape")
    except GitError:
        said = ""
    address = said.partition("\n")[0]
    if not address:
        looks_like_one = any(mark in remote for mark in (":", "/")) or os.path.isdir(remote)
        if not looks_like_one or remote.startswith("-"):
            raise _no_remote(repository, remote)
        address = remote
    if "::" in address:
        raise UsageError(
            f"{one_line(address)} names a program of its own for the way: that is not run",
            help="give the address of a repository: https://…, ssh://…, or a path",
        )
    is_path = ":" not in address.partition("/")[0]
    # From where the address was written: a configured one from the top, a typed one from here.
    return repository, os.path.join(repository.top if said else project_directory(), address) if is_path else address


def _no_remote(repository: Repository, remote: str) -> UsageError:
    try:
        known = repository.call("remote").decode("utf-8", "replace").split()
    except GitError:
        known = []
    like = nearest(remote, known)
    advice = f"there are {listed(known)}" if known else "add it: git remote add NAME ADDRESS"
    return UsageError(f"there is no remote {one_line(remote)}", help=f"did you mean {like}?" if like else advice)


def _there(private: Private, address: str) -> dict[str, str]:
    """Return the refs of ours that a remote has, each with its commit."""
    said = private.call("ls-remote", "--refs", "--quiet", "--", address, f"{worktree_refs.PREFIX}*", is_apart=False)
    lines = said.decode("utf-8", "surrogateescape").splitlines()
    return {ref: commit for commit, _, ref in (line.partition("\t") for line in lines)}


def _kept(ref: str, commit: str) -> Kept | None:
    kept = worktree_refs.read(ref, commit)
    return kept if kept is not None and RUN_ID.match(kept.run_id) else None


def _chosen(refs: Sequence[Kept], names: Sequence[str]) -> list[Kept]:
    """Return those that were named, each once, in order. Raises CheckpointError for a name that is none of them."""
    if not names:
        return list(refs)
    chosen: dict[Kept, None] = {}
    for name in names:
        run_id, number = split(name)
        found = [it for it in refs if it.run_id == run_id and number in (None, it.number)]
        if not found:
            runs = dict.fromkeys(it.run_id for it in refs)
            raise CheckpointError(
                f"no files are kept for {one_line(name)}",
                help=f"they are for {listed(runs)}" if runs else "keep them: workflow run --git",
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _name(kept: Kept) -> str:
    return f"{kept.run_id}@{kept.number}"
