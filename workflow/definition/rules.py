"""How steps are scheduled, from the options that say so; and the limits of the whole that they must fit in."""

from __future__ import annotations

import re
from typing import Any

from workflow.definition import options
from workflow.definition.nodes import found
from workflow.definition.raw import RawStep, RawWorkflow
from workflow.errors import Problem
from workflow.model import NO_RULES, Limits, Repeat, Retries, Rules

_WORDS = frozenset({"if", "continue_on_error", "retries", "lock", "resources", "approval", "repeat"})
_BACKOFF = {"constant": 1.0, "exponential": 2.0}
# As GNU programs read sizes: K, M, G and T (KiB ...) are powers of 1024, KB ... powers of 1000.
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(iB|B)?", re.IGNORECASE)
_LARGEST_MEMORY = 1 << 63
_WANTS_MEMORY = "an amount of memory like 512M, 2G or 1.5GiB (or a number of bytes)"
# What other programs call it.
_CONDITIONS = {
    **dict.fromkeys(("always()", "Always", "ALWAYS"), "always"),
    **dict.fromkeys(("failure()", "failed()", "failed", "on_failure", "Failure", "FAILURE"), "failure"),
    **dict.fromkeys(("success()", "success", "on_success"), ""),
}


def rules(raw: RawStep, problems: list[Problem]) -> Rules:
    """Return how the step is scheduled; the one NO_RULES where nothing is said or all of it is the standard."""
    values = raw.values
    if _WORDS.isdisjoint(values):
        return NO_RULES
    resources = values.get("resources", {})
    given = Rules(
        condition=_condition(raw, problems),
        continue_on_error=values.get("continue_on_error", False),
        retries=_retries(raw, problems),
        lock=values.get("lock", ""),
        cpus=float(resources.get("cpus", 0)),
        memory_bytes=_memory(raw, resources, problems),
        approval=values.get("approval", ""),
        repeat=_repeat(values),
    )
    return NO_RULES if given == NO_RULES else given


def limits(raw: RawWorkflow, problems: list[Problem]) -> tuple[float | None, Limits]:
    """Return the limit of the run in seconds, and what may run side by side."""
    said: dict[str, Any] = raw.values.get("limits", {})
    top = raw.top
    if top is None:
        return None, Limits()
    time_s = None
    if "time" in said:
        time_s = options.duration_s(said["time"])
        if time_s is None:
            problems.append(top.at(["limits", "time"]).problem(options.duration_problem("time", said["time"])))
    memory = None
    if "memory" in said:
        memory = memory_bytes(said["memory"])
        if memory is None:
            problems.append(top.at(["limits", "memory"]).problem(_memory_problem(said["memory"])))
    jobs, again = raw.values.get("jobs"), said.get("jobs")
    if jobs is not None and again is not None and jobs != again:
        message = f"`jobs` is {jobs} at the top (line {top.key('jobs').line}) and {again} in `limits`"
        problems.append(top.at(["limits", "jobs"]).problem(message, "keep one of them: they say the same"))
    jobs = again if jobs is None else jobs
    return time_s, Limits(
        None if jobs is None else int(jobs),
        _number(said, "cpus"),
        memory,
        _number(said, "cost"),
        _number(said, "tokens"),
    )


def _number(said: dict[str, Any], word: str) -> float | None:
    return float(said[word]) if word in said else None


def check_fits(raw: RawStep, given: Rules, limits: Limits, problems: list[Problem]) -> None:
    """Tell of a step that asks for more than the limits of the whole."""
    if raw.options is None or "resources" not in raw.values:
        return
    said = raw.values["resources"]
    for word, wanted, most in (
        ("cpus", given.cpus, limits.cpus),
        ("memory", given.memory_bytes, limits.memory_bytes),
    ):
        if most is not None and wanted > most:
            amounts = (
                f"{said[word]} of memory, and `limits` allows {_bytes_text(int(most))}"
                if word == "memory"
                else f"{said[word]:g} CPUs, and `limits` allows {most:g}"
            )
            problems.append(
                raw.options.at(["resources", word]).problem(
                    f"this step asks for {amounts}: it could never run", f"ask for less, or raise `{word}` in `limits`"
                )
            )


def memory_bytes(value: str | float) -> int | None:
    """Return an amount of memory in bytes; None when it is none."""
    if isinstance(value, str):
        match = _MEMORY.fullmatch(value.strip()) if len(value) < 100 and value.isascii() else None
        if match is None or (match[3] and match[3].lower() == "ib" and not match[2]):
            return None
        step = 1000 if match[3] and match[3].lower() == "b" else 1024
        power = " KMGT".index(match[2].upper()) if match[2] else 0
        amount = float(match[1]) * step**power
    else:
        amount = float(value)
    return int(amount) if 1 <= amount < _LARGEST_MEMORY else None


def _memory(raw: RawStep, resources: dict[str, Any], problems: list[Problem]) -> int:
    if "memory" not in resources:
        return 0
    amount = memory_bytes(resources["memory"])
    if amount is None and raw.options is not None:
        problems.append(raw.options.at(["resources", "memory"]).problem(_memory_problem(resources["memory"])))
    return amount or 0


def _memory_problem(value: object) -> str:
    return f"`memory` wants {_WANTS_MEMORY}, not {found(value)}"


def _bytes_text(amount: int) -> str:
    """Return an amount the shortest exact way it can be written."""
    for unit, size in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if amount % size == 0:
            return f"{amount // size}{unit}"
    return f"{amount:,} bytes"


def _condition(raw: RawStep, problems: list[Problem]) -> str:
    said: str = raw.values.get("if", "").strip()
    if said in _CONDITIONS:
        meant = _CONDITIONS[said]
        advice = f"did you mean `{meant}`?" if meant else "take it out: without `if` a step runs when nothing failed"
        problems.append(raw.option_problem("if", f"`if` knows always, failure and shell tests, not `{said}`", advice))
    return said


def _retries(raw: RawStep, problems: list[Problem]) -> Retries:
    said = raw.values.get("retries", 0)
    if not isinstance(said, dict):
        return Retries(limit=int(said))
    backoff = said.get("backoff", 1.0)
    before = len(problems)
    delay_s = _duration(raw, "delay", said, problems, can_be_zero=True) or 0.0
    max_delay_s = _duration(raw, "max_delay", said, problems)
    on_exit = said.get("on_exit", [])
    given = Retries(
        limit=int(said["limit"]),
        delay_s=delay_s,
        backoff=_BACKOFF[backoff] if isinstance(backoff, str) else float(backoff),
        max_delay_s=max_delay_s,
        jitter=float(said.get("jitter", 0)),
        on_exit=tuple(
            dict.fromkeys(
                one if isinstance(one, str) else str(int(one))
                for one in (on_exit if isinstance(on_exit, list) else [on_exit])
            )
        ),
    )
    if len(problems) == before:
        _check_waits(raw, given, problems)
    return given


def _check_waits(raw: RawStep, given: Retries, problems: list[Problem]) -> None:
    """Tell of words about the wait that would change nothing."""
    assert raw.options is not None
    place = raw.options.at(["retries"])
    if given.delay_s:
        if given.max_delay_s is not None and given.max_delay_s < given.delay_s:
            problem = place.at(["max_delay"]).problem("`max_delay` is less than `delay`", "make it at least as long")
            problems.append(problem)
        return
    effects = {"backoff": given.backoff != 1, "max_delay": given.max_delay_s is not None, "jitter": given.jitter > 0}
    idle = next((word for word, has_effect in effects.items() if has_effect), None)
    if idle is not None:
        message = f"`{idle}` changes nothing where there is no `delay`"
        problems.append(place.key(idle).problem(message, "say how long to wait before the first: `delay: 1s`"))


def _duration(
    raw: RawStep, word: str, said: dict[str, Any], problems: list[Problem], *, can_be_zero: bool = False
) -> float | None:
    if word not in said:
        return None
    seconds = options.duration_s(said[word], can_be_zero=can_be_zero)
    if seconds is None and raw.options is not None:
        message = options.duration_problem(word, said[word], can_be_zero=can_be_zero)
        problems.append(raw.options.at(["retries", word]).problem(message))
    return seconds


def _repeat(values: dict[str, Any]) -> Repeat | None:
    said = values.get("repeat")
    if said is None:
        return None
    most = said.get("max_iterations")
    return Repeat(said.get("until", ""), None if most is None else int(most))
