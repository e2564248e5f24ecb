"""On a terminal `workflow resume` says what it takes up again, and asks."""

from __future__ import annotations

import click

from workflow.cli.asking import confirm
from workflow.errors import WorkflowError, printable
from workflow.session import Options

MOST_STEPS_NAMED = 8


def agree(options: Options) -> str | None:
    """Show in short what a resume would do and ask whether to go on; return the run it is about.

    Nothing is asked where nothing would run, or where another runner holds the run: the resume itself says so.
    Raises WorkflowError when the answer is no, and whatever keeps a run from being resumed.
    """
    from workflow.inspection import is_live, plan_of
    from workflow.keeping.choosing import choose
    from workflow.reporting.plan_view import recovery_lines
    from workflow.session import open_root

    document = plan_of(options)
    run_id = document["run_id"]
    if not document["will_run"] or run_id is None:
        return options.resume
    if is_live(choose(open_root(options.checkpoint_dir), run_id).layout):
        return options.resume
    notices = [f"note: {printable(notice)}" for notice in document["notices"]]
    for line in (*notices, f"plan for run {run_id}", *recovery_lines(document), *_steps(document["steps"])):
        click.echo(line, err=True)
    if not confirm("Resume it?", default=True):
        raise WorkflowError(
            f"{run_id} was not resumed: the answer was no, and nothing was changed",
            help=f"all of the plan: workflow resume {run_id} --dry-run",
        )
    return run_id if options.resume == "" else options.resume


def _steps(steps: list[dict[str, object]]) -> list[str]:
    from workflow.errors import one_line

    to_run = [f"{step['step']:02d} {one_line(str(step['name']))}" for step in steps if step["choice"] == "run"]
    more = len(to_run) - MOST_STEPS_NAMED
    lines = [f"  run  {title}" for title in to_run[:MOST_STEPS_NAMED]]
    return [*lines, *([f"  and {more:,} more"] if more > 0 else [])]
