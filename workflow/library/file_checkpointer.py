"""Checkpoints in a directory of runs: the same that the command line looks at, and carries on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from workflow import session
from workflow.checkpoint import packed, snapshots, store
from workflow.checkpoint.layout import ABANDONED, RUN_ID, CheckpointRoot, RunLayout
from workflow.errors import CheckpointError, UsageError
from workflow.keeping import cleaning, listing, showing
from workflow.library.checkpointers import STANDARD_INTERVAL, Checkpoint, Found, Interval, interval_in_s, not_found
from workflow.options import Options
from workflow.rerunning import is_complete


class _Run(NamedTuple):
    """A run in short; `is_over`: a resume without a name passes it over."""

    layout: RunLayout
    workflow: str
    run_name: str
    is_over: bool
    is_archive: bool


class FileCheckpointer:
    """Keeps each run in a directory of its own below `path` (`.checkpoints` of most projects).

    Every completed step is recorded there by itself and at once, whatever is said here: the words below say when a
    snapshot is made that one can look at and go back to. A failure and the end of a run always make one;
    `auto_save=False` leaves only those. Of each run the newest `max_checkpoints` snapshots stay (None: 50). `compress`:
    a run that completed becomes one archive.
    """

    keeping = None

    def __init__(
        self,
        path: str | os.PathLike[str] = ".checkpoints",
        *,
        auto_save: bool = True,
        save_after_step: bool = True,
        save_before_step: bool = False,
        save_interval: Interval = STANDARD_INTERVAL,
        max_checkpoints: int | None = None,
        compress: bool = False,
        private: bool = False,
    ) -> None:
        """Raises UsageError for a value that makes no sense."""
        if max_checkpoints is not None and not 1 <= max_checkpoints <= 10_000:
            raise UsageError("max_checkpoints: from 1 to 10,000 are kept", help="leave it out to keep 50")
        self.place = os.path.abspath(os.fspath(path))
        self.save_before_step = auto_save and save_before_step
        self._every = 1 if auto_save and save_after_step else 0
        self._interval_s = interval_in_s(save_interval) if auto_save else None
        self._most = max_checkpoints
        self._settings: dict[str, Any] = {"compress": True} if compress else {}
        if private:
            self._settings["private"] = True

    # ------------------------------------------------------------------ for everybody

    def list(self, run: str | None = None, *, workflow: str | None = None) -> Sequence[Checkpoint]:
        """Return the checkpoints of a run (by id or name), of a workflow (by name), or all; oldest first.

        A run that has none yet, or is an archive, is listed as a whole: under its own id, with number 0.
        """
        found: list[Checkpoint] = []
        for it in self._runs(run, workflow):
            found.extend(self._snapshots(it) or [self._whole(it)])
        return found

    def latest(self, run: str | None = None, *, workflow: str | None = None) -> Checkpoint:
        """Return the checkpoint that was made last. Raises CheckpointNotFoundError."""
        found = self.list(run, workflow=workflow)
        if not found:
            raise self._not_found(run, workflow)
        return found[-1]

    def load(self, checkpoint_id: str) -> dict[str, Any]:
        """Return a checkpoint (`RUN@N`), or a run as it stands now (`RUN`), as `workflow checkpoint show --json` does.

        Raises CheckpointNotFoundError, CheckpointError (damaged).
        """
        return showing.shown(self._root, self._resolved(checkpoint_id)).document

    def delete(self, checkpoint_id: str) -> None:
        """Remove one checkpoint (`RUN@N`), or a run with all of them (`RUN`). Durable on return.

        Raises CheckpointNotFoundError; UsageError for the newest one of a run, which stays as long as the run, and for
        a run that is pinned; RunBusyError for one that goes on; NotRecordedError.
        """
        self._remove([self._resolved(checkpoint_id)])

    def delete_all(self, run: str | None = None, *, workflow: str | None = None) -> int:
        """Remove the runs of that id, name or workflow, with all their checkpoints; return how many runs.

        Without either, all runs. Raises as `delete` does; then those that came before it are gone.
        """
        return self._remove([it.layout.run_id for it in self._runs(run, workflow)])

    def size_bytes(self) -> int:
        """Return how much all runs take."""
        runs = listing.runs(self._root, with_size=True)
        return sum(it["size_bytes"] or 0 for it in runs)

    # ------------------------------------------------------------------ for Workflow

    def options(self, options: Options) -> Options:
        """Return the options of a run that is kept here."""
        return options._replace(
            checkpoint_dir=self.place,
            checkpoint_every=self._every,
            checkpoint_interval_s=self._interval_s or 0.0,
            max_snapshots=self._most,
        )

    def settings(self) -> Mapping[str, Any]:
        """Return what belongs into `checkpoints` of the definition."""
        return self._settings

    def find(self, name: str | None, workflow: str) -> Found:
        """Return where a resume of this workflow begins; see `Checkpointer.find`."""
        if name is not None:
            return Found(self._resolved(name))
        runs = list(self._runs(None, workflow))
        if not runs:
            raise self._not_found(None, workflow)
        return Found(next((it for it in reversed(runs) if not it.is_over), runs[-1]).layout.run_id)

    # ------------------------------------------------------------------

    @property
    def _root(self) -> CheckpointRoot:
        return CheckpointRoot(self.place)

    def _runs(self, run: str | None, workflow: str | None) -> Iterator[_Run]:
        """Yield the runs there are, oldest first; what cannot be read is passed over, unless its id was given."""
        for run_id in store.run_ids(self._root):
            if run is not None and RUN_ID.match(run) and run != run_id:
                continue
            it = _read(self._root.run(run_id))
            if workflow in (None, it.workflow) and run in (None, run_id, it.run_name):
                yield it

    def _snapshots(self, run: _Run) -> Sequence[Checkpoint]:
        found = []
        for entry in [] if run.is_archive else snapshots.listed(run.layout):
            try:
                said = snapshots.read(run.layout, entry.number)
                size_bytes = os.lstat(entry.path).st_size
            except (CheckpointError, OSError):  # damaged, or trimmed meanwhile: `load` says which
                said, size_bytes = {}, 0
            found.append(
                Checkpoint(
                    snapshots.snapshot_id(run.layout, entry.number),
                    run.layout.run_id,
                    entry.number,
                    run.workflow,
                    run.run_name,
                    entry.trigger,
                    str(said.get("name") or ""),
                    said.get("created"),
                    said.get("status"),
                    said.get("completed_tasks"),
                    said.get("total_tasks"),
                    size_bytes,
                )
            )
        return found

    def _whole(self, run: _Run) -> Checkpoint:
        said = listing.described(run.layout)
        return Checkpoint(
            run.layout.run_id,
            run.layout.run_id,
            0,
            run.workflow,
            run.run_name,
            "completion" if said["status"] == "completed" else "auto",
            "",
            said["updated_at"],
            said["status"],
            said["completed_tasks"],
            said["total_tasks"],
            said["size_bytes"] or 0,
        )

    def _resolved(self, name: str) -> str:
        """Return `RUN` or `RUN@N` for what a person called it. Raises CheckpointNotFoundError."""
        run, at, number = name.partition("@")
        known = [it.layout for it in self._runs(run, None)] if run else []
        if not known:
            raise self._not_found(name, None)
        layout = known[-1]
        if at and (
            packed.archive_of(layout) is None and all(number != str(entry.number) for entry in snapshots.listed(layout))
        ):
            raise self._not_found(name, None)
        return f"{layout.run_id}{at}{number}"

    def _not_found(self, name: str | None, workflow: str | None) -> CheckpointError:
        there = [it.id for it in self.list()]
        return not_found(name, workflow, self.place, there)

    def _remove(self, names: Sequence[str]) -> int:
        if not names:
            return 0
        disk = session.open_disk()
        try:
            done = cleaning.carry_out(self._root, disk, cleaning.propose_delete(self._root, names))
        finally:
            disk.close()
        if done.error is not None:
            raise done.error
        return len(done.removed)


def _read(layout: RunLayout) -> _Run:
    """Return a run in short; one that cannot be read has no names, and a resume without a name passes it over."""
    try:
        archive = packed.archive_of(layout)
        if archive is not None:
            summary = packed.manifest_of(layout, archive).summary
            over = summary.get("status") in ("completed", "abandoned")
            return _Run(layout, str(summary.get("name", "")), str(summary.get("run_name") or ""), over, True)
        stored = store.read_definition(layout)
        is_over = os.path.lexists(f"{layout.path}/{ABANDONED}") or is_complete(layout, stored)
        name = str(stored.get("definition", {}).get("name", ""))
        return _Run(layout, name, str(stored.get("run_name") or ""), is_over, False)
    except (CheckpointError, OSError):
        return _Run(layout, "", "", True, False)
