"""What workflow costs, measured on whole processes beside a bare shell loop and other tools, in one run.

    python benchmarks/bench.py            everything, some minutes
    python benchmarks/bench.py --quick    small sizes, to see that it works

Exit code 0 whether or not the targets are reached: a benchmark tells, it does not judge.
What each figure means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from many_runs import many_runs
from measuring import ROOT, UnexpectedEndError
from side_by_side import side_by_side
from suite import PARALLEL_UP_TO, Bench, Figure
from unchanged import unchanged

LATEST = os.path.join(ROOT, "benchmarks", "results", "latest.json")

# ---------------------------------------------------------------------- what people see


def table(figures: Sequence[Figure]) -> str:
    width = max((len(figure.name) for figure in figures), default=0)
    lines = [f"{'figure':<{width}}  {'measured':>13}  {'target':>14}", f"{'-' * width}  {'-' * 13}  {'-' * 14}"]
    for figure in figures:
        reached = {None: "", True: "reached", False: "not reached"}[figure.is_reached()]
        sign = "at least" if figure.more else "at most"
        target = "" if figure.target is None else f"{sign} {figure.target:g}"
        lines.append(f"{figure.name:<{width}}  {amount(figure):>13}  {target:>14}  {reached}".rstrip())
    return "\n".join(lines)


def amount(figure: Figure) -> str:
    places = {"ms": 2, "s": 3, "x": 2, "MB": 1, "MB/s": 0}[figure.unit]
    return f"{figure.value:,.{places}f} {figure.unit:<4}"


def machine() -> dict[str, Any]:
    """Return what a reader must know of the machine, and nothing that tells whose it is."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def document(bench: Bench) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "sizes": bench.sizes,
        "rounds": bench.rounds,
        "output_bytes": bench.output_bytes,
        "figures": [figure._asdict() | {"reached": figure.is_reached()} for figure in bench.figures],
        "raw": {
            group: {name: [it._asdict() for it in times] for name, times in taken.items()}
            for group, taken in bench.raw.items()
        },
    }


GROUPS: dict[str, Callable[[Bench], None]] = {
    "steps": Bench.steps,
    "parallel": functools.partial(side_by_side, parallel_up_to=PARALLEL_UP_TO),
    "resume": Bench.resume,
    "startup": Bench.startup,
    "memory": Bench.memory,
    "output": Bench.output,
    "checkpoints": many_runs,
    "smart": unchanged,
}


def size_list(text: str) -> list[int]:
    sizes = [int(word) for word in text.replace("_", "").split(",")]
    if not sizes or min(sizes) < 1 or max(sizes) > 99_999:
        raise ValueError(text)
    return sizes


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what workflow costs, beside a bare shell loop and others.")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds: shows that it works")
    parser.add_argument("--sizes", type=size_list, metavar="N,N", help="numbers of steps (1,100,1000,10000)")
    parser.add_argument("--rounds", type=positive, help="rounds; three at most from 10,000 steps on (5)")
    parser.add_argument("--only", action="append", choices=sorted(GROUPS), help="this group alone; may be repeated")
    parser.add_argument("--output-bytes", type=positive, metavar="N", help="what the one step prints (2^30)")
    parser.add_argument("--dir", help="work below this directory instead of TMPDIR; it must be on a real disk")
    parser.add_argument("--json", nargs="?", const=LATEST, metavar="FILE", help="write everything measured to FILE")
    given = parser.parse_args(words)
    given.sizes = given.sizes or ([1, 5, 20] if given.quick else [1, 100, 1_000, 10_000])
    given.rounds = given.rounds or (2 if given.quick else 5)
    given.output_bytes = given.output_bytes or (1 << 24 if given.quick else 1 << 30)
    return given


def main(words: Sequence[str] | None = None) -> int:
    given = arguments(words)
    json_file = os.path.abspath(given.json) if given.json else None
    # Each group makes fresh directories and all of them go at the end: file systems create files
    # many times slower for minutes after a mass delete.
    directory = tempfile.mkdtemp(prefix="workflow-bench-", dir=os.path.abspath(given.dir) if given.dir else None)
    try:
        bench = Bench(directory, given.sizes, given.rounds, given.output_bytes)
        for name, group in GROUPS.items():
            if not given.only or name in given.only:
                group(bench)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except UnexpectedEndError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        os.chdir(ROOT)
        shutil.rmtree(directory, ignore_errors=True)
    about = machine()
    print(f"{about['cores']} cores, {about['system']}, Python {about['python']}, {bench.rounds} rounds\n")
    print(table(bench.figures))
    if json_file:
        os.makedirs(os.path.dirname(json_file), exist_ok=True)
        with open(json_file, "w", encoding="ascii") as file:
            json.dump(document(bench), file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
