"""Random graphs as real workflows: who fails when, what a log of starts and ends must show, and random deaths."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.support import end_orphans
from tests.conftest import Project, markers_of
from tests.crash.recovering import program, program_env, start_over, what_is_left
from tests.planning.naive import waits_for
from workflow.model import Source, Step

LONGEST_S = 0.9


@dataclass
class Drawn:
    """One step: what it says in the file, how many of its first starts fail, and how long it takes."""

    number: int
    group: str | None
    needs: list[int] | None
    rule: str = ""  # always, failure, or a test
    is_tolerant: bool = False
    fails: int = 0
    retries: int = 0
    takes_s: float = 0.0

    @property
    def is_at_the_end(self) -> bool:
        return self.rule in ("always", "failure")


@dataclass
class Graph:
    """Steps, and what each waits for."""

    steps: list[Drawn]
    waits: dict[int, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bare = [
            Step(
                it.number,
                f"s{it.number}",
                Source("w"),
                group=it.group,
                needs=None if it.needs is None else tuple(it.needs),
            )
            for it in self.steps
        ]
        self.waits = waits_for(bare)

    @property
    def by_number(self) -> dict[int, Drawn]:
        return {it.number: it for it in self.steps}


def draw(choice: random.Random) -> Graph:
    """Return 4 to 9 steps; needs name smaller numbers, so there is no cycle."""
    steps: list[Drawn] = []
    group = None
    for number in range(choice.randrange(4, 10)):
        group = choice.choice([None, group, group, f"g{number}"])
        needs = None
        if number and choice.random() < 0.4:
            needs = sorted(choice.sample(range(number), choice.randrange(min(3, number) + 1)))
        it = Drawn(number, group, needs, takes_s=choice.choice([0, 0.02, 0.05, 0.1]))
        kind = choice.random()
        if kind < 0.12:
            it.rule = "always"
        elif kind < 0.18:
            it.rule = "failure"
        elif kind < 0.28:
            it.rule = choice.choice(["true", "false"])
        if not it.is_at_the_end and choice.random() < 0.15:
            it.is_tolerant, it.fails = True, choice.choice([0, 1000])
        elif choice.random() < 0.3:
            it.fails = choice.randrange(1, 3)
        it.retries = choice.choice([0, 0, 0, 1, 2])
        steps.append(it)
    return Graph(steps)


def text_of(it: Drawn, *, is_good: bool) -> str:
    fails = it.fails if it.is_tolerant or not is_good else 0
    return f"""\
trap 'echo cut {it.number} >>log.txt; exit 130' INT TERM
echo start {it.number} >>log.txt
sleep {it.takes_s}
if [ $(grep -c '^start {it.number}$' log.txt) -le {fails} ]; then echo fail {it.number} >>log.txt; exit 3; fi
echo end {it.number} >>log.txt
"""


def write(project: Project, graph: Graph, *, is_good: bool = False) -> None:
    """Write the workflow; `is_good`: nothing fails but what is tolerated."""
    steps = []
    for it in graph.steps:
        said: dict[str, object] = {"name": f"s{it.number}", "run": text_of(it, is_good=is_good)}
        if it.group is not None:
            said["parallel"] = it.group
        if it.needs is not None:
            said["needs"] = it.needs
        if it.rule:
            said["if"] = it.rule
        if it.is_tolerant:
            said["continue_on_error"] = True
        if it.retries:
            said["retries"] = {"limit": it.retries, "delay": 0.05}
        steps.append(said)
    project.file("workflow.yaml", json.dumps({"steps": steps}, indent=1))


def outcome(project: Project) -> dict[str, str]:
    """Return the final status of every step."""
    result = project.run("status", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert not document["problems"], document["problems"]
    return {step["name"]: step["status"] for step in document["steps"]}


def lines_of(project: Project) -> list[tuple[str, int]]:
    path = project.path / "log.txt"
    words = (line.split() for line in path.read_text().splitlines()) if path.exists() else ()
    return [(what, int(number)) for what, number in words]


def assert_in_order(graph: Graph, lines: list[tuple[str, int]]) -> None:
    """Every start finds what it waits for settled: ended well, tolerated or skipped; at the end, just not running."""
    last: dict[int, str] = {}
    for at, (what, number) in enumerate(lines):
        if what == "death":
            last = {it: "cut" if was == "start" else was for it, was in last.items()}
            continue
        if what == "start":
            it = graph.by_number[number]
            assert last.get(number) != "start", f"step {number} runs twice at once (line {at}): {lines}"
            assert it.rule != "false", f"step {number} was to be skipped: {lines}"
            for need in graph.waits[number]:
                other, was = graph.by_number[need], last.get(need)
                assert was != "start", f"step {number} began while {need} ran (line {at}): {lines}"
                if it.is_at_the_end:
                    continue
                is_settled = was == "end" or (was == "fail" and other.is_tolerant)
                can_be_skipped = was is None and other.rule in ("false", "failure")
                # One for failures that ran in an earlier pass is skipped in this one, or runs in it.
                assert is_settled or can_be_skipped or other.rule == "failure", (
                    f"step {number} began although {need} is {was} (line {at}): {lines}"
                )
        last[number] = what


def marks(run: Path) -> dict[int, tuple[int, int]]:
    """Return what tells one marker file from another that replaced it, by number."""
    found = {}
    for number in markers_of(run):
        status = os.stat(run / f"step_{number:02d}.complete")
        found[number] = (status.st_ino, status.st_mtime_ns)
    return found


def disturb(project: Project, choice: random.Random, *words: str) -> tuple[int, str]:
    """Start the program and end it in some way after a random while; return its exit code and what it said."""
    with open(project.path / "said.txt", "wb") as said:
        process = subprocess.Popen(
            program(*words),
            cwd=project.path,
            env=program_env(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    how = choice.choice(["kill", "kill", "machine", "interrupt", "interrupt twice"])
    try:
        process.wait(choice.uniform(0.1, LONGEST_S))
    except subprocess.TimeoutExpired:
        if how.startswith("interrupt"):
            process.send_signal(signal.SIGINT)
            if how == "interrupt twice":
                process.send_signal(signal.SIGINT)
            process.wait(40)
        else:
            process.kill()
            process.wait()
            if how == "machine":
                end_orphans(project)
                with open(project.path / "log.txt", "a") as log:
                    log.write("death 0\n")
    text = (project.path / "said.txt").read_text(errors="replace")
    return process.returncode, text


def one_story(project: Project, choice: random.Random) -> Counter[str]:
    """One graph: an undisturbed run for comparison, then failures, deaths and resumes until it is complete."""
    graph = draw(choice)
    jobs = str(choice.randrange(1, 4))
    start_over(project)
    (project.path / "log.txt").unlink(missing_ok=True)
    write(project, graph, is_good=True)
    result = project.run("run", "-q", "-j", jobs)
    assert result.returncode == 0, f"undisturbed: {result.returncode} {result.stdout}{result.stderr}"
    assert_in_order(graph, lines_of(project))
    expected = outcome(project)

    start_over(project)
    (project.path / "log.txt").unlink()
    write(project, graph)
    disturbances = choice.randrange(1, 5)
    told: Counter[str] = Counter()
    passes = 40
    before: dict[int, tuple[int, int]] = {}
    run: Path | None = None
    for at in range(passes):
        # By its name: one that was killed behind its last step is complete, and must not be begun anew.
        words = ["resume", run.name, "-j", jobs] if run is not None else ["run", "-j", jobs]
        if choice.random() < 0.3:
            words.append("-k")
        starts = Counter(number for what, number in lines_of(project) if what == "start")
        if at < disturbances:
            code, said = disturb(project, choice, *words)
        else:
            result = project.run(*words)
            code, said = result.returncode, result.stdout + result.stderr
        told[str(code)] += 1
        assert "Traceback" not in said, said
        assert "this is a bug" not in said, said
        # -2: Ctrl-C met the interpreter itself, before our handlers were there or after they were gone.
        assert code in (0, 1, 130, -2, -9), (code, said)
        lines = lines_of(project)
        assert_in_order(graph, lines)
        now = Counter(number for what, number in lines if what == "start")
        for number, mark in before.items():
            if graph.by_number[number].is_at_the_end:
                continue
            assert now[number] == starts[number], f"completed step {number} ran again: {lines}\n{said}"
            assert run is not None
            assert marks(run).get(number) == mark, f"the marker of {number} was written again\n{said}"
        # A run that died before there was anything to resume is not carried on: the next begins another.
        run = what_is_left(project).run
        if run is not None:
            before = marks(run)
        if code == 0:
            break
    else:
        raise AssertionError(f"not complete after {passes} passes: {outcome(project)}")
    assert outcome(project) == expected, f"{lines_of(project)}"
    return told


def stories(project: Project, choice: random.Random, *, seconds: float | None = None, count: int = 0) -> Counter[str]:
    """Tell so many stories, or as many as fit into a time; each has a seed of its own, which a failure names."""
    told: Counter[str] = Counter()
    give_up_at = time.monotonic() + (seconds or 0)
    done = 0
    while done < count or (seconds is not None and time.monotonic() < give_up_at):
        seed = choice.randrange(1 << 32)
        try:
            told += one_story(project, random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"story {seed}: {error}") from error
        done += 1
    print(f"{done} stories; passes by exit code: {dict(told)}")
    return told
