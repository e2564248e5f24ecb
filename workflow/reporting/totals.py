"""One line about a run of many steps at once: how many are where, and how long it will still take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workflow.errors import duration_text
from workflow.events import RunStarted, StepFinished
from workflow.model import Choice, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workflow.model import Step

REFRESH_S = 1.0
# Working out the longest way never takes more than this share of the time: a hundred thousand steps take a while.
SHARE_OF_TIME = 0.02


class Totals:
    """Counts what became of steps. `clock` measures what the estimate costs."""

    def __init__(self, started: RunStarted, clock: Callable[[], float] = time.perf_counter) -> None:
        self._steps = started.workflow.steps
        self._expected_s = started.expected_s
        self._jobs = started.workflow.limits.jobs
        self._to_run = started.to_run
        self._over = {number for number, it in started.decisions.items() if it.choice is not Choice.RUN}
        self._counts = {"done": 0, "failed": 0, "cancelled": 0, "blocked": 0}
        self._clock = clock
        self._order: list[int] | None = None
        self._most_at_once = 1
        self._left_s: float | None = None
        self._told_at = float("-inf")
        self._not_before = float("-inf")

    def note(self, event: StepFinished) -> None:
        self._over.add(event.step.number)
        status = event.status
        if status is Status.FAILED and not event.is_tolerated:
            self._counts["failed"] += 1
        elif status in (Status.CANCELLED, Status.BLOCKED):
            self._counts[status.value] += 1
        elif status is not Status.BYPASSED:
            self._counts["done"] += 1

    def line(self, started_at: Mapping[int, float], now_at: float, *, is_utf8: bool) -> str:
        """Return the line. `started_at` holds the running steps by number."""
        running = len(started_at)
        self._most_at_once = max(self._most_at_once, running)
        waiting = max(0, self._to_run - running - sum(self._counts.values()))
        parts = [f"running {running:,}", f"done {self._counts['done']:,} of {self._to_run:,}"]
        others = {**{word: self._counts[word] for word in ("failed", "cancelled", "blocked")}, "waiting": waiting}
        parts += [f"{word} {number:,}" for word, number in others.items() if number]
        left = about(self._remaining_s(started_at, now_at))
        return ", ".join(parts) + (f" {'·' if is_utf8 else '-'} {left}" if left else "")

    def _remaining_s(self, started_at: Mapping[int, float], now_at: float) -> float | None:
        # the wall clock may be set back
        if self._told_at <= now_at < self._not_before:
            return None if self._left_s is None else self._left_s - (now_at - self._told_at)
        from workflow.definition import graph
        from workflow.planning.critical_path import remaining_s

        if not self._expected_s:
            return None
        began = self._clock()
        if self._order is None:
            self._order = graph.order(self._steps)
        running = {number: max(0.0, now_at - at) for number, at in started_at.items()}
        slots = max(self._jobs or 1, self._most_at_once)
        self._left_s = remaining_s(self._steps, self._order, self._expected_s, self._over, running, slots)
        self._told_at = now_at
        self._not_before = now_at + max(REFRESH_S, (self._clock() - began) / SHARE_OF_TIME)
        return self._left_s


def is_wide(steps: tuple[Step, ...]) -> bool:
    """Return whether more than one of the steps may run at a time."""
    return any(step.group is not None or step.needs is not None for step in steps)


def about(seconds: float | None) -> str:
    """Return `about 3m left`, no more exact than an expectation is; empty when nothing is known or left."""
    if seconds is None or seconds < 1:
        return ""
    if seconds < 10:
        return "seconds left"
    if seconds < 57:
        return f"about {5 * round(seconds / 5)}s left"
    minutes = round(seconds / 60)
    return f"about {minutes}m left" if minutes < 60 else f"about {duration_text(seconds)} left"
