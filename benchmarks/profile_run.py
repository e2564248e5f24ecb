"""Where the time of a run goes: cProfile of an in-process run of N steps that do nothing, by own time.

    python benchmarks/profile_run.py 1000              a run, seen from the loop
    python benchmarks/profile_run.py 1000 --of commits the same, seen from the thread that commits
    python benchmarks/profile_run.py 10000 --of resume a resume past N-1 markers

cProfile makes Python code two to three times slower and leaves system calls as they are: use it to find what is
large, and bench.py to say how large. `poll` is the time in which the loop had nothing to do.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import os
import pstats
import shutil
import sys
import tempfile
from collections.abc import Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAILS_ONCE = "if [ -e failed ]; then :; else : >failed; exit 1; fi"


def make_steps(project: str, count: int, last: str) -> None:
    os.mkdir(os.path.join(project, "steps"))
    for number in range(1, count + 1):
        fd = os.open(os.path.join(project, "steps", f"step_{number:05d}.sh"), os.O_WRONLY | os.O_CREAT, 0o755)
        os.write(fd, f"#!/bin/sh\n{last if number == count else ':'}\n".encode("ascii"))
        os.close(fd)


def call(words: Sequence[str]) -> None:
    """Run a command line of workflow in this process; what it says is thrown away."""
    from workflow.cli.main import main

    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            main(words)
        except SystemExit:
            return


def profile_commits(words: Sequence[str], profile: cProfile.Profile) -> None:
    """Profile the thread that commits instead of the loop: a profile sees one thread only."""
    from workflow.execution.committer import Committer

    work = Committer._work

    def profiled(self: Committer) -> None:
        profile.enable()
        try:
            work(self)
        finally:
            profile.disable()

    Committer._work = profiled  # type: ignore[method-assign]
    try:
        call(words)
    finally:
        Committer._work = work  # type: ignore[method-assign]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Profile an in-process run of N steps that do nothing.")
    parser.add_argument("steps", type=int, nargs="?", default=1_000, metavar="N", help="number of steps (1000)")
    parser.add_argument("--of", choices=("loop", "commits", "resume"), default="loop", help="what to look at (loop)")
    parser.add_argument("--durability", choices=("full", "process"), default="full")
    parser.add_argument("--sort", default="tottime", help="a sort key of pstats (tottime)")
    parser.add_argument("--lines", type=int, default=30, help="how many functions to show (30)")
    parser.add_argument("--dir", help="work below this directory instead of TMPDIR; it must be on a real disk")
    given = parser.parse_args(words)
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)
    project = tempfile.mkdtemp(prefix="workflow-profile-", dir=given.dir)
    try:
        make_steps(project, given.steps, FAILS_ONCE if given.of == "resume" else ":")
        with open(os.path.join(project, "workflow.yaml"), "w", encoding="ascii") as file:
            file.write(f"name: profile\nsteps: steps\ncheckpoints: {{durability: {given.durability}}}\n")
        os.chdir(project)
        profile = cProfile.Profile()
        if given.of == "commits":
            profile_commits(["run"], profile)
        else:
            if given.of == "resume":
                with contextlib.redirect_stderr(None):
                    call(["run"])
            profile.runcall(call, ["run"] if given.of == "loop" else ["resume"])
        pstats.Stats(profile).strip_dirs().sort_stats(given.sort).print_stats(given.lines)
    finally:
        os.chdir(ROOT)
        shutil.rmtree(project, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
