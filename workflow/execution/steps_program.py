"""The run as plain shell: `steps.sh` holds every step as a function, `resume.sh` carries on with it.

Written for people too: each function is what one would type. Every value that is not ours is
single-quoted, so nothing in a name, a path or a text means anything to the shell that reads it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping

from workflow import __version__
from workflow.checkpoint.layout import LIBRARY
from workflow.checkpoint.marker import quote as marker_quote
from workflow.errors import one_line
from workflow.model import TEXT_SHELL, Retries, Step, Workflow

# Where the waits between attempts still grow after so many, the last of them holds for the rest.
MOST_WAITS = 100
LONGEST_WAIT_S = 315360000  # ten years, as for every duration


# Each program that is read is held against its seal (checkpoint/seal.py) first.
_CHECK = r"""workflow_check() {
    workflow_said=$(LC_ALL=C sed -n '$s/^# cksum://p' "$WORKFLOW_RUN_DIR/$1" 2>/dev/null)
    if [ -n "$workflow_said" ]; then
        workflow_sum=$(LC_ALL=C sed '$d' "$WORKFLOW_RUN_DIR/$1" | cksum)
        workflow_sum=$(printf '%s\n' "$workflow_sum" | sed 's/^\([0-9]*\)[^0-9]*\([0-9]*\).*/\1:\2/')
        if [ "$workflow_sum" = : ]; then
            printf 'error: cannot record what happened: sed and cksum do not work, and nothing was run\n' >&2
            exit 125
        fi
        [ "$workflow_said" = "$workflow_sum" ] && return
    fi
    printf 'error: %s is damaged or missing, and nothing was run\n' "$WORKFLOW_RUN_DIR/$1" >&2
    printf 'help: workflow checkpoint repair %s\n' "$WORKFLOW_RUN_ID" >&2
    exit 3
}

"""


def shell_quote(text: str) -> str:
    """Return `text` as one shell word, single-quoted (POSIX 2.2.2)."""
    return "'" + text.replace("'", "'\\''") + "'"


def steps_program(workflow: Workflow) -> bytes:
    """Return steps.sh: for each step a function that becomes it."""
    head = f"# Every step of this run as plain shell, made by workflow {__version__}.\n\n"
    return (head + "".join(_function(step) for step in workflow.steps)).encode("utf-8", "surrogateescape")


def is_plain(step: Step) -> bool:
    """Return whether the function of a step changes nothing of the shell that calls it."""
    # A repeated step gets WORKFLOW_ITERATION, which is to be gone with it.
    is_bare = not (step.env or step.params or step.rules.matrix) and step.rules.repeat is None
    return is_bare and step.working_directory == "."


def _function(step: Step) -> str:
    lines = _exports(step)
    if step.text is not None:
        lines.append(f"workflow_text {shell_quote(step.text.removesuffix(chr(10)))} || return")
    lines += [*_entering(step), f"workflow_exec {_command(step)}"]
    program = _defined(f"workflow_step_{step.label}", lines)
    for kind, text in _tests(step):
        # `--`, as a test may begin with a dash.
        lines = [*_exports(step), *_entering(step), f"workflow_exec sh -c -- {shell_quote(text)}"]
        program += _defined(f"workflow_{kind}_{step.label}", lines)
    return program


def _defined(name: str, lines: list[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"{name}() {{\n{body}}}\n"


def _exports(step: Step) -> list[str]:
    # The later ones win: what the step says itself (`env`) stands above what the run was given.
    values = (*step.params, *step.rules.matrix, *step.env)
    return [
        f"export WORKFLOW_STEP_NAME={shell_quote(step.name)}",
        *(f"export {name}={shell_quote(value)}" for name, value in values),
    ]


def _entering(step: Step) -> list[str]:
    return [] if step.working_directory == "." else [f"workflow_enter {shell_quote(step.working_directory)}"]


def _tests(step: Step) -> list[tuple[str, str]]:
    """Return the shell tests of a step by kind: what decides whether it runs, and whether it has run often enough."""
    repeat = step.rules.repeat
    tests = (("if", step.rules.test), ("until", repeat.until if repeat else ""))
    return [(kind, text) for kind, text in tests if text]


def _command(step: Step) -> str:
    if step.text is not None:
        return " ".join([*(shell_quote(word) for word in step.interpreter or TEXT_SHELL), '"$workflow_script"'])
    script = step.script or ""
    if os.path.isabs(script):
        path = shell_quote(script)
    elif step.working_directory == ".":
        path = shell_quote(script if "/" in script and not script.startswith("-") else f"./{script}")
    else:
        path = f'"$WORKFLOW_PROJECT"/{shell_quote(script)}'
    return " ".join([*(shell_quote(word) for word in step.interpreter or ()), path])


def _outputs(step: Step) -> str:
    paths = [shell_quote(os.path.join(step.working_directory, name)) for name in step.outputs]
    return f"    {step.label}) workflow_have {' '.join(paths)} ;;\n"


def _facts(workflow: Workflow, step: Step, fingerprint: str, lock_directory: str) -> str:
    facts = [
        f"workflow_number={step.number}",
        f"workflow_name={marker_quote(step.name)}",
        f"workflow_json_name={shell_quote(json.dumps(step.name))}",
        f"workflow_fingerprint={fingerprint}",
        f"workflow_limit={int(-(-step.timeout_s // 1)) if step.timeout_s else ''}",
        f"workflow_interactive={int(step.interactive)}",
        *_rules(step, lock_directory),
        *(_waits_for(workflow, step) if step.rules.is_at_the_end else ()),
    ]
    return f"    {step.label}) {' '.join(facts)} ;;\n"


def _rules(step: Step, lock_directory: str) -> Iterator[str]:
    """Yield what `workflow_know` of lib/step_rules.sh does not take for granted of every step."""
    rules, repeat = step.rules, step.rules.repeat
    if rules.condition:
        yield f"workflow_condition={rules.condition if rules.is_at_the_end else 'test'}"
    if rules.continue_on_error:
        yield "workflow_is_tolerated=1"
    if rules.retries.limit:
        yield f"workflow_retries={rules.retries.limit}"
        yield f"workflow_waits={shell_quote(' '.join(map(str, _waits(rules.retries))))}"
        if rules.retries.on_exit:
            yield f"workflow_on_exit={shell_quote(' '.join(rules.retries.on_exit))}"
    if rules.approval:
        yield f"workflow_asks={marker_quote(rules.approval)}"
        yield f"workflow_approval={shell_quote(one_line(rules.approval))}"
    if rules.lock:
        yield f"workflow_mutex={shell_quote(os.path.join(lock_directory, f'{rules.lock}.lock'))}"
    if repeat is not None:
        yield "workflow_is_repeated=1"
        if repeat.until:
            yield "workflow_has_until=1"
        if repeat.max_iterations is not None:
            yield f"workflow_most={repeat.max_iterations}"


def _waits_for(workflow: Workflow, step: Step) -> Iterator[str]:
    """Yield what a step that runs at the end waits for, where that is not every step before it."""
    if step.needs is not None:
        yield f"workflow_needs={shell_quote(' '.join(('', *map(str, step.needs), '')))}"
    elif step.group is not None:
        yield f"workflow_block={next(it.number for it in workflow.steps if it.group == step.group)}"


def _waits(retries: Retries) -> list[int]:
    """Return the waits before the first retries in whole seconds, as shells know no others; the last holds on."""
    waits: list[int] = []
    longest_s = min(LONGEST_WAIT_S, LONGEST_WAIT_S if retries.max_delay_s is None else retries.max_delay_s)
    delay_s = retries.delay_s
    for _ in range(min(retries.limit, MOST_WAITS)):
        waits.append(math.ceil(min(delay_s, longest_s)))
        if retries.backoff == 1.0 or not delay_s or (retries.backoff > 1.0 and delay_s >= longest_s):
            break
        delay_s *= retries.backoff
    return waits


def resume_program(
    workflow: Workflow,
    run_id: str,
    project: str,
    order: list[int],
    fingerprints: Mapping[int, str],
    *,
    lock_directory: str = "",
) -> bytes:
    """Return resume.sh. `project` is relative to the run directory where the checkpoints lie in the project.

    It holds what a marker of each step must say, so that the workers need not read that. `lock_directory` is where
    named locks lie (absolute); without it resume.sh refuses steps that have one.
    """
    facts = "".join(
        _facts(workflow, step, fingerprints.get(step.number, ""), lock_directory) for step in workflow.steps
    )
    outputs = "".join(_outputs(step) for step in workflow.steps if step.outputs)
    programs = [*(f"lib/{name}" for name in LIBRARY), "steps.sh"]
    # A shell that meets half a file ends by itself, or runs what is left of it.
    sourced = "".join(f'workflow_check {name}\n. "$WORKFLOW_RUN_DIR/{name}" || exit 3\n' for name in programs)
    return (
        "#!/bin/sh\n"
        f"# Carries on {run_id} with nothing but a POSIX shell:   sh resume.sh\n"
        "# It bypasses what is marked complete and runs the rest in order; workflow accepts what it wrote.\n\n"
        'if [ -n "${ZSH_VERSION-}" ]; then emulate sh; fi\n'
        'WORKFLOW_RUN_DIR=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit 3\n'
        # It came from elsewhere: somebody has to say once that what is in it may run here.
        'if [ -e "$WORKFLOW_RUN_DIR/state/imported" ]; then\n'
        '    if [ "${WORKFLOW_TRUST-}" != 1 ]; then\n'
        "        echo 'error: this run was imported, and nobody said yet that what is in it may run here' >&2\n"
        "        echo 'help: read steps.sh, then: WORKFLOW_TRUST=1 sh resume.sh' >&2\n"
        "        exit 3\n"
        "    fi\n"
        '    mv "$WORKFLOW_RUN_DIR/state/imported" "$WORKFLOW_RUN_DIR/state/imported.trusted" || exit 3\n'
        "fi\n"
        f"WORKFLOW_RUN_ID={shell_quote(run_id)}\n"
        # The dot keeps newlines at the end of a directory's name, which a command substitution drops.
        'WORKFLOW_PROJECT=$(CDPATH= cd -- "$WORKFLOW_RUN_DIR" && '
        f"CDPATH= cd -- {shell_quote(project)} && pwd -P && echo .) || exit 3\n"
        "WORKFLOW_PROJECT=${WORKFLOW_PROJECT%??}\n"
        "WORKFLOW_LIB=$WORKFLOW_RUN_DIR/lib\n"
        "export WORKFLOW_RUN_ID WORKFLOW_RUN_DIR WORKFLOW_PROJECT WORKFLOW_LIB\n"
        f"workflow_order='{' '.join(f'{number:02d}' for number in order)}'\n\n"
        f"workflow_facts() {{\n    case $1 in\n{facts}    *) return 1 ;;\n    esac\n}}\n\n"
        f"workflow_has_outputs() {{\n    case $1 in\n{outputs}    *) return 0 ;;\n    esac\n}}\n\n"
        f"{_CHECK}"
        f"{sourced}"
        'workflow_resume "$@"\n'
    ).encode("utf-8", "surrogateescape")
