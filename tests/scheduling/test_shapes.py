"""Workflows of the shapes that pipelines have: everything runs once, in order, and has its marker."""

from __future__ import annotations

import json
import time

import pytest

from tests.conftest import Project
from tests.crash.recovering import IS_LONG
from tests.scheduling.support import ended, ok

Needs = dict[int, list[int] | None]


def write(project: Project, needs: Needs, groups: dict[int, str] | None = None) -> None:
    steps = []
    for number, needed in needs.items():
        said: dict[str, object] = {"name": f"s{number}", "run": f"echo {number} >>ran.txt"}
        if needed is not None:
            said["needs"] = needed
        if groups and number in groups:
            said["parallel"] = groups[number]
        steps.append(said)
    project.file("workflow.json", json.dumps({"steps": steps}))


def assert_all_in_order(project: Project, needs: dict[int, list[int]]) -> None:
    ran = [int(it) for it in project.executions]
    place = {number: at for at, number in enumerate(ran)}
    assert len(ran) == len(place) == len(needs)
    wrong = [(need, number) for number, needed in needs.items() for need in needed if place[need] > place[number]]
    assert not wrong, wrong[:5]
    assert project.markers == sorted(needs)


def test_one_two_hundred_one(project: Project) -> None:
    write(project, dict.fromkeys(range(202)), dict.fromkeys(range(1, 201), "wide"))
    ok(project.run("run", "workflow.json", "-q", "-j", "4"))
    assert_all_in_order(
        project,
        {0: [], **{number: [0] for number in range(1, 201)}, 201: list(range(1, 201))},
    )


def montage(images: int) -> dict[int, list[int]]:
    """Each image projected, neighbours compared, one model of all, each image corrected by it, tiles, one mosaic."""
    needs: dict[int, list[int]] = {}

    def add(*needed: int) -> int:
        needs[len(needs)] = list(needed)
        return len(needs) - 1

    projected = [add() for _ in range(images)]
    compared = [add(projected[at], projected[(at + 1) % images]) for at in range(images)]
    compared += [add(projected[at], projected[(at + 7) % images]) for at in range(images)]
    model = add(*compared)
    corrected = [add(model, it) for it in projected]
    tiles = [add(*corrected[at : at + 10]) for at in range(0, images, 10)]
    add(*tiles)
    return needs


def test_diamonds_of_a_mosaic(project: Project) -> None:
    needs = montage(146)
    assert len(needs) > 600
    write(project, dict(needs))
    ok(project.run("run", "workflow.json", "-q", "-j", "3"))
    assert_all_in_order(project, needs)


def test_a_long_chain_beside_a_bush(project: Project) -> None:
    """A chain of 80, a bush of 80 that hangs on one step, and one that waits for both; numbers are mixed."""
    chain = {at: [at - 2] if at else [] for at in range(0, 160, 2)}
    bush = {at: [1] if at > 1 else [] for at in range(1, 160, 2)}
    needs = dict(sorted({**chain, **bush, 160: [158, *range(1, 160, 2)]}.items()))
    write(project, dict(needs))
    ok(project.run("run", "workflow.json", "-q", "-j", "3"))
    assert_all_in_order(project, needs)


def test_needs_may_go_backwards_through_the_numbers(project: Project) -> None:
    """Step 0 is the last: what counts are the needs, not the numbers."""
    needs = {number: [number + 1] for number in range(59)} | {59: []}
    write(project, dict(needs))
    ok(project.run("run", "workflow.json", "-q", "-j", "2"))
    assert project.executions == [str(number) for number in range(59, -1, -1)]
    assert_all_in_order(project, needs)


def test_a_failure_in_the_middle_of_a_mosaic_blocks_its_followers_alone(project: Project) -> None:
    """With --keep-going all that does not wait for it runs; the resume runs the rest, and nothing twice."""
    needs = montage(30)
    write(project, dict(needs))
    path = project.path / "workflow.json"
    bad = 35
    good = path.read_text()
    path.write_text(good.replace(f'"echo {bad} >>ran.txt"', '"exit 3"'))
    ended(project.run("run", "workflow.json", "-q", "-k", "-j", "3"), 1)
    blocked = {bad}
    for number, needed in needs.items():
        if blocked.intersection(needed):
            blocked.add(number)
    assert {int(it) for it in project.executions} == set(needs) - blocked
    path.write_text(good)
    ok(project.run("run", "--resume", "-q", "-j", "3"))
    assert_all_in_order(project, needs)


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_diamonds_of_a_large_mosaic(project: Project) -> None:
    needs = montage(1220 if IS_LONG else 500)
    write(project, dict(needs))
    began = time.monotonic()
    ok(project.run("run", "workflow.json", "-q", "-j", "4", timeout=600))
    print(f"{len(needs)} steps in {time.monotonic() - began:.1f} s")
    assert_all_in_order(project, needs)


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_a_very_wide_fork(project: Project) -> None:
    count = 5000
    write(project, dict.fromkeys(range(count + 2)), dict.fromkeys(range(1, count + 1), "wide"))
    ok(project.run("run", "workflow.json", "-q", "-j", "4", timeout=600))
    assert project.markers == list(range(count + 2))
    assert project.executions[0] == "0"
    assert project.executions[-1] == str(count + 1)
