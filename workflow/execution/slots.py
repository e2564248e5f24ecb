"""What may run side by side: so many steps, so many processors, so much memory, and each named lock once."""

from __future__ import annotations

import os

from workflow.checkpoint.named_locks import NamedLocks
from workflow.model import Limits, Step

LOCK_LOOK_S = 0.25
TOLD_AFTER_S = 1.0
TOLD_AGAIN_S = 60.0


class Slots:
    """Counts what running steps have taken. `jobs` is how many may run at once."""

    def __init__(self, jobs: int, limits: Limits, named_locks: NamedLocks) -> None:
        self.jobs = jobs
        self._cpus = limits.cpus if limits.cpus is not None else float(processors())
        self._memory_bytes = limits.memory_bytes if limits.memory_bytes is not None else _machine_memory_bytes()
        self._named_locks = named_locks
        self._taken: dict[int, Step] = {}
        self._held: dict[int, int] = {}
        self._has_claims = False
        self._wanted: dict[str, float] = {}
        self._kept: dict[int, tuple[Step, float]] = {}

    @property
    def has_claims(self) -> bool:
        """Whether a step that runs declared processors or memory."""
        return self._has_claims

    @property
    def is_full(self) -> bool:
        return len(self._taken) >= self.jobs

    def fits(self, step: Step, now: float) -> bool:
        """Return whether a step may start beside those that run; with a lock, it has that lock then.

        Follow it with `take`, or with `give_back`. What a step declares beyond what the machine has counts as
        all of it: it runs alone.
        """
        rules = step.rules
        if self._taken and (rules.cpus or rules.memory_bytes or self._has_claims):
            cpus = sum(min(it.rules.cpus or 1.0, self._cpus) for it in (*self._taken.values(), step))
            memory = sum(min(it.rules.memory_bytes, self._memory_bytes) for it in (*self._taken.values(), step))
            if cpus > self._cpus or memory > self._memory_bytes:
                return False
        return not rules.lock or self._has_lock(step, now)

    def _has_lock(self, step: Step, now: float) -> bool:
        name = step.rules.lock
        if now < self._wanted.get(name, 0.0):
            return False
        fd = self._named_locks.try_take(name, step.title)
        if fd is None:
            self._kept.setdefault(step.number, (step, now))
            self._wanted[name] = now + LOCK_LOOK_S
            return False
        self._wanted.pop(name, None)
        self._kept.pop(step.number, None)
        self._held[step.number] = fd
        return True

    def take(self, step: Step) -> int | None:
        """Note that a step starts; return the descriptor of its lock, None when it has none."""
        self._taken[step.number] = step
        self._has_claims = self._has_claims or bool(step.rules.cpus or step.rules.memory_bytes)
        return self._held.get(step.number)

    def give_back(self, step: Step) -> None:
        """Note that a step ended, or does not start after all."""
        self._taken.pop(step.number, None)
        if self._has_claims:
            self._has_claims = any(it.rules.cpus or it.rules.memory_bytes for it in self._taken.values())
        fd = self._held.pop(step.number, None)
        if fd is not None:
            self._named_locks.give_back(fd)
            self._wanted.pop(step.rules.lock, None)

    def forget(self, number: int) -> None:
        """Note that a step does not wait for its lock any more: it was blocked."""
        self._kept.pop(number, None)

    def kept_waiting(self, now: float) -> list[tuple[Step, str]]:
        """Return the steps that have waited for a lock for a while, with who holds it; each once a minute."""
        told = []
        for number, (step, tell_at) in self._kept.items():
            if now >= tell_at + TOLD_AFTER_S:
                self._kept[number] = (step, now + TOLD_AGAIN_S - TOLD_AFTER_S)
                told.append((step, self._named_locks.holder(step.rules.lock)))
        return told


def processors() -> int:
    """Return how many processors we may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _machine_memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 1 << 62
