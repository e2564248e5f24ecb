"""Which runs are to go, and which nobody will carry on: rules over facts, pure.

Live and pinned runs stay whatever is said. The oldest goes first; the age of a run counts from when it was last
touched, not from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from workflow.model import Retention, RunStatus

DAY_S = 86400.0
MEGABYTE_BYTES = 1_000_000
# They can be carried on: their work is kept until somebody says otherwise.
UNFINISHED = frozenset({RunStatus.FAILED, RunStatus.PAUSED, RunStatus.ABANDONED})
# Nobody has to be asked for these: all that they were for is done, or nothing of them was.
FINISHED = frozenset({RunStatus.COMPLETED, RunStatus.CREATED})


class Seen(NamedTuple):
    """What is known of a run without opening it. `size_bytes` 0 where nobody asks for sizes."""

    run_id: str
    touched_at: float
    size_bytes: int = 0


class Facts(NamedTuple):
    """What is known of a run that was looked into. `is_kept` says that nothing may be decided about it."""

    status: RunStatus
    is_live: bool = False
    is_pinned: bool = False
    is_abandoned: bool = False
    is_kept: bool = False


class Verdict(NamedTuple):
    """One run that is to go, or (`is_removed` False) to be marked abandoned; `why` for people."""

    run_id: str
    is_removed: bool
    why: str


Look = Callable[[str], Facts]


def judge(
    runs: Iterable[Seen],
    look: Look,
    retention: Retention,
    *,
    now_at: float,
    max_size_bytes: float | None = None,
    just_ended: str | None = None,
    others: int = 0,
) -> Iterator[Verdict]:
    """Yield what is to be done with runs, the oldest first; `look` is asked only about runs that a limit is after.

    `max_count` and `max_size_bytes` count every run there is; `others` is how many there are that were not given.
    `just_ended` goes only where completed runs are not kept at all.
    """
    ordered = sorted(runs, key=_by_age)
    left, total_bytes = len(ordered) + others, sum(run.size_bytes for run in ordered)
    max_age_s = None if retention.max_age_days is None else retention.max_age_days * DAY_S
    for run in ordered:
        is_just_ended = run.run_id == just_ended
        is_old = max_age_s is not None and now_at - run.touched_at > max_age_s
        is_over_count = retention.max_count is not None and left > retention.max_count
        is_over_size = max_size_bytes is not None and total_bytes > max_size_bytes
        if not (is_old or is_over_count or is_over_size or not retention.keep_completed):
            continue
        facts = look(run.run_id)
        if facts.is_live or facts.is_pinned or facts.is_kept:
            continue
        if facts.status in FINISHED or (facts.status in UNFINISHED and not retention.keep_failed):
            is_completed = facts.status is RunStatus.COMPLETED
            if is_completed and not retention.keep_completed:
                why = "completed runs are not kept"
            elif is_just_ended:
                continue
            elif is_old:
                why = f"older than {days_text(retention.max_age_days or 0.0)}"
            elif is_over_count:
                why = f"more than {retention.max_count:,} runs"
            elif is_over_size:
                why = f"more than {(max_size_bytes or 0) / MEGABYTE_BYTES:,g} MB"
            else:
                continue
            left -= 1
            total_bytes -= run.size_bytes
            yield Verdict(run.run_id, True, why)
        elif facts.status in UNFINISHED and is_old and not facts.is_abandoned and not is_just_ended:
            yield Verdict(run.run_id, False, f"not carried on for {days_text(retention.max_age_days or 0.0)}")


def newest(runs: Iterable[Seen], keep: int) -> set[str]:
    """Return the ids of the `keep` runs that were touched last."""
    ordered = sorted(runs, key=_by_age)
    return {run.run_id for run in ordered[max(0, len(ordered) - keep) :]}


def _by_age(run: Seen) -> tuple[float, str, int]:
    return run.touched_at, run.run_id[:24], int(run.run_id[25:] or 1)


def days_text(days: float) -> str:
    """Return `7 days`, `1 day`, `1.5 days`, `12 hours`."""
    if 0 < days < 1:
        return f"{days * 24:,.3g} hours"
    return f"{days:,g} day{'' if days == 1 else 's'}"
