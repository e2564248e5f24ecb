"""The refs of kept work trees: `refs/workflow/RUN/N` is the commit of the files as snapshot `RUN@N` met them.

A ref is made once and never moved, and removed only while it is the one that was looked at. Runs of two projects in
one repository may have the same id: the commit says of which project it is, and only that one removes it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from workflow.checkpoint.git import GitError, Repository
from workflow.checkpoint.layout import RUN_ID
from workflow.errors import one_line

PREFIX = "refs/workflow/"
# Where the files go that a restore is about to overwrite, when no run is there that could have a snapshot of them.
BEFORE_RESTORE = "before_restore"
# What people look for: git log --all --grep 'workflow checkpoint'
PHRASE = "workflow checkpoint"

_REF = re.compile(rf"{PREFIX}([^/@]+)/([0-9]{{1,18}})\Z")
_OBJECT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_PROJECT = "Workflow-Project: "


class Kept(NamedTuple):
    """A ref of ours. `project` is what its commit says of where the project lies in the work tree, None: nothing."""

    run_id: str
    number: int
    commit: str
    project: str | None
    subject: str

    @property
    def ref(self) -> str:
        return ref_of(self.run_id, self.number)


def ref_of(run_id: str, number: int) -> str:
    return f"{PREFIX}{run_id}/{number}"


def message(
    repository: Repository, checkpoint_id: str, *, step: str, trigger: str, name: str, about: Sequence[tuple[str, str]]
) -> str:
    """Return the message of a commit: one line to look for, then what the snapshot says, then where it belongs."""
    at = f" step {one_line(step)}" if step else ""
    called = f": {one_line(name)}" if name else ""
    lines = [f"{PHRASE} {checkpoint_id}{at} ({trigger}){called}", ""]
    lines += [f"{key}: {one_line(value)}" for key, value in about]
    lines += ["", f"Workflow-Checkpoint: {checkpoint_id}", f"{_PROJECT}{_project(repository)}"]
    return "\n".join([*lines, ""])


def _project(repository: Repository) -> str:
    # As JSON: any name fits into one line of ASCII.
    return json.dumps(repository.prefix)


def keep(repository: Repository, run_id: str, number: int, commit: str) -> None:
    """Make the ref of a snapshot; durable as git makes refs. Raises GitError, also where there is one already."""
    ref = ref_of(run_id, number)
    repository.call("update-ref", "--no-deref", ref, commit, repository.no_object.decode("ascii"))


def kept(repository: Repository, run_id: str | None = None) -> list[Kept]:
    """Return the refs there are, of one run or of all, by run and number. Raises GitError."""
    under = PREFIX if run_id is None else f"{PREFIX}{run_id}/"
    said = repository.call("for-each-ref", "--format=%(refname)%00%(objectname)%00%(contents)%00", under)
    words = said.decode("utf-8", "surrogateescape").split("\0")
    found = []
    for at in range(0, len(words) - 2, 3):
        match = _REF.match(words[at].lstrip("\n"))
        if match is None or not _OBJECT.match(words[at + 1]):
            continue
        text = words[at + 2]
        projects = [line.removeprefix(_PROJECT) for line in text.splitlines() if line.startswith(_PROJECT)]
        place = projects[-1] if projects else None
        found.append(Kept(match[1], int(match[2]), words[at + 1], place, text.partition("\n")[0]))
    return sorted(found)


def of_this_project(repository: Repository, refs: Iterable[Kept]) -> list[Kept]:
    """Return those refs whose commits say that they are of the project the repository was found for."""
    own = _project(repository)
    return [it for it in refs if it.project == own]


def remove(repository: Repository, refs: Collection[Kept]) -> None:
    """Remove refs that are still what they were when they were looked at. Raises GitError; then none was removed."""
    if not refs:
        return
    given = b"".join(f"delete {it.ref}\0{it.commit}\0".encode("ascii") for it in refs)
    repository.call("update-ref", "--stdin", "-z", given=given)


def remove_of(repository: Repository, run_id: str, gone: Collection[int] | None = None) -> int:
    """Remove the refs of a run of this project, all or those of some snapshots; return how many. Raises GitError."""
    found = of_this_project(repository, kept(repository, run_id))
    going = [it for it in found if gone is None or it.number in gone]
    remove(repository, going)
    return len(going)


def sweep_locks(repository: Repository, run_id: str) -> list[str]:
    """Return the locks that a machine which died left on refs of a run; whoever calls holds the run."""
    directory = os.path.join(os.path.dirname(repository.objects), "refs", "workflow", run_id)
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [os.path.join(directory, name) for name in names if name.endswith(".lock")] if RUN_ID.match(run_id) else []


def read(ref: str, commit: str) -> Kept | None:
    """Return what a ref of ours and its commit stand for; None when it is none. What the commit says is not known."""
    match = _REF.match(ref)
    return Kept(match[1], int(match[2]), commit, None, "") if match and _OBJECT.match(commit) else None


def find(repository: Repository, name: str, number: int) -> Kept | None:
    """Return the ref of a snapshot; None when there is none. Raises GitError."""
    try:
        return next((it for it in kept(repository, name) if it.number == number), None)
    except GitError as error:
        if "invalid" in error.message:
            return None
        raise
