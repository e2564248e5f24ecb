"""Raw steps -> Workflow: numbers, names and needs settled, everything that is wrong said at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workflow.definition import graph, groups, hooks, matrix, needs, numbering, options, rules, settings
from workflow.definition.matrix import Variant
from workflow.definition.raw import RawStep, RawWorkflow
from workflow.errors import Problem, UsageError, listed, nearest, one_line
from workflow.model import Limits, Step, Workflow

if TYPE_CHECKING:
    from workflow.definition.policy import Policy

# A cycle through thousands of steps is shown by its two ends.
_MOST_SHOWN_OF_A_CYCLE = 50


def build(
    raw: RawWorkflow,
    project: str,
    source: str,
    params: Mapping[str, str],
    problems: list[Problem],
    policy: Policy | None = None,
) -> Workflow | None:
    """Return the workflow, as `policy` changes it; None when there are problems, those found before among them.

    Raises UsageError for a name in `params` that no step declares, when nothing else is wrong.
    """
    sizes = matrix.sizes(raw.steps, problems)
    numbers = numbering.numbers(raw.steps, sizes, problems)
    names = [numbering.name_of(step, number) for step, number in zip(raw.steps, numbers, strict=True)]
    if policy is not None:
        from workflow.definition.policy import apply

        apply(policy, raw, numbers, names, problems)
    variants = {
        index: matrix.variants(step, names[index])
        for index, step in enumerate(raw.steps)
        if sizes[index] and "matrix" in step.values
    }
    is_unique = numbering.is_unique(raw.steps, numbers, sizes, names, variants, problems)
    # Where a number, a name or a whole directory is missing, "there is no such step" may be wrong: it would mislead.
    is_whole = not raw.is_partial and all(map(_is_known, raw.steps, numbers, sizes))
    grouped = groups.groups(raw.steps, numbers, names, problems, is_whole=is_whole and is_unique)
    needed = needs.needs(raw.steps, numbers, names, grouped, variants, problems, is_whole=is_whole, is_unique=is_unique)
    time_limit_s, limits = rules.limits(raw, problems)
    smart = options.smart(raw, problems)
    declared_hooks = hooks.hooks(raw, problems) if "hooks" in raw.values else ()
    steps: list[Step] = []
    for index, one in enumerate(raw.steps):
        step = _step(
            one,
            numbers[index],
            names[index],
            needed[index],
            grouped[index],
            project=project,
            params=params,
            limits=limits,
            problems=problems,
        )
        steps += _varied(step, variants[index]) if index in variants else (step,)
    if is_unique and is_whole:
        _check_cycle(raw.steps, numbers, steps, problems)
    if problems:
        return None
    _check_params(raw.steps, params)
    return Workflow(
        name=raw.values.get("name") or os.path.basename(project) or "workflow",
        project=project,
        source=source,
        steps=tuple(sorted(steps, key=lambda step: step.number)),
        time_limit_s=time_limit_s,
        checkpoints=settings.checkpoint_settings(raw.values.get("checkpoints", {})),
        limits=limits,
        policy=None if policy is None else policy.path,
        said_at=settings.said_at(raw.top),
        smart=smart,
        hooks=declared_hooks,
        git=options.git(raw),
    )


def _is_known(step: RawStep, number: int, size: int) -> bool:
    """Whether a step's number is known, its name, and that of its group."""
    if number < 0 or not size:
        return False
    if step.group is not None and step.group.is_wrong:
        return False
    return not (step.is_wrong("name") or step.is_wrong("parallel"))


def _varied(step: Step, variants: Sequence[Variant]) -> list[Step]:
    """Return the steps of a matrix, all as `step` but for number, name and values."""
    return [
        dataclasses.replace(
            step,
            number=step.number + at,
            name=variant.name,
            rules=step.rules._replace(matrix=variant.values, matrix_of=step.name),
        )
        for at, variant in enumerate(variants)
    ]


def _step(
    raw: RawStep,
    number: int,
    name: str,
    needs: tuple[int, ...] | None,
    group: str | None,
    *,
    project: str,
    params: Mapping[str, str],
    limits: Limits,
    problems: list[Problem],
) -> Step:
    values = raw.values
    if not values and group is None:
        # Most scripts of a large directory have no options: nothing to work out.
        if raw.objection is not None:
            problems.append(raw.objection)
        return Step(number, name, raw.source, raw.script, raw.text, raw.interpreter, raw.content_digest)
    if "run" in values and raw.kind != "item":
        owner = "a script has a text of its own" if raw.kind == "script" else "the cell is the text of the step"
        place = raw.options.key("run") if raw.options else raw
        problems.append(place.problem(f"{owner}: `run` is for workflow.yaml", "take `run` out"))
    declared = options.variables(raw, "params")
    own_rules = rules.rules(raw, problems)
    rules.check_fits(raw, own_rules, limits, problems)
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
        group,
        own_rules,
        options.inputs(raw),
        values.get("side_effects", "none"),
        options.archive(raw),
    )


def _check_cycle(
    raw: Sequence[RawStep], numbers: Sequence[int], steps: Sequence[Step], problems: list[Problem]
) -> None:
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
        if any(steps[at[number]].group is not None for number in cycle):
            advice = "a step without `needs` waits for all steps before its group: give it `needs`, or renumber"
    # The place to mend is a `needs` that somebody wrote, the first one on the way round.
    written = next(number for number in cycle if steps[at[number]].needs is not None)
    # Steps of a matrix have their numbers from the one that was written.
    index = max((one for one in range(len(raw)) if numbers[one] <= written), key=numbers.__getitem__)
    message = f"these steps wait for each other: {' -> '.join(shown)}"
    problems.append(raw[index].option_problem("needs", message, advice))


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
