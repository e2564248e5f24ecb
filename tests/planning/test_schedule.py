"""Schedule: readiness as others finish, against a model that looks at everything again after every move."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies

from tests.planning.naive import ALWAYS, FAILURE, ancestors, graphs, waits_for
from workflow.errors import InvariantError
from workflow.model import NO_RULES, Rules, Source, Step
from workflow.planning.schedule import Schedule


def step(number: int, needs: tuple[int, ...] | None = None, group: str | None = None, rules: Rules = NO_RULES) -> Step:
    return Step(number, f"s{number}", Source("w"), needs=needs, group=group, rules=rules)


def plain(count: int) -> list[Step]:
    return [step(number) for number in range(count)]


def everything(steps: Sequence[Step]) -> Schedule:
    return Schedule(steps, {it.number for it in steps})


def yes(_: Step) -> bool:
    return True


def take_all(schedule: Schedule) -> list[int]:
    taken = []
    while (found := schedule.next_ready(yes)) is not None:
        taken.append(found.number)
    return taken


def test_plain_steps_come_one_by_one() -> None:
    schedule = everything(plain(3))
    for number in range(3):
        assert take_all(schedule) == [number]
        schedule.finish(number)
    assert schedule.open_count == 0


def test_a_group_is_ready_together_and_what_follows_when_all_have_ended() -> None:
    schedule = everything([step(0), step(1, group="g"), step(2, group="g"), step(3)])
    take_all(schedule)
    schedule.finish(0)
    assert take_all(schedule) == [1, 2]
    schedule.finish(2)
    assert take_all(schedule) == []
    schedule.finish(1)
    assert take_all(schedule) == [3]


def test_the_smallest_number_that_fits_is_taken() -> None:
    schedule = everything([step(number, (), rules=Rules(lock="" if number % 2 else "db")) for number in range(4)])
    found = schedule.next_ready(lambda it: not it.rules.lock)
    assert found is not None
    assert found.number == 1
    assert take_all(schedule) == [0, 2, 3]


def test_what_was_put_back_is_ready_again() -> None:
    schedule = everything(plain(2))
    assert take_all(schedule) == [0]
    assert not schedule.has_ready
    schedule.put_back(0)
    assert schedule.has_ready
    assert take_all(schedule) == [0]
    schedule.finish(0)
    assert take_all(schedule) == [1]


def test_a_failure_blocks_everything_behind_it_and_names_itself() -> None:
    schedule = everything([step(0, ()), step(1, ()), step(2, (0,)), step(3, (2,)), step(4, (1,)), step(5)])
    assert take_all(schedule) == [0, 1]
    schedule.finish(0, 0)
    assert schedule.take_blocked() == [(2, 0), (3, 0)]
    schedule.finish(1)
    assert take_all(schedule) == [4]
    schedule.finish(4)
    assert schedule.take_blocked() == [(5, 0)]
    assert schedule.take_blocked() == []
    assert schedule.open_count == 0


@pytest.mark.parametrize("rules", [ALWAYS, FAILURE])
def test_a_step_for_the_end_is_ready_in_spite_of_a_failure(rules: Rules) -> None:
    schedule = everything([step(0), step(1), step(2, rules=rules)])
    take_all(schedule)
    assert schedule.cause_before(2) is None
    schedule.finish(0, 0)
    assert schedule.take_blocked() == [(1, 0)]
    assert take_all(schedule) == [2]
    assert schedule.cause_before(2) == 0


def test_close_blocks_all_but_the_end_and_lets_the_end_begin() -> None:
    schedule = everything(
        [step(0, ()), step(1, ()), step(2, ()), step(3, (1,)), step(4, rules=ALWAYS), step(5, (3,), rules=FAILURE)]
    )
    found = schedule.next_ready(yes)
    assert found is not None
    schedule.finish(0, 0)
    schedule.close(0)
    assert schedule.take_blocked() == [(1, 0), (2, 0), (3, 0)]
    assert take_all(schedule) == [4, 5]
    schedule.finish(4)
    schedule.finish(5)
    assert schedule.open_count == 0
    assert not schedule.has_ready


def test_what_does_not_run_counts_as_finished_well() -> None:
    schedule = Schedule([step(0), step(1), step(2, (1,)), step(3)], {1, 3})
    assert schedule.open_count == 2
    assert take_all(schedule) == [1]
    schedule.finish(1)
    assert take_all(schedule) == [3]


def test_to_end_twice_is_a_bug_of_ours() -> None:
    schedule = everything(plain(2))
    take_all(schedule)
    schedule.finish(0)
    with pytest.raises(InvariantError):
        schedule.finish(0)


def test_of_steps_that_want_the_same_only_the_first_is_asked_whether_it_fits() -> None:
    wants_lock = Rules(lock="db")
    steps = [step(number, (), rules=NO_RULES if number == 150 else wants_lock) for number in range(200)]
    schedule = everything(steps)
    looked: list[int] = []

    def without_lock(it: Step) -> bool:
        looked.append(it.number)
        return not it.rules.lock

    found = schedule.next_ready(without_lock)
    assert found is not None
    assert found.number == 150
    assert schedule.next_ready(without_lock) is None
    assert looked == [0, 150, 0]
    assert len(take_all(schedule)) == 199


@pytest.mark.parametrize("shape", ["chain", "needs chain", "fan", "layers"])
def test_a_hundred_thousand_steps_are_no_trouble(shape: str) -> None:
    count = 100_000
    steps = {
        "chain": lambda: plain(count),
        "needs chain": lambda: [step(at, (at - 1,) if at else ()) for at in range(count)],
        "fan": lambda: [step(0), *(step(at, group="g") for at in range(1, count - 1)), step(count - 1)],
        "layers": lambda: [step(at, (at - 1000, at - 999) if at >= 1000 else ()) for at in range(count)],
    }[shape]()
    began = time.perf_counter()
    schedule = everything(steps)
    done = 0
    while (found := schedule.next_ready(yes)) is not None:
        schedule.finish(found.number)
        done += 1
    assert done == count
    # Blocking a whole chain must not be a recursion either.
    schedule = everything(steps)
    first = schedule.next_ready(yes)
    assert first is not None
    schedule.finish(first.number, first.number)
    schedule.close(first.number)
    assert len(schedule.take_blocked()) == count - 1
    assert time.perf_counter() - began < 15


class Model:
    """The same with sets, worked out anew each time."""

    def __init__(self, steps: Sequence[Step], to_run: set[int]) -> None:
        self.by_number = {it.number: it for it in steps}
        self.waits = waits_for(steps)
        self.above = ancestors(self.waits)
        self.open = set(to_run)
        self.taken: set[int] = set()
        self.bad: set[int] = set()
        self.roots: set[int] = set()

    def settle(self) -> set[int]:
        """Block what has to be; return what was."""
        blocked: set[int] = set()
        while True:
            more = {
                number
                for number in self.open - self.taken
                if not self.waits[number] & self.open
                and self.waits[number] & self.bad
                and not self.by_number[number].rules.is_at_the_end
            }
            if not more:
                return blocked
            self.open -= more
            self.bad |= more
            blocked |= more

    def close(self) -> set[int]:
        blocked = {number for number in self.open - self.taken if not self.by_number[number].rules.is_at_the_end}
        self.open -= blocked
        self.bad |= blocked
        return blocked

    @property
    def ready(self) -> set[int]:
        return {number for number in self.open - self.taken if not self.waits[number] & self.open}


@hypothesis.settings(max_examples=400)
@hypothesis.given(strategies.data())
def test_it_agrees_with_the_plain_rules_whatever_happens(data: strategies.DataObject) -> None:
    """Order respected, everything released exactly once, the right ones blocked, closed or not."""
    kinds = strategies.sampled_from(["", "", "one", "two"])
    steps = [replace(it, rules=it.rules._replace(lock=data.draw(kinds))) for it in data.draw(graphs())]
    numbers = {it.number for it in steps}
    to_run = numbers - data.draw(strategies.sets(strategies.sampled_from(sorted(numbers)), max_size=3))
    schedule, model = Schedule(steps, to_run), Model(steps, to_run)
    released: list[int] = []
    is_closed = False
    moves = strategies.sampled_from(["end", "end", "fail", "take", "take", "put back", "close"])

    def check(blocked: set[int]) -> None:
        told = schedule.take_blocked()
        assert {number for number, _ in told} == blocked
        assert len(told) == len(blocked)
        assert {cause for _, cause in told} <= model.roots
        if not is_closed:
            assert all(cause in model.above[number] for number, cause in told)
        assert schedule.open_count == len(model.open)
        assert schedule.has_ready == bool(model.ready)

    check(model.settle())
    while model.open:
        move = data.draw(moves)
        if move == "take" or not model.taken:
            fit = data.draw(strategies.sets(kinds))
            fitting = {it.number for it in steps if it.rules.lock in fit}
            if not model.taken and not model.ready & fitting:
                fitting = numbers  # nothing runs that could ever make room
            found = schedule.next_ready(lambda it, fitting=fitting: it.number in fitting)
            want = min(model.ready & fitting, default=None)
            assert (None if found is None else found.number) == want
            if want is not None:
                released.append(want)
                model.taken.add(want)
                expected = model.waits[want] & model.bad
                cause = schedule.cause_before(want)
                assert (cause is not None) == bool(expected)
        elif move == "close":
            if is_closed or not model.roots:
                continue
            # The engine closes when nothing runs any more.
            for number in sorted(model.taken):
                schedule.finish(number, min(model.roots))
                model.open.discard(number)
                model.bad.add(number)
            blocked = model.settle()
            model.taken.clear()
            schedule.close(min(model.roots))
            is_closed = True
            check(blocked | model.close())
        else:
            number = data.draw(strategies.sampled_from(sorted(model.taken)))
            model.taken.discard(number)
            if move == "put back":
                released.remove(number)
                schedule.put_back(number)
                check(set())
                continue
            model.open.discard(number)
            if move == "fail":
                model.bad.add(number)
                model.roots.add(number)
            schedule.finish(number, number if move == "fail" else None)
            check(model.settle())
    assert len(released) == len(set(released))
    assert schedule.next_ready(yes) is None
    assert not schedule.has_ready


def test_what_starts_next_is_sure_only_before_everything_that_waits_for_the_one_that_ends() -> None:
    """A worker may be given its next step before the last one is looked at: the order must not depend on it."""
    a, b, c, d = step(0, ()), step(1, (0,)), step(2, ()), step(3, (0,))
    schedule = everything([a, b, c, d])
    assert schedule.next_ready(lambda _: True) == a
    assert not schedule.is_next_sure(0)  # b becomes ready, and comes before c
    without_b = everything([a, c, d])
    assert without_b.next_ready(lambda _: True) == a
    assert without_b.is_next_sure(0)
    assert without_b.next_ready(lambda _: True) == c
    assert not without_b.is_next_sure(0)  # nothing else is ready


def test_what_starts_next_is_sure_within_a_group_and_not_beside_a_lock() -> None:
    first, second, after = step(0, group="g"), step(1, group="g"), step(3)
    schedule = everything([first, second, step(2, group="g"), after])
    assert schedule.next_ready(lambda _: True) == first
    assert schedule.is_next_sure(0)
    schedule = everything([first, second, step(2, group="g", rules=Rules(lock="db")), after])
    assert schedule.next_ready(lambda _: True) == first
    assert not schedule.is_next_sure(0)


def test_a_plain_step_after_the_one_that_ends_comes_before_what_is_ready() -> None:
    schedule = everything([step(0), step(1), step(2, ())])
    assert schedule.next_ready(lambda _: True).number == 0
    assert not schedule.is_next_sure(0)
