"""Where checkpoints are kept besides run directories: the seam, and the store that lives in memory."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Facts = Mapping[str, Any]


class Stored(NamedTuple):
    """A checkpoint as a list shows it: its run, its number in that run (from 1), what was said of it, its bytes."""

    run_id: str
    number: int
    facts: Facts
    size_bytes: int


class StateStore(Protocol):
    """Keeps checkpoints: bytes, under the id of a run and a number.

    Called from any thread, from several at once, and, where the store says that it is durable, from several processes
    at once. `workflow.testing.StateStoreContract` is the suite that tells whether a store is right. What a store raises
    besides KeyError of `load` stops the run whose state it was to keep.
    """

    def save(self, run_id: str, facts: Facts, state: bytes) -> int:
        """Keep a checkpoint under the next number of its run, and return that number.

        Whole or not at all, and never in place of another. A number is given once, also where its checkpoint was
        deleted. `facts` are JSON values under texts. A durable store has it on the disk when this returns.
        """
        ...

    def load(self, run_id: str, number: int) -> bytes:
        """Return the very bytes that were saved. Raises KeyError when there are none."""
        ...

    def list(self, run_id: str | None = None) -> Sequence[Stored]:
        """Return the checkpoints of a run (None: of all), in the order in which they were saved; maybe none."""
        ...

    def delete(self, run_id: str, number: int) -> bool:
        """Remove a checkpoint; return whether there was one."""
        ...


class MemoryStore:
    """Keeps checkpoints as long as it lives itself: for tests, and for runs that need not outlive their program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], tuple[Stored, bytes]] = {}
        self._last: dict[str, int] = {}

    def save(self, run_id: str, facts: Facts, state: bytes) -> int:
        """See `StateStore.save`."""
        with self._lock:
            number = self._last[run_id] = self._last.get(run_id, 0) + 1
            stored = Stored(run_id, number, copy.deepcopy(dict(facts)), len(state))
            self._kept[run_id, number] = (stored, bytes(state))
            return number

    def load(self, run_id: str, number: int) -> bytes:
        """See `StateStore.load`."""
        with self._lock:
            return self._kept[run_id, number][1]

    def list(self, run_id: str | None = None) -> Sequence[Stored]:
        """See `StateStore.list`."""
        with self._lock:
            kept = [stored for stored, _ in self._kept.values()]
        return [it._replace(facts=copy.deepcopy(it.facts)) for it in kept if run_id in (None, it.run_id)]

    def delete(self, run_id: str, number: int) -> bool:
        """See `StateStore.delete`."""
        with self._lock:
            return self._kept.pop((run_id, number), None) is not None
