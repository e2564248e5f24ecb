"""The clock of limits: time in which the runner was stopped does not count, wherever the stop met it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from workflow.execution.inbox import Inbox


class Clock:
    at = 100.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(mocker: MockerFixture) -> Clock:
    clock = Clock()
    mocker.patch("workflow.execution.inbox.time", clock)
    return clock


@pytest.fixture
def inbox(clock: Clock) -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


def test_a_stop_between_two_waits_does_not_count(inbox: Inbox, clock: Clock) -> None:
    """RELIABILITY 31: the stop came while an event was being handled."""
    before = inbox.now()
    inbox.next(0.0)
    clock.at += 600
    assert inbox.now() == before
    clock.at += 0.5
    assert inbox.now() == before + 0.5


def test_a_stop_during_a_wait_does_not_count(inbox: Inbox, clock: Clock, mocker: MockerFixture) -> None:
    """RELIABILITY 31."""
    before = inbox.now()

    def stopped(_wait_ms: float) -> list[tuple[int, int]]:
        clock.at += 600.1
        return []

    mocker.patch.object(inbox, "_poll", mocker.Mock(poll=stopped))
    inbox.next(0.1)
    assert inbox.now() == pytest.approx(before + 0.1)


def test_being_merely_late_counts(inbox: Inbox, clock: Clock) -> None:
    before = inbox.now()
    for _ in range(10):
        clock.at += 0.9
        inbox.next(0.0)
    assert inbox.now() == pytest.approx(before + 9.0)
