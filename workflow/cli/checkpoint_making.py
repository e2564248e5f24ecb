"""`checkpoint create`."""

from __future__ import annotations

import click

from workflow.errors import count, one_line
from workflow.session import open_root


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--name", metavar="NAME", default="", help="What the snapshot is called in lists.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--format", "as_format", type=click.Choice(["json", "text"]), help="--format json is --json.")
@click.option("--checkpoint-dir", metavar="D", help="Where runs are recorded (default .checkpoints).")
@click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks.")
def create(run_id: str | None, name: str, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Make a snapshot of RUN, or of the newest run, as it stands now; it may be going."""
    from workflow.keeping.creating import create as create_snapshot

    made = create_snapshot(open_root(checkpoint_dir), run_id, name)
    if as_json or as_format == "json":
        from workflow.cli.printing import print_json

        print_json(made)
        return 0
    called = f" ({one_line(made['name'])})" if made["name"] else ""
    print(
        f"snapshot {made['checkpoint_id']} made{called}: {made['status']}, "
        f"{made['completed_tasks']:,} of {count(made['total_tasks'], 'step')} completed"
    )
    return 0
