"""Random graphs, random failures, random deaths, resumes until done; whatever happens, the promise holds."""

from __future__ import annotations

import random

import pytest

from tests.conftest import Project
from tests.crash.recovering import IS_LONG, chooser
from tests.scheduling import random_graphs
from tests.scheduling.random_graphs import Drawn, Graph, assert_in_order


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_random_graphs_end_as_if_nothing_had_happened(project: Project) -> None:
    """For some seconds; CRASH_SEED repeats a failure as far as time can be repeated."""
    told = random_graphs.stories(project, chooser(), seconds=15)
    assert told["0"]
    assert told["-9"] + told["130"] + told["1"]


@pytest.mark.proof
@pytest.mark.timeout(7200)
def test_hundreds_of_random_graphs(project: Project) -> None:
    """The long form."""
    told = random_graphs.stories(project, chooser(), count=400 if IS_LONG else 60)
    assert told["-9"] > 10


CHAIN = Graph([Drawn(0, None, None), Drawn(1, "g", None), Drawn(2, "g", None), Drawn(3, None, None)])


@pytest.mark.parametrize(
    "wrong",
    [
        [("start", 1)],
        [("start", 0), ("end", 0), ("start", 1), ("end", 1), ("start", 3)],
        [("start", 0), ("start", 1)],
        [("start", 0), ("fail", 0), ("start", 1)],
        [("start", 0), ("cut", 0), ("start", 1)],
        [("start", 0), ("start", 0)],
        [("start", 0), ("death", 0), ("start", 1)],
    ],
)
def test_the_check_of_the_order_finds_what_is_wrong(wrong: list[tuple[str, int]]) -> None:
    with pytest.raises(AssertionError):
        assert_in_order(CHAIN, wrong)


def test_the_graphs_have_everything_in_them() -> None:
    steps = [it for seed in range(200) for it in random_graphs.draw(random.Random(seed)).steps]
    assert {it.rule for it in steps} == {"", "always", "failure", "true", "false"}
    assert any(it.is_tolerant for it in steps)
    assert any(it.needs == [] for it in steps)
    assert any(it.group for it in steps)
