"""What is removed takes the commits of its files along: the refs of runs and snapshots that go."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from workflow.errors import WorkflowError


class KeptTrees:
    """The kept files of the runs of one project. Git is asked when the first of them is to go, and once.

    Nothing is raised: `problem` is the first thing git objected to, empty when all went well.
    """

    def __init__(self, project: str, environ: Mapping[str, str]) -> None:
        self._project = project
        self._environ = environ
        self._numbers: dict[str, set[int]] | None = None
        self.problem = ""

    def forget(self, run_id: str, gone: Collection[int] | None = None) -> None:
        """Remove the refs of a run, all or those of some snapshots. Whoever calls holds the run, or it is gone."""
        if self._numbers is None:
            self._numbers = self._ask()
        there = self._numbers.get(run_id, set())
        if not there or (gone is not None and there.isdisjoint(gone)):
            return
        from workflow.checkpoint import git, worktree_refs

        try:
            worktree_refs.remove_of(git.find(self._project, self._environ), run_id, gone)
        except WorkflowError as error:
            self.problem = self.problem or error.message

    def _ask(self) -> dict[str, set[int]]:
        """Return the snapshots that have refs, by run; without git where there is no repository around."""
        if not _is_in_repository(self._project):
            return {}
        from workflow.checkpoint import git, worktree_refs

        found: dict[str, set[int]] = {}
        try:
            repository = git.find(self._project, self._environ)
            for it in worktree_refs.of_this_project(repository, worktree_refs.kept(repository)):
                found.setdefault(it.run_id, set()).add(it.number)
        except WorkflowError:  # no work tree that anything was ever kept of
            return {}
        return found


def _is_in_repository(project: str) -> bool:
    """Return whether there is a `.git` here or above, as cheaply as can be."""
    directory = os.path.realpath(project)
    while not os.path.lexists(os.path.join(directory, ".git")):
        above = os.path.dirname(directory)
        if above == directory:
            return False
        directory = above
    return True
