"""What is measured: projects of many steps, the commands that run them, and the figures that come of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from measuring import (
    Command,
    Taken,
    clean_environment,
    interleave,
    line_through,
    marginal_growth,
    median_cpu_s,
    median_excess_s,
    median_ratio,
    median_wall_s,
    peak_mb,
    take,
)

# What an installed `workflow` command is; written here, so that this checkout is measured, not an installed release.
LAUNCHER = "import sys\nfrom workflow.cli.main import main\nsys.exit(main())\n"

MANY_STEPS = 10_000  # from here on a measurement takes half a minute, and three rounds must do
PARALLEL_UP_TO = 1_000  # GNU parallel takes about 4 ms a job; its slope is known by then

TARGET_FULL = 2.5
TARGET_PROCESS = 1.8
TARGET_GROWTH = 1.25
TARGET_VERSION = 3.0
TARGET_STATUS = 7.0
TARGET_ONE_STEP = 12.0
TARGET_RESUME_S = 0.3
TARGET_PEAK_MB = 60.0
TARGET_OUTPUT = 0.8
TARGET_OUTPUT_TWICE = 0.4  # what is streamed is written twice: to the log and to where people look
TARGET_OUTPUT_PEAK_MB = 8.0


class Figure(NamedTuple):
    """One line of the table. `target` None means that nobody promised anything; `more` turns at most into at least."""

    name: str
    value: float
    unit: str
    target: float | None = None
    more: bool = False

    def is_reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.more else self.value <= self.target


class Bench:
    """The working directory, the commands, and what was measured so far."""

    def __init__(self, directory: str, sizes: Sequence[int], rounds: int, output_bytes: int) -> None:
        self.directory = directory
        self.sizes = sorted(set(sizes))
        self.rounds = rounds
        self.output_bytes = output_bytes
        self.environment = clean_environment()
        self.said = os.path.join(directory, "said")
        self.launcher = os.path.join(directory, "workflow")
        self.figures: list[Figure] = []
        self.raw: dict[str, dict[str, list[Taken]]] = {}
        self._made = 0
        with open(self.launcher, "w", encoding="ascii") as file:
            file.write(LAUNCHER)

    # ------------------------------------------------------------------ material

    def workflow(self, *words: str) -> list[str]:
        return [sys.executable, self.launcher, *words]

    def fresh_directory(self) -> str:
        self._made += 1
        path = os.path.join(self.directory, f"project_{self._made}")
        os.mkdir(path)
        return path

    def numbered_scripts(self, count: int, *, durability: str = "full", last: str = ":") -> str:
        """Return a new project with `count` scripts that do nothing; `last` is what the last one does."""
        project = self.fresh_directory()
        os.mkdir(os.path.join(project, "steps"))
        for number in range(1, count + 1):
            write_script(os.path.join(project, "steps", f"step_{number:05d}.sh"), ":" if number < count else last)
        if durability != "full":
            with open(os.path.join(project, "workflow.yaml"), "w", encoding="ascii") as file:
                file.write(f"name: bench\nsteps: steps\ncheckpoints: {{durability: {durability}}}\n")
        return project

    def yaml_steps(self, count: int) -> str:
        project = self.fresh_directory()
        with open(os.path.join(project, "workflow.yaml"), "w", encoding="ascii") as file:
            file.write("name: bench\nsteps:\n")
            file.writelines(f"  - name: step_{number:05d}\n    run: ':'\n" for number in range(1, count + 1))
        return project

    def makefile(self, count: int) -> str:
        """Return a new directory with a chain of targets, so that they are made one after another like our steps."""
        # `true` is built into sh as `:` is; make knows `sh -c :` for doing nothing and never starts it.
        project = self.fresh_directory()
        with open(os.path.join(project, "Makefile"), "w", encoding="ascii") as file:
            file.write(f".SUFFIXES:\nall: t{count}\nt1:\n\t@sh -c true\n")
            file.writelines(f"t{number}: t{number - 1}\n\t@sh -c true\n" for number in range(2, count + 1))
        return project

    # ------------------------------------------------------------------ the groups

    def measure(self, group: str, commands: Mapping[str, Command], rounds: int) -> dict[str, list[Taken]]:
        taken = interleave(commands, rounds, self.environment, self.said)
        self.raw[group] = taken
        return taken

    def add(self, name: str, value: float, unit: str, target: float | None = None, *, more: bool = False) -> None:
        self.figures.append(Figure(name, value, unit, target, more))

    def steps(self) -> None:
        """Cost per step: slope and intercept over the sizes, beside a bare loop, make and parallel."""
        medians: dict[str, dict[int, float]] = {}
        processor: dict[str, dict[int, float]] = {}
        ratios: list[tuple[str, int, float]] = []
        for size in self.sizes:
            tell(f"steps: {size:,}")
            here = self.fresh_directory()
            run = self.workflow("run")
            loop = f"i=0; while [ $i -lt {size} ]; do sh -c :; i=$((i+1)); done"
            commands = {
                "sh loop": Command(["sh", "-c", loop], here),
                "scripts, full": Command(run, self.numbered_scripts(size)),
                "scripts, process": Command(run, self.numbered_scripts(size, durability="process")),
                "YAML, full": Command(run, self.yaml_steps(size)),
            }
            if shutil.which("make"):
                commands["GNU make"] = Command(["make", "-s", "-r", "all"], self.makefile(size))
            if shutil.which("parallel") and size <= PARALLEL_UP_TO:
                words = [str(number) for number in range(size)]
                commands["GNU parallel"] = Command(
                    ["parallel", "--will-cite", "-j1", "sh -c : {}", ":::", *words], here
                )
            taken = self.measure(f"steps {size}", commands, self.rounds_for(size))
            for name, times in taken.items():
                medians.setdefault(name, {})[size] = median_wall_s(times)
                processor.setdefault(name, {})[size] = median_cpu_s(times)
                if name != "sh loop":
                    ratios.append((name, size, median_ratio(times, taken["sh loop"])))
        bare = line_through(medians["sh loop"])
        for name, by_size in medians.items():
            slope, intercept = line_through(by_size)
            self.add(f"{name}: per step", slope * 1e3, "ms")
            self.add(f"{name}: start and end", intercept * 1e3, "ms")
            self.add(f"{name}: processor time per step", line_through(processor[name])[0] * 1e3, "ms")
            if name == "sh loop":
                continue
            # A tool that left out the largest size is held against the same sizes of the loop.
            beside = line_through({size: medians["sh loop"][size] for size in by_size})[0]
            target = {"scripts, full": TARGET_FULL, "YAML, full": TARGET_FULL, "scripts, process": TARGET_PROCESS}
            self.add(f"{name}: per step / sh loop", slope / beside, "x", target.get(name))
        for name, size, ratio in ratios:
            if size == self.sizes[-1]:
                self.add(f"{name}: whole run of {size:,} / sh loop", ratio, "x")
        bare_growth = marginal_growth(medians["sh loop"])
        for name in ("scripts, full", "scripts, process", "YAML, full"):
            growth = marginal_growth(medians[name])
            if growth is not None and bare_growth is not None and bare[0] > 0:
                self.add(f"{name}: growth of the cost of a step", growth / bare_growth, "x", TARGET_GROWTH)

    def resume(self) -> None:
        """A resume past all markers but the last; `status` and `plan` of the same run."""
        size = self.sizes[-1]
        tell(f"resume past {size - 1:,} markers, status and plan of that run")
        big = self.numbered_scripts(size, last="if [ -e failed ]; then :; else : >failed; exit 1; fi")
        tiny = self.numbered_scripts(1)
        take(Command(self.workflow("run"), big, code=1), self.environment, self.said)
        run_id = next(name for name in os.listdir(os.path.join(big, ".checkpoints")) if name.startswith("workflow_"))

        def reopen() -> None:
            take(Command(self.workflow("mark", run_id, str(size), "--pending"), big), self.environment, self.said)

        commands = {
            "version": Command(self.workflow("--version"), big),
            "one step": Command(self.workflow("run"), tiny),
            "status": Command(self.workflow("status"), big),
            "status --json": Command(self.workflow("status", "--json"), big),
            "plan": Command(self.workflow("plan"), big),
            "resume": Command(self.workflow("resume"), big, after=reopen),
        }
        taken = self.measure(f"resume {size}", commands, self.rounds)
        many = f"{size:,} steps"
        self.add("workflow --version", median_wall_s(taken["version"]), "s")
        self.add("run of one step", median_wall_s(taken["one step"]), "s")
        self.add(f"resume, {many}", median_wall_s(taken["resume"]), "s")
        excess_s = median_excess_s(taken["resume"], taken["version"])
        self.add(f"resume, {many}: above --version", excess_s, "s")
        excess_s = median_excess_s(taken["resume"], taken["one step"])
        self.add(f"resume, {many}: above a run of one step", excess_s, "s", TARGET_RESUME_S)
        for name in ("status", "status --json", "plan"):
            self.add(f"{name}, {many}", median_wall_s(taken[name]), "s")
        self.add(f"resume, {many}: peak memory", peak_mb(taken["resume"]), "MB", TARGET_PEAK_MB)

    def startup(self) -> None:
        """Small commands beside an interpreter that does nothing."""
        tell("start-up")
        five, one = self.numbered_scripts(5), self.numbered_scripts(1)
        take(Command(self.workflow("run"), five), self.environment, self.said)
        commands = {
            "python3 -c pass": Command([sys.executable, "-c", "pass"], five),
            "workflow --version": Command(self.workflow("--version"), five),
            "status, 5 steps": Command(self.workflow("status"), five),
            "run of one trivial step": Command(self.workflow("run"), one),
        }
        interleave(commands, 1, self.environment, self.said)  # the first start reads from the disk
        taken = self.measure("startup", commands, self.rounds * 4)
        targets = {
            "workflow --version": TARGET_VERSION,
            "status, 5 steps": TARGET_STATUS,
            "run of one trivial step": TARGET_ONE_STEP,
        }
        for name, times in taken.items():
            self.add(name, median_wall_s(times) * 1e3, "ms")
            if name in targets:
                ratio = median_ratio(times, taken["python3 -c pass"])
                self.add(f"{name} / python3 -c pass", ratio, "x", targets[name])

    def memory(self) -> None:
        """Peak memory of the runner; runs that were measured for their time already count here too."""
        tell("memory")
        floor = take(Command([sys.executable, "-c", "pass"], self.directory), self.environment, self.said)
        self.add("python3 -c pass: peak memory", peak_mb([floor]), "MB")
        makers: dict[str, Callable[[int], str]] = {
            "scripts, full": self.numbered_scripts,
            "YAML, full": self.yaml_steps,
        }
        for size in (self.sizes[0], self.sizes[-1]):
            for name, make in makers.items():
                times = self.raw.get(f"steps {size}", {}).get(name)
                if not times:
                    command = Command(self.workflow("run"), make(size))
                    times = self.measure(f"memory {size}, {name}", {name: command}, 1)[name]
                self.add(f"{name}: run of {size:,}: peak memory", peak_mb(times), "MB", TARGET_PEAK_MB)

    def output(self) -> None:
        """Much output from one step, into the log alone and into the log and a file."""
        size = self.output_bytes
        tell(f"output of {size:,} bytes")
        text = f"head -c {size} /dev/zero"
        here = self.fresh_directory()
        write_script(os.path.join(here, "step"), text)
        quiet, stream = self.numbered_scripts(1, last=text), self.numbered_scripts(1, last=text)
        silent = self.numbered_scripts(1)
        plain, streamed = os.path.join(here, "plain"), os.path.join(here, "streamed")

        def emptied(*places: str) -> Callable[[], None]:
            # A few large files, so nothing of the slowness that follows a mass delete; what is
            # gone need not be written out while the next one is measured.
            def empty() -> None:
                for place in places:
                    for path in files_below(place) if os.path.isdir(place) else [place]:
                        os.truncate(path, 0)

            return empty

        commands = {
            "sh step >file": Command(["sh", "step"], here, output=plain, after=emptied(plain)),
            "--output quiet": Command(
                self.workflow("run", "--output", "quiet"), quiet, after=emptied(os.path.join(quiet, ".checkpoints"))
            ),
            "--output stream >file": Command(
                self.workflow("run", "--output", "stream"),
                stream,
                output=streamed,
                after=emptied(streamed, os.path.join(stream, ".checkpoints")),
            ),
            "silent step": Command(self.workflow("run"), silent),
        }
        taken = self.measure(f"output {size}", commands, min(self.rounds, 3))
        targets = {"--output quiet": TARGET_OUTPUT, "--output stream >file": TARGET_OUTPUT_TWICE}
        plain_s = median_wall_s(taken["sh step >file"])
        self.add("sh step >file: output", size / 1e6 / plain_s, "MB/s")
        for name, target in targets.items():
            # What a run costs however little it prints is told elsewhere.
            excess_s = max(median_excess_s(taken[name], taken["silent step"]), 1e-3)
            self.add(f"{name}: output", size / 1e6 / excess_s, "MB/s")
            self.add(f"{name}: speed / sh step >file", plain_s / excess_s, "x", target, more=True)
            excess_mb = peak_mb(taken[name]) - peak_mb(taken["silent step"])
            self.add(f"{name}: peak memory above a silent step", excess_mb, "MB", TARGET_OUTPUT_PEAK_MB)

    def rounds_for(self, size: int) -> int:
        return min(self.rounds, 3) if size >= MANY_STEPS else self.rounds


def write_script(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    os.write(fd, f"#!/bin/sh\n{text}\n".encode("ascii"))
    os.close(fd)


def files_below(directory: str) -> list[str]:
    """Return the log files of the runs below a checkpoint directory."""
    return [
        os.path.join(path, name) for path, _, names in os.walk(directory) for name in names if name.endswith(".log")
    ]


def tell(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)
