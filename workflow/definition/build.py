"""Raw steps -> Workflow: numbers, names and needs settled, everything that is wrong said at once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from workflow.definition import graph, options
from workflow.definition.raw import RawStep, RawWorkflow
from workflow.definition.steps_directory import HIGHEST_NUMBER, renumbered
from workflow.errors import Problem, UsageError, listed, nearest, one_line
from workflow.model import CheckpointSettings, Step, Workflow

# A cycle through thousands of steps is shown by its two ends.
_MOST_SHOWN_OF_A_CYCLE = 50


def build(
    raw: RawWorkflow, project: str, source: str, params: Mapping[str, str], problems: list[Problem]
) -> Workflow | None:
    """Return the workflow; None when there are problems, those found before among them.

    Raises UsageError for a name in `params` that no step declares, when nothing else is wrong.
    """
    numbers = _numbers(raw.steps, problems)
    found = list(zip(raw.steps, numbers, strict=True))
    names = [_name(step, number) for step, number in found]
    are_unique = _check_unique(raw.steps, numbers, names, problems)
    # Where a number, a name or a whole directory is missing, "there is no such step" may be wrong: it would mislead.
    is_whole = not raw.is_partial and all(number >= 0 and not step.is_wrong("name") for step, number in found)
    needs = _needs(raw.steps, numbers, names, problems, is_whole=is_whole)
    steps = [
        _step(step, number, name, need, project=project, params=params, problems=problems)
        for step, number, name, need in zip(raw.steps, numbers, names, needs, strict=True)
    ]
    if are_unique and is_whole:
        _check_cycle(raw.steps, steps, problems)
    time_limit_s = _time_limit_s(raw, problems)
    if problems:
        return None
    _check_params(raw.steps, params)
    return Workflow(
        name=raw.values.get("name") or os.path.basename(project) or "workflow",
        project=project,
        source=source,
        steps=tuple(sorted(steps, key=lambda step: step.number)),
        time_limit_s=time_limit_s,
        checkpoints=CheckpointSettings(**raw.values.get("checkpoints", {})),
    )


def _numbers(steps: Sequence[RawStep], problems: list[Problem]) -> list[int]:
    """Return the number of each step: its own, or counted on from the one before; below 0 while that is not known."""
    numbers: list[int] = []
    following = 0
    unknown = 0
    for step in steps:
        own = step.values.get("number")
        if step.kind == "script":
            assert step.number is not None
            number = step.number
            if own is not None:
                problems.append(
                    step.option_problem(
                        "number", "a script has its number in the name of its file", "take `number` out"
                    )
                )
        elif step.is_wrong("number") or (own is None and following < 0):
            unknown -= 1
            number = unknown
        else:
            number = following if own is None else int(own)
            if number > HIGHEST_NUMBER:
                problems.append(
                    step.problem(f"the number of this step is above {HIGHEST_NUMBER:,}", "give it a smaller number")
                )
        numbers.append(number)
        following = number + 1 if number >= 0 else -1
    return numbers


def _name(step: RawStep, number: int) -> str:
    return step.values.get("name") or step.name or f"step_{number:02d}"


def _check_unique(steps: Sequence[RawStep], numbers: list[int], names: list[str], problems: list[Problem]) -> bool:
    """Tell of steps with one number or one name, which nobody could tell apart; True when there are none."""
    if len(set(numbers)) == len(numbers) and len(set(names)) == len(names):
        return True
    taken = set(numbers)
    first_number: dict[int, int] = {}
    first_name: dict[str, int] = {}
    for index, step in enumerate(steps):
        number, name = numbers[index], names[index]
        other = first_number.setdefault(number, index)
        if other != index:
            free = number + 1
            while free in taken:
                free += 1
            taken.add(free)
            if step.kind == "script" and step.script is not None:
                advice = f"mv {shlex.quote(step.script)} {shlex.quote(renumbered(step.script, free))}"
            else:
                advice = f"give it a number of its own, like `number: {free}`"
            place = step.options.at(["number"]) if step.options is not None and "number" in step.values else None
            both = f"{_place(steps[other], names[other])} and {_place(step, name)}"
            message = f"two steps have the number {number:02d}: {both}"
            problems.append(place.problem(message, advice) if place else step.problem(message, advice))
            continue  # two files of one number and one name are one mistake
        other = first_name.setdefault(name, index)
        if other != index:
            message = f"two steps have the name `{one_line(name)}`: {_place(steps[other], '')} and {_place(step, '')}"
            advice = "rename one of them: a step is named by its number or its name"
            is_written = "name" in step.values
            problems.append(
                step.option_problem("name", message, advice) if is_written else step.problem(message, advice)
            )
    return len(set(numbers)) == len(numbers)


def _place(step: RawStep, name: str) -> str:
    where = one_line(str(step.source))
    return f"`{one_line(name)}` ({where})" if name and step.kind != "script" else where


def _needs(
    steps: Sequence[RawStep], numbers: list[int], names: list[str], problems: list[Problem], *, is_whole: bool
) -> list[tuple[int, ...] | None]:
    """Return for each step the numbers it needs, sorted, each once; None for plain order."""
    result: list[tuple[int, ...] | None] = [None] * len(steps)
    if not any("needs" in step.values for step in steps):
        return result
    known_numbers = set(numbers)
    by_name = dict(zip(names, numbers, strict=True))
    for index, step in enumerate(steps):
        said = step.values.get("needs")
        if said is None:
            continue
        assert step.options is not None
        is_list = isinstance(said, list)
        found = set()
        for position, word in enumerate(said if is_list else [said]):
            place = step.options.at(["needs", position] if is_list else ["needs"])
            candidates = _meant(word, known_numbers, by_name)
            if len(candidates) > 1:
                problems.append(
                    place.problem(
                        f"`{one_line(str(word))}` is the number of one step and the name of another",
                        "rename the other one: a name should not be a number",
                    )
                )
            elif not candidates and not is_whole:
                pass
            elif not candidates:
                problems.append(
                    place.problem(f"there is no step `{one_line(str(word)[:80])}`", _nearest_step(str(word), by_name))
                )
            elif numbers[index] in candidates:
                problems.append(place.problem("a step cannot need itself", "take it out of `needs`"))
            else:
                found |= candidates
        result[index] = tuple(sorted(found))
    return result


def _meant(word: int | str, known_numbers: set[int], by_name: dict[str, int]) -> set[int]:
    candidates = set()
    text = str(word)
    if len(text) <= 20 and text.isascii() and text.isdigit() and int(text) in known_numbers:
        candidates.add(int(text))
    if text in by_name:
        candidates.add(by_name[text])
    return candidates


def _nearest_step(word: str, by_name: dict[str, int]) -> str:
    near = nearest(word, by_name) if len(by_name) <= 2000 else None
    if near is None and word.startswith("step_"):
        near = nearest(word.removeprefix("step_").lstrip("0123456789").lstrip("_-"), by_name)
    if near:
        return f"did you mean `{one_line(near)}`?"
    by_number = sorted((number, name) for name, number in by_name.items())
    return f"there are {listed([f'{number:02d} {one_line(name)}' for number, name in by_number], 6)}"


def _step(
    raw: RawStep,
    number: int,
    name: str,
    needs: tuple[int, ...] | None,
    *,
    project: str,
    params: Mapping[str, str],
    problems: list[Problem],
) -> Step:
    values = raw.values
    if not values:
        # Most scripts of a large directory have no options: nothing to work out.
        if raw.objection is not None:
            problems.append(raw.objection)
        return Step(number, name, raw.source, raw.script, raw.text, raw.interpreter, raw.content_digest)
    if "run" in values and raw.kind != "item":
        owner = "a script has a text of its own" if raw.kind == "script" else "the cell is the text of the step"
        place = raw.options.key("run") if raw.options else raw
        problems.append(place.problem(f"{owner}: `run` is for workflow.yaml", "take `run` out"))
    declared = options.variables(raw, "params")
    return Step(
        number,
        name,
        raw.source,
        raw.script,
        raw.text,
        options.interpreter(raw, problems),
        raw.content_digest,
        options.working_directory(raw, project, problems),
        options.variables(raw, "env"),
        tuple((key, params.get(key, value)) for key, value in declared),
        needs,
        options.outputs(raw),
        options.timeout_s(raw, problems),
        values.get("interactive", False),
        values.get("on_interrupt", "rerun"),
    )


def _check_cycle(raw: Sequence[RawStep], steps: Sequence[Step], problems: list[Problem]) -> None:
    cycle = graph.find_cycle(steps)
    if cycle is None:
        return
    at = {step.number: index for index, step in enumerate(steps)}
    shown = [f"{steps[at[number]].label} {one_line(steps[at[number]].name)}" for number in cycle]
    if len(shown) > _MOST_SHOWN_OF_A_CYCLE:
        half = _MOST_SHOWN_OF_A_CYCLE // 2
        shown = [*shown[:half], f"({len(shown) - 2 * half:,} more)", *shown[-half:]]
    has_plain = any(steps[at[number]].needs is None for number in cycle)
    advice = "take one of these needs out"
    if has_plain:
        advice = "a step without `needs` waits for all steps with smaller numbers: give it `needs`, or renumber"
    # The place to mend is a `needs` that somebody wrote, the first one on the way round.
    index = next(at[number] for number in cycle if steps[at[number]].needs is not None)
    message = f"these steps wait for each other: {' -> '.join(shown)}"
    problems.append(raw[index].option_problem("needs", message, advice))


def _time_limit_s(raw: RawWorkflow, problems: list[Problem]) -> float | None:
    value = raw.values.get("limits", {}).get("time")
    if value is None or raw.top is None:
        return None
    seconds = options.duration_s(value)
    if seconds is None:
        problems.append(raw.top.at(["limits", "time"]).problem(options.duration_problem("time", value)))
    return seconds


def _check_params(steps: Sequence[RawStep], params: Mapping[str, str]) -> None:
    """Raise UsageError for an override that would change nothing."""
    if not params:
        return
    declared: dict[str, None] = {}
    for step in steps:
        declared.update(dict.fromkeys(step.values.get("params", ())))
    for name in params:
        if name not in declared:
            near = nearest(name, declared)
            if near:
                advice = f"did you mean `{near}`?"
            elif declared:
                advice = f"there are {listed(declared)}"
            else:
                advice = "declare it in the options of a step: `params: {NAME: value}`"
            raise UsageError(f"no step has a parameter `{one_line(name)}`", help=advice)
