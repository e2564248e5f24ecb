"""Which runs are to go: the rules, over facts that were made up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.checkpoint.retention import DAY_S, FINISHED, UNFINISHED, Facts, Seen, Verdict, days_text, judge, newest
from workflow.model import Retention, RunStatus

NOW_AT = 1_800_000_000.0

Runs = dict[str, tuple[Seen, Facts]]


def run_id(number: int) -> str:
    return f"workflow_20260101_{number:06d}"


@st.composite
def runs(draw: st.DrawFn) -> Runs:
    found = {}
    for number in range(draw(st.integers(0, 12))):
        seen = Seen(
            run_id(number), NOW_AT - draw(st.floats(-2, 30)) * DAY_S, draw(st.sampled_from([0, 1, 500_000, 3_000_000]))
        )
        facts = Facts(
            draw(st.sampled_from(list(RunStatus))),
            is_live=draw(st.integers(0, 6)) == 0,
            is_pinned=draw(st.integers(0, 6)) == 0,
            is_abandoned=draw(st.booleans()),
            is_kept=draw(st.integers(0, 9)) == 0,
        )
        found[seen.run_id] = (seen, facts)
    return found


limits = st.builds(
    Retention,
    max_age_days=st.none() | st.floats(0.1, 20),
    max_count=st.none() | st.integers(1, 8),
    keep_failed=st.booleans(),
    keep_completed=st.booleans(),
)
sizes = st.none() | st.floats(1, 20_000_000)


def judged(
    known: Runs, retention: Retention, max_size_bytes: float | None = None, just_ended: str | None = None
) -> list[Verdict]:
    return list(
        judge(
            (seen for seen, _ in known.values()),
            lambda name: known[name][1],
            retention,
            now_at=NOW_AT,
            max_size_bytes=max_size_bytes,
            just_ended=just_ended,
        )
    )


def may_go(facts: Facts, retention: Retention) -> bool:
    if facts.is_live or facts.is_pinned or facts.is_kept:
        return False
    return facts.status in FINISHED or (facts.status in UNFINISHED and not retention.keep_failed)


def gone(verdicts: Sequence[Verdict]) -> set[str]:
    return {it.run_id for it in verdicts if it.is_removed}


@given(runs(), limits, sizes)
def test_live_and_pinned_runs_are_never_touched(known: Runs, retention: Retention, size: float | None) -> None:
    for verdict in judged(known, retention, size):
        facts = known[verdict.run_id][1]
        assert not any((facts.is_live, facts.is_pinned, facts.is_kept))
        assert not verdict.is_removed or may_go(facts, retention)
        assert verdict.why


@given(runs(), limits, sizes)
def test_what_may_go_goes_oldest_first(known: Runs, retention: Retention, size: float | None) -> None:
    order = [known[it.run_id][0].touched_at for it in judged(known, retention, size) if it.is_removed]
    assert order == sorted(order)
    if not retention.keep_completed:
        return  # completed runs go before older ones then
    removed = gone(judged(known, retention, size))
    candidates = sorted((seen.touched_at, name) for name, (seen, facts) in known.items() if may_go(facts, retention))
    assert removed == {name for _, name in candidates[: len(removed)]}


@given(runs(), limits, sizes)
def test_the_limits_hold_as_far_as_anything_may_go(known: Runs, retention: Retention, size: float | None) -> None:
    removed = gone(judged(known, retention, size))
    rest = {name: it for name, it in known.items() if name not in removed}
    removable = [seen for seen, facts in rest.values() if may_go(facts, retention)]
    for seen in removable:
        assert retention.max_age_days is None or NOW_AT - seen.touched_at <= retention.max_age_days * DAY_S
    if removable:
        assert retention.max_count is None or len(rest) <= retention.max_count
        assert size is None or sum(seen.size_bytes for seen, _ in rest.values()) <= size
    if not retention.keep_completed:
        assert all(facts.status is not RunStatus.COMPLETED for _, facts in rest.values() if may_go(facts, retention))


@given(runs(), limits, sizes)
def test_nothing_goes_that_no_limit_is_after(known: Runs, retention: Retention, size: float | None) -> None:
    """Putting back the newest that went breaks a limit again."""
    verdicts = [it for it in judged(known, retention, size) if it.is_removed]
    rest_count = len(known) - len(verdicts)
    rest_bytes = sum(seen.size_bytes for name, (seen, _) in known.items() if name not in gone(verdicts))
    if not verdicts:
        return
    seen, facts = known[verdicts[-1].run_id]
    assert (
        (retention.max_age_days is not None and NOW_AT - seen.touched_at > retention.max_age_days * DAY_S)
        or (retention.max_count is not None and rest_count + 1 > retention.max_count)
        or (size is not None and rest_bytes + seen.size_bytes > size)
        or (facts.status is RunStatus.COMPLETED and not retention.keep_completed)
    )


@given(runs(), limits, sizes, st.data())
def test_a_tighter_limit_never_keeps_more(
    known: Runs, retention: Retention, size: float | None, data: st.DataObject
) -> None:
    tighter = retention._replace(
        max_age_days=data.draw(st.floats(0.1, retention.max_age_days or 20)),
        max_count=data.draw(st.integers(1, retention.max_count or 12)),
    )
    less = size if size is None else data.draw(st.floats(1, size))
    assert gone(judged(known, retention, size)) <= gone(judged(known, tighter, less))


@given(runs(), limits, sizes)
def test_doing_it_twice_is_doing_it_once(known: Runs, retention: Retention, size: float | None) -> None:
    verdicts = judged(known, retention, size)
    marked = {it.run_id for it in verdicts if not it.is_removed}
    rest = {
        name: (seen, facts._replace(status=RunStatus.ABANDONED, is_abandoned=True) if name in marked else facts)
        for name, (seen, facts) in known.items()
        if name not in gone(verdicts)
    }
    assert judged(rest, retention, size) == []


@given(runs(), limits, sizes)
def test_what_is_kept_for_its_work_is_abandoned_when_it_is_old(
    known: Runs, retention: Retention, size: float | None
) -> None:
    marked = {it.run_id for it in judged(known, retention, size) if not it.is_removed}
    expected = {
        name
        for name, (seen, facts) in known.items()
        if retention.keep_failed
        and facts.status in UNFINISHED
        and not (facts.is_live or facts.is_pinned or facts.is_kept or facts.is_abandoned)
        and retention.max_age_days is not None
        and NOW_AT - seen.touched_at > retention.max_age_days * DAY_S
    }
    assert marked == expected


@given(runs(), limits, sizes)
def test_the_run_that_just_ended_stays_unless_completed_runs_are_not_kept(
    known: Runs, retention: Retention, size: float | None
) -> None:
    for name, (_, facts) in known.items():
        touched = {it.run_id for it in judged(known, retention, size, just_ended=name)}
        if retention.keep_completed or facts.status is not RunStatus.COMPLETED:
            assert name not in touched


@given(runs(), limits)
def test_runs_that_no_limit_is_after_are_not_looked_into(known: Runs, retention: Retention) -> None:
    looked: list[str] = []

    def look(name: str) -> Facts:
        looked.append(name)
        return known[name][1]

    list(judge((seen for seen, _ in known.values()), look, retention, now_at=NOW_AT))
    assert len(looked) == len(set(looked))
    if retention.keep_completed and (retention.max_count is None or len(known) <= retention.max_count):
        old = {
            name
            for name, (seen, _) in known.items()
            if retention.max_age_days is not None and NOW_AT - seen.touched_at > retention.max_age_days * DAY_S
        }
        assert set(looked) == old


def test_the_standard_is_a_week_fifty_runs_and_nothing_that_can_be_carried_on() -> None:
    """D3."""
    assert Retention() == Retention(7.0, 50, keep_failed=True, keep_completed=True)
    old, new = NOW_AT - 7.01 * DAY_S, NOW_AT - 6.99 * DAY_S
    known: Runs = {}
    for number, (status, at) in enumerate(itertools.product(RunStatus, (old, new))):
        known[run_id(number)] = (Seen(run_id(number), at), Facts(status))
    removed = [known[it.run_id] for it in judged(known, Retention()) if it.is_removed]
    assert {facts.status for _, facts in removed} == {RunStatus.COMPLETED, RunStatus.CREATED}
    assert {seen.touched_at for seen, _ in removed} == {old}


def test_of_sixty_completed_runs_the_ten_oldest_go() -> None:
    known = {run_id(n): (Seen(run_id(n), NOW_AT - 60 + n), Facts(RunStatus.COMPLETED)) for n in range(60)}
    verdicts = judged(known, Retention())
    assert [it.run_id for it in verdicts] == [run_id(number) for number in range(10)]
    assert {it.why for it in verdicts} == {"more than 50 runs"}


@pytest.mark.parametrize("first", ["workflow_20260101_000000_2", "workflow_20260101_000000_10"])
def test_runs_of_one_second_and_one_time_go_by_their_number(first: str) -> None:
    seen = [Seen(name, NOW_AT) for name in ("workflow_20260101_000000_11", first)]
    assert newest(seen, 1) == {"workflow_20260101_000000_11"}
    assert newest(seen, 0) == set()
    assert newest(seen, 9) == {run.run_id for run in seen}


@pytest.mark.parametrize(
    ("days", "text"), [(7.0, "7 days"), (1.0, "1 day"), (1.5, "1.5 days"), (0.5, "12 hours"), (0.0, "0 days")]
)
def test_ages_are_said_as_people_say_them(days: float, text: str) -> None:
    assert days_text(days) == text
