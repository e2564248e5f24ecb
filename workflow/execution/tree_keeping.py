"""Keeping the files of the work tree beside the loop: one thread that lets git commit them, a commit a snapshot.

Nothing rests on these commits. Whatever git objects to is told once, and the run goes on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from queue import SimpleQueue

from workflow.checkpoint import snapshots, worktree, worktree_refs
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.git import Repository
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.worktree import Guard, Private
from workflow.errors import NotRecordedError, WorkflowError
from workflow.events import Notice
from workflow.execution.snapshotting import ToKeep, TreeKept

# No step waits longer than this for its forerunner's files to be looked at, whatever git does.
MOST_HELD_S = 10.0
# How long the end of a run waits for git; a commit that takes longer is not waited for.
MOST_AT_THE_END_S = 300.0


class TreeKeeper:
    """Keeps the work tree of one run. The engine asks; the thread answers with a TreeKept through `put`."""

    def __init__(
        self,
        repository: Repository,
        guard: Guard,
        layout: RunLayout,
        disk: Disk,
        put: Callable[[object], None],
        *,
        cache: str,
        outside: Collection[str],
    ) -> None:
        """`cache` is where our own index may stay; nothing below `outside` is kept."""
        self._repository = repository
        self._guard = guard
        self._layout = layout
        self._disk = disk
        self._put = put
        self._cache = cache
        self._outside = tuple(outside)
        self._private: Private | None = None
        self._objections: set[str] = set()
        self._late: list[Notice] = []
        self._asked = 0
        self._looked = threading.Condition()
        self._looked_at = 0
        self._asked_at = 0.0
        self._jobs: SimpleQueue[ToKeep | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="workflow-git", daemon=True)
        self._thread.start()

    @property
    def is_looking(self) -> bool:
        """Whether files are still to be looked at for a snapshot that was made: what starts now would change them."""
        return self._looked_at < self._asked and time.monotonic() - self._asked_at < MOST_HELD_S

    def keep(self, wanted: ToKeep) -> None:
        """Have the files kept as they are now; returns at once."""
        self._asked += 1
        self._asked_at = time.monotonic()
        self._jobs.put(wanted)

    def lacks(self, number: int) -> bool:
        """Return whether the files of a snapshot are not kept; False where git does not say."""
        try:
            return worktree_refs.find(self._repository, self._layout.run_id, number) is None
        except WorkflowError:
            return False

    def wait(self) -> None:
        """Wait until the files of all snapshots so far were looked at, or for as long as steps are kept back."""
        with self._looked:
            self._looked.wait_for(lambda: self._looked_at >= self._asked, MOST_HELD_S)

    def close(self) -> list[Notice]:
        """Wait until everything is committed; return what people should know of the last of it."""
        self._jobs.put(None)
        self._thread.join(MOST_AT_THE_END_S)
        if self._thread.is_alive():
            return [Notice("git is still busy with the last checkpoint, and is left to it", "look: git status")]
        return self._late

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        try:
            self._sweep()
            # Most of the work is looking at everything for the first time: that is done while the first step runs.
            self._open().capture(self._guard, self._outside)
        except WorkflowError:  # the first snapshot meets the same, and says so
            pass
        except Exception as error:  # noqa: BLE001 a thread that dies in silence would be missed by nobody
            self._object(_bug(error))
        while (wanted := self._jobs.get()) is not None:
            together, is_last = self._taken_with(wanted)
            self._keep_all(together)
            if is_last:
                break
        if self._private is not None:
            self._private.close()

    def _taken_with(self, first: ToKeep) -> tuple[list[ToKeep], bool]:
        """Return all snapshots that wait to be kept: they have the same files, and one look is enough."""
        together = [first]
        while not self._jobs.empty():
            wanted = self._jobs.get()
            if wanted is None:
                return together, True
            together.append(wanted)
        return together, False

    def _keep_all(self, together: list[ToKeep]) -> None:
        tree = None
        try:
            captured = self._open().capture(self._guard, self._outside)
            tree = captured.tree
            if captured.large:
                names = worktree.large_text(captured.large)
                self._object(Notice(names, "ignore them (.gitignore), or raise `max_file_mb` in `git:`"))
        except WorkflowError as error:
            self._object(Notice(f"no git checkpoint was made: {error.message}", error.help))
        except Exception as error:  # noqa: BLE001 steps wait for this thread
            self._object(_bug(error))
        with self._looked:
            self._looked_at += len(together)
            self._looked.notify_all()
        self._put(TreeKept(tuple(self._late)))
        self._late = []
        if tree is None:
            return
        try:
            self._commit(self._open(), tree, together)
        except WorkflowError as error:
            self._object(Notice(f"no git checkpoint was made: {error.message}", error.help))
        except Exception as error:  # noqa: BLE001 as above
            self._object(_bug(error))

    def _commit(self, private: Private, tree: str, together: list[ToKeep]) -> None:
        head = self._repository.head()
        parents = [] if head is None else [head]
        run_id = self._layout.run_id
        for it in together:
            text = worktree_refs.message(
                self._repository,
                snapshots.snapshot_id(self._layout, it.number),
                step=it.step,
                trigger=it.trigger,
                name=it.name,
                about=it.about,
            )
            worktree_refs.keep(self._repository, run_id, it.number, private.commit(tree, text, parents))
        # What is no snapshot any more has no commit either.
        there = {entry.number for entry in snapshots.listed(self._layout)}
        mine = worktree_refs.of_this_project(self._repository, worktree_refs.kept(self._repository, run_id))
        worktree_refs.remove(self._repository, [ref for ref in mine if ref.number not in there])

    def _open(self) -> Private:
        if self._private is None:
            self._private = worktree.open_slot(self._cache, self._repository, self._disk)
        return self._private

    def _sweep(self) -> None:
        """Remove the locks of our own refs that are left where a machine died: we hold the run."""
        for path in worktree_refs.sweep_locks(self._repository, self._layout.run_id):
            if os.path.lexists(path):
                with suppress(NotRecordedError):
                    self._disk.remove(path, sync=False)

    def _object(self, notice: Notice) -> None:
        """Say what is wrong, once: a run of ten thousand steps is not to say it ten thousand times."""
        if notice.message not in self._objections:
            self._objections.add(notice.message)
            self._late.append(notice)


def _bug(error: Exception) -> Notice:
    return Notice(f"no git checkpoint was made: {error!r} (this is a bug in workflow)", "report it")
