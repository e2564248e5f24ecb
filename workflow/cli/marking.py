"""`mark` and `approve`: a person's word that a step is done, must run again, may run, or may not."""

from __future__ import annotations

from typing import Any

import click

from workflow import inspection
from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import UsageError, one_line
from workflow.session import open_root, user_name


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="RUN")
@click.argument("step", metavar="STEP")
@click.option("--done", "is_done", is_flag=True, help="It is done: do not run it again.")
@click.option("--pending", "is_pending", is_flag=True, help="It must run again.")
@click.option("--checkpoint-dir", metavar="D", help="Where runs are recorded (default .checkpoints).")
@click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks.")
def mark(run_id: str, step: str, is_done: bool, is_pending: bool, checkpoint_dir: str | None) -> int:
    """Mark STEP (number or name) of RUN as done or pending; recorded as your word."""
    if is_done == is_pending:
        raise UsageError("mark wants one of --done and --pending", help=f"workflow mark {run_id} {step} --done")
    print(inspection.mark(open_root(checkpoint_dir), run_id, step, is_done=is_done, user=user_name()))
    return 0


@click.command(context_settings=HELP_NAMES)
@click.argument("names", metavar="[RUN] STEP", nargs=-1)
@click.option("--reject", "is_rejected", is_flag=True, help="Say no: the step fails.")
@answering("json", "text")
def approve(
    names: tuple[str, ...], is_rejected: bool, as_json: bool, as_format: str | None, checkpoint_dir: str | None
) -> int:
    """Say yes to STEP (number or name), which asks for approval; recorded as your word.

    RUN may be left out when one run waits for an answer.
    """
    if not 1 <= len(names) <= 2:
        raise UsageError("approve wants a run and a step", help="workflow approve RUN STEP")
    run_id = names[0] if len(names) == 2 or names[0].startswith("workflow_") else None
    step = names[-1] if run_id is None or len(names) == 2 else None
    given = inspection.approve(open_root(checkpoint_dir), run_id, step, is_approved=not is_rejected, user=user_name())
    if as_json or as_format == "json":
        from workflow.cli.printing import print_json

        print_json(given)
        return 0
    print(_sentence(given))
    if given["resume_command"] is not None:
        print(f"help: {given['resume_command']}")
    return 0


def _sentence(given: dict[str, Any]) -> str:
    title = one_line(f"{given['step']:02d} {given['name']}")
    by, before = one_line(given["by"]), given["before"]
    said = f"step {title} of {given['run_id']} is {given['answer']}"
    if before is None:
        return f"{said} (recorded as {by}'s word)"
    if before["answer"] == given["answer"]:
        return f"{said} already (by {by}, {one_line(given['at'])})"
    return f"{said} (recorded as {by}'s word); {one_line(before['by'])} had {before['answer']} it"
