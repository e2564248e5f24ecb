"""Kills at random moments, of runs and of resumes, over and over; whatever happens, the promise holds."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter

import pytest

from tests.conftest import Project
from tests.crash.recovering import (
    IS_LONG,
    chooser,
    program,
    program_env,
    resume,
    start_over,
    wait_for_orphans,
    what_is_left,
)

STEPS = 5
LONGEST_S = 0.35


def kill_at_random(project: Project, choice: random.Random, *words: str) -> bool:
    """Start the program and kill it after a random while, now and then with its worker; return whether it died."""
    process = subprocess.Popen(
        program(*words),
        cwd=project.path,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(choice.uniform(0.05, LONGEST_S))
    process.kill()
    return process.wait() != 0


def one_cycle(project: Project, choice: random.Random) -> int:
    """A run, killed; resumes, killed; one that is left alone. Returns how many died."""
    start_over(project)
    deaths = int(kill_at_random(project, choice, "run"))
    for _ in range(choice.randrange(3)):
        left = what_is_left(project)
        before = Counter(project.executions)
        words = ("resume",) if left.run else ("run", "--resume")
        deaths += kill_at_random(project, choice, *words)
        after = Counter(project.executions)
        again = {number for number in left.done if after[f"{number:02d}"] > before[f"{number:02d}"]}
        assert not again, f"completed steps ran again: {again}"
        if choice.random() < 0.5:
            wait_for_orphans(project)
    left = what_is_left(project)
    before = Counter(project.executions)
    result = resume(project)
    assert result.returncode == 0, result.stdout + result.stderr
    now = what_is_left(project)
    assert now.done == frozenset(range(STEPS))
    counts = Counter(project.executions)
    assert set(counts) == {f"{number:02d}" for number in range(STEPS)}, counts
    assert all(counts[f"{number:02d}"] == before[f"{number:02d}"] for number in left.done), (left, before, counts)
    # At most one step runs again for each death.
    assert sum(counts.values()) - STEPS <= deaths, f"{deaths} deaths, and {counts}"
    return deaths


def write_steps(project: Project) -> None:
    for number in range(STEPS):
        project.step(number, f"sleep 0.0{number % 3}\necho {number:02d} >>ran.txt")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_random_kills_lose_nothing_and_repeat_nothing(project: Project) -> None:
    """Cases 1 and 3, for some seconds; CRASH_SEED repeats a failure as far as time can be repeated."""
    write_steps(project)
    choice = chooser()
    deaths = cycles = 0
    give_up_at = time.monotonic() + 8
    while time.monotonic() < give_up_at:
        deaths += one_cycle(project, choice)
        cycles += 1
    print(f"{cycles} cycles, {deaths} deaths")
    assert deaths


@pytest.mark.proof
@pytest.mark.timeout(7200)
def test_hundreds_of_random_kills(project: Project) -> None:
    """Cases 1 and 3, the long form."""
    write_steps(project)
    choice = chooser()
    cycles = 500 if IS_LONG else 100
    deaths = sum(one_cycle(project, choice) for _ in range(cycles))
    print(f"{cycles} cycles, {deaths} deaths")
