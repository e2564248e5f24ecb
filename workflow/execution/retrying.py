"""Whether an attempt that failed is followed by another, and when."""

from __future__ import annotations

import random
from collections.abc import Callable

from workflow.checkpoint.records import StepRecord
from workflow.model import Failure, Retries, Status


def covers(retries: Retries, failure: Failure, exit_code: int | None) -> bool:
    """Return whether `on_exit` covers this failure; what was interrupted or rejected is never tried again."""
    if failure.kind in ("interrupted", "rejected", "condition", "repeat", "not_started"):
        return False
    if not retries.on_exit:
        return True
    return failure.kind in retries.on_exit or (
        failure.kind in ("exit", "signal", "oom", "no_space") and str(exit_code) in retries.on_exit
    )


def wait_s(retries: Retries, used: int, random: Callable[[], float]) -> float | None:
    """Return the wait before the next attempt when `used` retries are spent; None when that was the last.

    `random` returns a number from 0 to below 1.
    """
    if used >= retries.limit:
        return None
    try:
        delay_s = retries.delay_s * retries.backoff**used
    except OverflowError:
        delay_s = float("inf")
    if retries.max_delay_s is not None:
        delay_s = min(delay_s, retries.max_delay_s)
    # Ten years, as for every duration: what is beyond cannot be told from never.
    return min(delay_s * (1.0 + retries.jitter * random()), 315360000.0)


def tried_again(record: StepRecord, used: int, now_at: float) -> StepRecord:
    """Return the record of a failed attempt as that of a step that waits for another one, if one follows."""
    retries, failure = record.step.rules.retries, record.failure
    exit_code = record.attempts[-1].exit_code if record.attempts else None
    if not retries.limit or failure is None or not covers(retries, failure, exit_code):
        return record
    delay_s = wait_s(retries, used, random.random)
    if delay_s is None:
        return record
    return record._replace(status=Status.WAITING, retries_used=used + 1, next_at=now_at + delay_s)
