"""The run as plain shell: `steps.sh` holds every step as a function, `resume.sh` carries on with it.

Written for people too: each function is what one would type. Every value that is not ours is
single-quoted, so nothing in a name, a path or a text means anything to the shell that reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from workflow import __version__
from workflow.checkpoint.layout import LIBRARY
from workflow.checkpoint.marker import quote as marker_quote
from workflow.model import TEXT_SHELL, Step, Workflow


def shell_quote(text: str) -> str:
    """Return `text` as one shell word, single-quoted (POSIX 2.2.2)."""
    return "'" + text.replace("'", "'\\''") + "'"


def steps_program(workflow: Workflow) -> bytes:
    """Return steps.sh: for each step a function that becomes it."""
    head = f"# Every step of this run as plain shell, made by workflow {__version__}.\n\n"
    return (head + "".join(_function(step) for step in workflow.steps)).encode("utf-8", "surrogateescape")


def is_plain(step: Step) -> bool:
    """Return whether the function of a step changes nothing of the shell that calls it."""
    return not (step.env or step.params) and step.working_directory == "."


def _function(step: Step) -> str:
    lines = [f"export WORKFLOW_STEP_NAME={shell_quote(step.name)}"]
    lines += [f"export {name}={shell_quote(value)}" for name, value in (*step.params, *step.env)]
    if step.text is not None:
        lines.append(f"workflow_text {shell_quote(step.text.removesuffix(chr(10)))} || return")
    if step.working_directory != ".":
        lines.append(f"workflow_enter {shell_quote(step.working_directory)}")
    lines.append(f"workflow_exec {_command(step)}")
    body = "\n    ".join(lines[:1]) + "".join(f"\n    {line}" for line in lines[1:])
    return f"workflow_step_{step.label}() {{\n    {body}\n}}\n"


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


def _facts(step: Step, fingerprint: str) -> str:
    facts = [
        f"workflow_number={step.number}",
        f"workflow_name={marker_quote(step.name)}",
        f"workflow_json_name={shell_quote(json.dumps(step.name))}",
        f"workflow_fingerprint={fingerprint}",
        f"workflow_limit={int(-(-step.timeout_s // 1)) if step.timeout_s else ''}",
        f"workflow_interactive={int(step.interactive)}",
    ]
    return f"    {step.label}) {' '.join(facts)} ;;\n"


def resume_program(
    workflow: Workflow, run_id: str, project: str, order: list[int], fingerprints: Mapping[int, str]
) -> bytes:
    """Return resume.sh. `project` is relative to the run directory where the checkpoints lie in the project.

    It holds what a marker of each step must say, so that the workers need not read that.
    """
    facts = "".join(_facts(step, fingerprints.get(step.number, "")) for step in workflow.steps)
    outputs = "".join(_outputs(step) for step in workflow.steps if step.outputs)
    library = "".join(f'. "$WORKFLOW_LIB/{name}" || exit 3\n' for name in LIBRARY)
    return (
        "#!/bin/sh\n"
        f"# Carries on {run_id} with nothing but a POSIX shell:   sh resume.sh\n"
        "# It bypasses what is marked complete and runs the rest in order; workflow accepts what it wrote.\n\n"
        'if [ -n "${ZSH_VERSION-}" ]; then emulate sh; fi\n'
        'WORKFLOW_RUN_DIR=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit 3\n'
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
        f"{library}"
        '. "$WORKFLOW_RUN_DIR/steps.sh" || exit 3\n'
        'workflow_resume "$@"\n'
    ).encode("utf-8", "surrogateescape")
