"""Who keeps the checkpoints of a workflow: in a directory of runs, or in a store."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from blake3 import blake3

from workflow.checkpoint import store
from workflow.checkpoint.layout import RUN_ID, CheckpointRoot
from workflow.checkpoint.temporary import make_private_directory, remove_private_directory
from workflow.definition.options import duration_s
from workflow.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    StoreError,
    UsageError,
    WorkflowError,
    nearest,
    one_line,
)
from workflow.errors import listed as in_words
from workflow.library.sqlite_store import SqliteStore
from workflow.library.stores import MemoryStore, StateStore, Stored
from workflow.library.talking import Keeping, Restored, Save
from workflow.options import Options
from workflow.session import environment

Interval = float | str | None
STANDARD_INTERVAL = "5m"
TEMPORARY = "workflow-kept-"


class Checkpoint(NamedTuple):
    """One checkpoint. `id` is `RUN@N`; `trigger` is manual, auto, error or completion; `name` says more, or nothing.

    `run_name` is what the run goes by besides its id (`run_id=` of `Workflow.run`). `created` is UTC as text.
    """

    id: str
    run_id: str
    number: int
    workflow: str
    run_name: str
    trigger: str
    name: str
    created: str | None
    status: str | None
    completed_tasks: int | None
    total_tasks: int | None
    size_bytes: int


class Found(NamedTuple):
    """What a resume begins from: the name for `Options.resume`, and of a store the state that is put back first."""

    resume: str
    restored: Restored | None = None


class Checkpointer:
    """Keeps checkpoints in a store of anybody's.

    `save_after_step` and `save_before_step` say when, `save_interval` (seconds, or a text like `5m`; None: never) how
    often at least while something happens. A failure and the end of a run are always kept; `auto_save=False` leaves
    only those. Of each run the newest `max_checkpoints` stay (None: all).

    While a run goes on it lies in a directory of its own below `working_directory`, which outlives a kill, so that the
    next resume has it again; None: in a temporary one.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        auto_save: bool = True,
        save_after_step: bool = True,
        save_before_step: bool = False,
        save_interval: Interval = STANDARD_INTERVAL,
        max_checkpoints: int | None = None,
        working_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        """Raises UsageError for a value that makes no sense."""
        if max_checkpoints is not None and max_checkpoints < 1:
            raise UsageError("max_checkpoints: at least 1 is kept", help="leave it out to keep all")
        self.store = store
        self.max_checkpoints = max_checkpoints
        self._directory = "" if working_directory is None else os.path.abspath(os.fspath(working_directory))
        self._after_step = auto_save and save_after_step
        self._before_step = auto_save and save_before_step
        self._interval_s = interval_in_s(save_interval) if auto_save else None
        self._is_automatic = auto_save
        self._is_temporary = working_directory is None
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """Where the checkpoints are, for messages."""
        return str(getattr(self.store, "path", "")) or f"the {type(self.store).__name__}"

    # ------------------------------------------------------------------ for everybody

    def list(self, run: str | None = None, *, workflow: str | None = None) -> Sequence[Checkpoint]:
        """Return the checkpoints of a run (by id or name), of a workflow (by name), or all; oldest first.

        Raises StoreError.
        """
        run_id = run if run is not None and RUN_ID.match(run) else None
        found = [_checkpoint(it) for it in self._call("list", run_id)]
        return [it for it in found if run in (None, it.run_id, it.run_name) and workflow in (None, it.workflow)]

    def latest(self, run: str | None = None, *, workflow: str | None = None) -> Checkpoint:
        """Return the checkpoint that was made last. Raises CheckpointNotFoundError, StoreError."""
        found = self.list(run, workflow=workflow)
        if not found:
            self._not_found(run, workflow)
        return found[-1]

    def load(self, checkpoint_id: str) -> dict[str, Any]:
        """Return what a checkpoint says (`RUN@N`; of a run, the latest): the keys that `list` shows, as a dict.

        Its bytes are read, and are what was saved. Raises CheckpointNotFoundError, CheckpointError (damaged),
        StoreError.
        """
        checkpoint = self._named(checkpoint_id)
        self._state(checkpoint)
        return checkpoint._asdict()

    def delete(self, checkpoint_id: str) -> None:
        """Remove one checkpoint (`RUN@N`). Raises CheckpointNotFoundError, StoreError."""
        run_id, number = _split(checkpoint_id)
        if number is None or not self._call("delete", run_id, number):
            self._not_found(checkpoint_id)

    def delete_all(self, run: str | None = None, *, workflow: str | None = None) -> int:
        """Remove the checkpoints of a run or a workflow; return how many. Without either: all there are.

        Raises StoreError.
        """
        return sum(self._call("delete", it.run_id, it.number) is True for it in self.list(run, workflow=workflow))

    def size_bytes(self) -> int:
        """Return how much all checkpoints take."""
        return sum(it.size_bytes for it in self.list())

    # ------------------------------------------------------------------ for Workflow

    @property
    def keeping(self) -> Keeping:
        """When states are kept, and where runs lie meanwhile: all of them in one place, so no two get one id."""
        with self._lock:
            if not self._directory:
                self._directory = make_private_directory(environment().get("TMPDIR") or "/tmp", TEMPORARY)
                weakref.finalize(self, forget, self._directory)
        return Keeping(
            self._after_step,
            self._before_step,
            self._interval_s,
            self._is_automatic,
            self._directory,
            self._is_temporary,
        )

    def options(self, options: Options) -> Options:
        """Return the options of a run that this keeps."""
        return options._replace(checkpoint_every=0, checkpoint_interval_s=0.0)

    def settings(self) -> Mapping[str, Any]:
        """Return what belongs into `checkpoints` of the definition."""
        return {"private": True}

    def find(self, name: str | None, workflow: str) -> Found:
        """Return where a resume of this workflow begins; `name` is a checkpoint, a run, what it goes by, or None.

        Raises CheckpointNotFoundError, CheckpointError, StoreError.
        """
        checkpoint = self._named(name) if name is not None else self._unfinished(workflow)
        is_older = name is not None and "@" in name and checkpoint.id != self.latest(checkpoint.run_id).id
        restored = Restored(checkpoint.run_id, self._state(checkpoint), is_older)
        return Found(checkpoint.run_id, restored)

    def keep(self, save: Save) -> None:
        """Keep a state that the process of the run sent. Raises StoreError."""
        facts = {**save.facts, "digest": _digest(save.state)}
        self._call("save", save.run_id, facts, save.state)
        if self.max_checkpoints is not None:
            with self._lock:
                for it in list_of(self._call("list", save.run_id))[: -self.max_checkpoints]:
                    self._call("delete", it.run_id, it.number)

    # ------------------------------------------------------------------

    def _unfinished(self, workflow: str) -> Checkpoint:
        """Return the latest checkpoint of the newest run that is not complete; of the newest where all are."""
        last = {it.run_id: it for it in self.list(workflow=workflow)}
        if not last:
            self._not_found(None, workflow)
        for checkpoint in reversed(last.values()):
            if checkpoint.status != "completed":
                return checkpoint
        return next(reversed(last.values()))

    def _named(self, name: str) -> Checkpoint:
        run, number = _split(name)
        found = [it for it in self.list(run) if number in (None, it.number)]
        if not found:
            self._not_found(name)
        return found[-1]

    def _state(self, checkpoint: Checkpoint) -> bytes:
        try:
            state = self._call("load", checkpoint.run_id, checkpoint.number)
        except KeyError:
            self._not_found(checkpoint.id)
        facts = [it.facts for it in self._call("list", checkpoint.run_id) if it.number == checkpoint.number]
        if not isinstance(state, bytes) or (facts and facts[0].get("digest") != _digest(state)):
            raise CheckpointError(
                f"checkpoint {checkpoint.id} in {one_line(self.place)} is damaged: it is not what was saved",
                help="go back to an earlier one: checkpointer.list() tells which there are",
            )
        return state

    def _not_found(self, name: str | None, workflow: str | None = None) -> NoReturn:
        there = [it.id for it in self.list()]
        raise not_found(name, workflow, self.place, there)

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call the store; whatever it raises is told as its failure."""
        try:
            return getattr(self.store, method)(*arguments)
        except (WorkflowError, KeyError) as error:
            if isinstance(error, KeyError) and method != "load":
                raise self._failure(method, error) from error
            raise
        except Exception as error:
            raise self._failure(method, error) from error

    def _failure(self, method: str, error: Exception) -> StoreError:
        return StoreError(
            f"the store of checkpoints failed to {method}: {type(error).__name__}: {one_line(str(error))}",
            help=f"look at {one_line(self.place)}; what the run did so far is not lost: resume it then",
        )


class MemoryCheckpointer(Checkpointer):
    """Keeps checkpoints as long as it lives itself: for tests."""

    def __init__(
        self,
        *,
        auto_save: bool = True,
        save_after_step: bool = True,
        save_before_step: bool = False,
        save_interval: Interval = STANDARD_INTERVAL,
        max_checkpoints: int | None = None,
    ) -> None:
        super().__init__(
            MemoryStore(),
            auto_save=auto_save,
            save_after_step=save_after_step,
            save_before_step=save_before_step,
            save_interval=save_interval,
            max_checkpoints=max_checkpoints,
        )

    @property
    def place(self) -> str:
        return "the memory of this program"


class SqliteCheckpointer(Checkpointer):
    """Keeps checkpoints in one file of SQLite; a run that goes on lies beside it, in `PATH-runs`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        auto_save: bool = True,
        save_after_step: bool = True,
        save_before_step: bool = False,
        save_interval: Interval = STANDARD_INTERVAL,
        max_checkpoints: int | None = None,
    ) -> None:
        database = SqliteStore(path)
        super().__init__(
            database,
            auto_save=auto_save,
            save_after_step=save_after_step,
            save_before_step=save_before_step,
            save_interval=save_interval,
            max_checkpoints=max_checkpoints,
            working_directory=f"{database.path}-runs",
        )


def forget(directory: str) -> None:
    """Remove a temporary directory of runs; it stays while there is a run in it that no store has."""
    root = CheckpointRoot(directory)
    if not any(os.path.lexists(root.run(run_id).definition) for run_id in store.run_ids(root)):
        remove_private_directory(directory)


def list_of(found: Any) -> list[Stored]:
    """Return what a store listed as a list."""
    return list(found)


def interval_in_s(interval: Interval) -> float | None:
    """Return an interval in seconds; None: never. Raises UsageError."""
    if interval is None or interval == 0:
        return None
    seconds = duration_s(interval)
    if seconds is None:
        raise UsageError(
            f"save_interval={interval!r}: wants seconds, or a text like 5m or 1h30m", help="None: not by the clock"
        )
    return seconds


def not_found(name: str | None, workflow: str | None, place: str, there: list[str]) -> CheckpointNotFoundError:
    """Return the error for a checkpoint that is not there, with what may be the reason."""
    if name is None:
        of = f" of workflow {one_line(workflow)}" if workflow else ""
        what = f"there is none{of} in {one_line(place)}"
    else:
        what = f"there is no {one_line(name[:200])} in {one_line(place)}"
    runs = list(dict.fromkeys(it.partition("@")[0] for it in there))
    near = nearest(name, [*there, *runs]) if name and len(there) < 2000 else None
    known = f"there are: {in_words(reversed(runs))}" if runs else "nothing is kept there"
    meant = f"did you mean {near}? " if near else ""
    return CheckpointNotFoundError(
        f"Checkpoint not found: {what}",
        help=f"{meant}look at the spelling of the id, at the place ({one_line(place)}), and whether it was deleted; "
        f"{known}",
    )


def _checkpoint(stored: Stored) -> Checkpoint:
    facts = stored.facts
    return Checkpoint(
        f"{stored.run_id}@{stored.number}",
        stored.run_id,
        stored.number,
        str(facts.get("workflow", "")),
        str(facts.get("run_name") or ""),
        str(facts.get("trigger", "")),
        str(facts.get("name") or ""),
        facts.get("created"),
        facts.get("status"),
        facts.get("completed_tasks"),
        facts.get("total_tasks"),
        stored.size_bytes,
    )


def _split(name: str) -> tuple[str, int | None]:
    run, at, digits = name.partition("@")
    if not at:
        return run, None
    return run, int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1


def _digest(state: bytes) -> str:
    return f"blake3:{blake3(state).hexdigest()}"
