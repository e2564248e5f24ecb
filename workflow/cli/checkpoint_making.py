"""`checkpoint create`."""

from __future__ import annotations

import sys

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import count, one_line, printable
from workflow.session import open_root


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--name", metavar="NAME", default="", help="What the snapshot is called in lists.")
@answering("json", "text")
def create(run_id: str | None, name: str, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Make a snapshot of RUN, or of the newest run, as it stands now; it may be going."""
    from workflow.keeping.creating import create as create_snapshot

    made = create_snapshot(open_root(checkpoint_dir), run_id, name)
    if as_json or as_format == "json":
        from workflow.cli.printing import print_json

        print_json(made)
        return 0
    if made["problem"]:
        print(f"warning: {printable(made['problem'])}", file=sys.stderr)
    called = f" ({one_line(made['name'])})" if made["name"] else ""
    print(
        f"snapshot {made['checkpoint_id']} made{called}: {made['status']}, "
        f"{made['completed_tasks']:,} of {count(made['total_tasks'], 'step')} completed"
    )
    return 0
