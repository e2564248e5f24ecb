"""What attempts of steps cost, as they said themselves: `cost_incurred` and `tokens_used`, kept in `state/spending`.

A line an attempt, durable before the step or its iteration counts as done: `STEP EPOCH ATTEMPT ITERATION END_OF_OUTPUT
NAME=VALUE ... END`. An attempt that is written twice counts once, so that a resume may write it again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from workflow.checkpoint import values
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.errors import one_line

NAMES = ("cost_incurred", "tokens_used")
LARGEST = Decimal(10) ** 15
_NUMBER = re.compile(r"\+?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_LARGEST_FILE_BYTES = 256 * 1024 * 1024


class Spent(NamedTuple):
    """What one attempt cost. `end_bytes` is how long the file of published values was when it ended."""

    step: int
    epoch: int
    attempt: int
    iteration: int
    end_bytes: int
    amounts: tuple[tuple[str, Decimal], ...]

    @property
    def key(self) -> tuple[int, int, int]:
        return self.step, self.epoch, self.attempt


def amount(text: str) -> Decimal | None:
    """Return the amount that a published value says; None where it is none: not a number, negative, beyond 10^15."""
    words = text.strip()
    if _NUMBER.match(words) is None:
        return None
    value = Decimal(words)
    # What is too small to be money or tokens would only make the sums long.
    return value.quantize(Decimal("1e-12")) if value <= LARGEST else None


def amounts_in(published: Mapping[str, str]) -> tuple[tuple[tuple[str, Decimal], ...], list[str]]:
    """Return the amounts among published values, and a sentence for each that is none."""
    found = []
    wrong = []
    for name in NAMES:
        if name not in published:
            continue
        value = amount(published[name])
        if value is None:
            shown = one_line(published[name][:40])
            wrong.append(f"{name}={shown} is no amount (a number from 0 to 10^15): it is not counted")
        else:
            found.append((name, value))
    return tuple(found), wrong


def append(disk: Disk, layout: RunLayout, spent: Spent, *, sync: bool = True) -> None:
    """Record what an attempt cost, durably with `sync`. Raises NotRecordedError."""
    amounts = " ".join(f"{name}={text(value)}" for name, value in spent.amounts)
    numbers = f"{spent.step:02d} {spent.epoch} {spent.attempt} {spent.iteration} {spent.end_bytes}"
    # The newline in front ends a line that a crash cut off, which would take this one with it.
    disk.append(layout.spending, f"\n{numbers} {amounts} END\n".encode("ascii"), sync=sync)


def read(layout: RunLayout) -> dict[tuple[int, int, int], Spent]:
    """Return what attempts cost by step, epoch and attempt, oldest first; empty where nothing was recorded."""
    try:
        fd = os.open(layout.spending, _READ)
    except OSError:
        return {}
    with os.fdopen(fd, "rb") as file:
        data = file.read(_LARGEST_FILE_BYTES)
    found: dict[tuple[int, int, int], Spent] = {}
    for line in data.split(b"\n"):
        spent = _decode(line)
        if spent is not None:
            found[spent.key] = spent
    return found


def _decode(line: bytes) -> Spent | None:
    words = line.decode("ascii", "replace").split()
    if len(words) < 6 or words[-1] != "END":
        return None
    try:
        step, epoch, attempt, iteration, end = (int(word) for word in words[:5])
    except ValueError:
        return None
    amounts = []
    for word in words[5:-1]:
        name, _, said = word.partition("=")
        value = amount(said)
        if name not in NAMES or value is None:
            return None
        amounts.append((name, value))
    if min(step, epoch, attempt, iteration, end) < 0:
        return None
    return Spent(step, epoch, attempt, iteration, end, tuple(amounts))


def totals(spent: Iterable[Spent]) -> dict[str, Decimal]:
    """Return the sums by name; those that nothing was recorded of are missing."""
    sums: dict[str, Decimal] = {}
    for one in spent:
        for name, value in one.amounts:
            sums[name] = sums.get(name, Decimal(0)) + value
    return sums


def text(value: Decimal) -> str:
    """Return an amount as people write it: without exponent, and without zeros at its end."""
    shown = f"{value:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def number(value: Decimal) -> int | float:
    """Return an amount as JSON has it."""
    return int(value) if value == value.to_integral_value() else float(value)


def start_of(iteration: int, last: Spent | None) -> int:
    """Return where in the file of its published values an attempt begins: all iterations of a step write into one.

    `last` is what was recorded of the step before this attempt.
    """
    # The file was emptied before the first iteration; a `last` of a higher one is of a loop that began anew since.
    if iteration <= 1 or last is None or last.iteration > iteration:
        return 0
    return last.end_bytes


def of_attempt(
    layout: RunLayout, key: tuple[int, int, int], iteration: int, published: Mapping[str, str], last: Spent | None
) -> tuple[Spent | None, list[str]]:
    """Return what an attempt cost, given what it published, and a sentence for each amount that is none.

    None: nothing need be recorded. `published` of a later iteration holds what earlier ones published, too.
    """
    # Where something stands of a repeated step, every attempt is recorded: a silent one may have begun with an
    # empty file, and what comes after it must not be looked for behind what is gone.
    if not (iteration and last) and not any(name in published for name in NAMES):
        return None, []
    if not iteration:
        amounts, wrong = amounts_in(published)
        return (Spent(*key, 0, 0, amounts), wrong) if amounts else (None, wrong)
    try:
        fd = os.open(layout.output(key[0]), _READ)
    except FileNotFoundError:
        return Spent(*key, iteration, 0, ()), []
    except OSError:
        return None, []
    with os.fdopen(fd, "rb") as file:
        data = file.read(_LARGEST_FILE_BYTES)
    try:
        amounts, wrong = amounts_in(values.decode(data[start_of(iteration, last) :]))
    except values.ValuesError:
        amounts, wrong = (), []
    # One that cost nothing is recorded too: what comes after it begins behind it.
    return Spent(*key, iteration, len(data), amounts), wrong
