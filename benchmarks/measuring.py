"""Measuring whole processes: their wall time, processor time and peak memory, and what to make of several rounds."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Taken(NamedTuple):
    """One process, from its start until it was collected.

    `cpu_s` and `peak_kib` take in the children it waited for. The peak is that of the largest process
    among them, which is the runner: its children are small shells. It is never below our own size, as
    the kernel lets a child start with the peak of its parent; that is why nothing large is imported here.
    """

    wall_s: float
    cpu_s: float
    peak_kib: int


class Command(NamedTuple):
    """What is measured. `before` and `after` run outside the measurement; `code` is the exit code it must have."""

    argv: Sequence[str]
    directory: str
    code: int = 0
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    output: str | None = None


class UnexpectedEndError(Exception):
    """A measured process ended with another exit code than it must; the message says which and what it said."""


def clean_environment() -> dict[str, str]:
    """Return the environment for everything measured: this checkout first, nothing of another run."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("WORKFLOW_", "CHECKPOINT_"))}
    # Without byte code on disk every start would compile the package again.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, env.get("PYTHONPATH"))))
    env["SHELL"] = "/bin/sh"  # GNU parallel starts its jobs through it
    env.setdefault("TERM", "dumb")
    return env


def take(command: Command, environment: Mapping[str, str], said: str) -> Taken:
    """Run a command to its end. What it says goes to its `output`, else to `said`. Raises UnexpectedEndError."""
    if command.before is not None:
        command.before()
    path = command.output or said
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    os.chdir(command.directory)
    started = time.perf_counter()
    pid = os.posix_spawnp(command.argv[0], list(command.argv), dict(environment), file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code != command.code:
        with open(path, "rb") as file:
            tail = file.read()[-2000:].decode("utf-8", "replace")
        raise UnexpectedEndError(f"{' '.join(command.argv)}: exit code {code}, not {command.code}\n{tail}")
    if command.after is not None:
        command.after()
    peak_kib = usage.ru_maxrss // 1024 if sys.platform == "darwin" else usage.ru_maxrss
    return Taken(wall_s, usage.ru_utime + usage.ru_stime, peak_kib)


def interleave(
    commands: Mapping[str, Command], rounds: int, environment: Mapping[str, str], said: str
) -> dict[str, list[Taken]]:
    """Measure every command once a round. Each round starts with another one, so that none has the best place."""
    names = list(commands)
    taken: dict[str, list[Taken]] = {name: [] for name in names}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(take(commands[name], environment, said))
    return taken


def median_wall_s(taken: Sequence[Taken]) -> float:
    return statistics.median(it.wall_s for it in taken)


def median_cpu_s(taken: Sequence[Taken]) -> float:
    return statistics.median(it.cpu_s for it in taken)


def median_ratio(taken: Sequence[Taken], beside: Sequence[Taken]) -> float:
    """Return the median of the ratios of each round: a machine that slows down for a while slows both."""
    return statistics.median(one.wall_s / other.wall_s for one, other in zip(taken, beside, strict=True))


def median_excess_s(taken: Sequence[Taken], beside: Sequence[Taken]) -> float:
    """Return the median of the differences of each round."""
    return statistics.median(one.wall_s - other.wall_s for one, other in zip(taken, beside, strict=True))


def peak_mb(taken: Sequence[Taken]) -> float:
    """Return the largest peak in units of 10^6 bytes."""
    return max(it.peak_kib for it in taken) * 1024 / 1e6


def line_through(seconds_by_size: Mapping[int, float]) -> tuple[float, float]:
    """Return slope and intercept by least squares; with one size only, all of it counts as slope."""
    if len(seconds_by_size) == 1:
        ((size, seconds),) = seconds_by_size.items()
        return seconds / size, 0.0
    mean_size = statistics.fmean(seconds_by_size)
    mean_s = statistics.fmean(seconds_by_size.values())
    spread = sum((size - mean_size) ** 2 for size in seconds_by_size)
    slope = sum((size - mean_size) * (seconds - mean_s) for size, seconds in seconds_by_size.items()) / spread
    return slope, mean_s - slope * mean_size


def marginal_growth(seconds_by_size: Mapping[int, float]) -> float | None:
    """Return the cost of one more step among the largest sizes over that among the next smaller; 1 is flat.

    None when there are fewer than three sizes of 100 and more: below, start-up drowns a step.
    """
    sizes = sorted(size for size in seconds_by_size if size >= 100)
    if len(sizes) < 3:
        return None
    small, middle, large = sizes[-3:]
    low = (seconds_by_size[middle] - seconds_by_size[small]) / (middle - small)
    high = (seconds_by_size[large] - seconds_by_size[middle]) / (large - middle)
    return high / low if low > 0 else None
