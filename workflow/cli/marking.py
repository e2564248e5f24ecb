"""`mark`: a person's word that a step is done, or must run again."""

from __future__ import annotations

import click

from workflow import inspection
from workflow.errors import UsageError
from workflow.session import open_root, user_name


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
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
