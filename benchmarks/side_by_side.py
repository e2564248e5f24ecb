"""Independent steps, two at a time, beside GNU make -j2, a bare `xargs -P2` and GNU parallel -j2."""

from __future__ import annotations

import os
import shutil

from measuring import Command, line_through, median_cpu_s, median_wall_s
from suite import Bench, tell

TARGET = 2.0
OURS = ("-j 2, full", "-j 2, process")


def grouped(bench: Bench, count: int, durability: str) -> str:
    """Return a new project whose scripts are all in one parallel group."""
    project = bench.numbered_scripts(count)
    with open(os.path.join(project, "workflow.yaml"), "w", encoding="ascii") as file:
        file.write(f"name: bench\ncheckpoints: {{durability: {durability}}}\nsteps:\n")
        file.write("  - name: all\n    parallel:\n      - steps: steps\n")
    return project


def makefile(bench: Bench, count: int) -> str:
    """Return a new directory with targets that need nothing."""
    project = bench.fresh_directory()
    with open(os.path.join(project, "Makefile"), "w", encoding="ascii") as file:
        file.write(f".SUFFIXES:\nall: {' '.join(f't{number}' for number in range(count))}\n")
        file.writelines(f"t{number}:\n\t@sh -c true\n" for number in range(count))
    return project


def side_by_side(bench: Bench, parallel_up_to: int) -> None:
    """Measure all of them over the sizes; a step costs what the slope says."""
    tell("side by side")
    medians: dict[str, dict[int, float]] = {}
    processor: dict[str, dict[int, float]] = {}
    for size in bench.sizes:
        here = bench.fresh_directory()
        numbers = os.path.join(here, "numbers")
        with open(numbers, "w", encoding="ascii") as file:
            file.writelines(f"{number}\n" for number in range(size))
        run = bench.workflow("run", "-j", "2")
        commands = {
            "-j 2, full": Command(run, grouped(bench, size, "full")),
            "-j 2, process": Command(run, grouped(bench, size, "process")),
            "xargs -P2": Command(["sh", "-c", "xargs -P2 -n1 sh -c : <numbers"], here),
        }
        if shutil.which("make"):
            commands["GNU make -j2"] = Command(["make", "-s", "-r", "-j2", "all"], makefile(bench, size))
        if shutil.which("parallel") and size <= parallel_up_to:
            commands["GNU parallel -j2"] = Command(
                ["parallel", "--will-cite", "-j2", "-a", numbers, "sh -c : {}"], here
            )
        taken = bench.measure(f"side by side {size}", commands, bench.rounds_for(size))
        for name, times in taken.items():
            medians.setdefault(name, {})[size] = median_wall_s(times)
            processor.setdefault(name, {})[size] = median_cpu_s(times)
    slopes = {name: line_through(by_size)[0] for name, by_size in medians.items()}
    fastest = min((name for name in slopes if name not in OURS), key=slopes.__getitem__)
    for name, slope in slopes.items():
        bench.add(f"{name}: per step", slope * 1e3, "ms")
        bench.add(f"{name}: processor time per step", line_through(processor[name])[0] * 1e3, "ms")
        if name in OURS:
            bench.add(f"{name}: per step / {fastest}", slope / slopes[fastest], "x", TARGET)
