"""`workflow checkpoint validate` and `repair`: whether a run is whole, and making it so."""

from __future__ import annotations

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.cli.checkpoint_looking import refuse_both
from workflow.errors import EXIT_CHECKPOINT, EXIT_OK
from workflow.session import open_root


@click.command(context_settings=HELP_NAMES)
@click.argument("name", metavar="[RUN]", required=False)
@click.option("--last", "is_last", is_flag=True, help="The newest run (also what is meant without a name).")
@click.option("-v", "--verbose", "is_verbose", is_flag=True, help="A line for each file that was looked at.")
@answering("json", "text")
def validate(
    name: str | None,
    is_last: bool,
    is_verbose: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Check the newest run, or RUN: metadata, states, progress, outputs, hashes. Exit code 3 when a check fails."""
    from workflow.cli.printing import can_print, print_json, print_text, style_of_stdout
    from workflow.keeping.validating import validated

    refuse_both(name, is_last=is_last, verb="validate")
    document = validated(open_root(checkpoint_dir), name)
    if as_json or as_format == "json":
        print_json(document)
    else:
        from workflow.reporting.checks_view import checks_text

        is_utf8 = can_print("✓✗")
        colour = style_of_stdout().colour
        print_text(checks_text(document, colour=colour, is_utf8=is_utf8, is_verbose=is_verbose))
    return EXIT_OK if document["is_valid"] else EXIT_CHECKPOINT


@click.command(context_settings=HELP_NAMES)
@click.argument("name", metavar="[RUN]", required=False)
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be done; write nothing.")
@answering("json", "text")
def repair(name: str | None, is_dry: bool, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Keep aside what is damaged in the newest run, or RUN, and rebuild what is derived; completes no step."""
    from workflow.cli.printing import print_json, print_text
    from workflow.keeping.repairing import repaired

    document = repaired(open_root(checkpoint_dir), name, is_dry=is_dry)
    if as_json or as_format == "json":
        print_json(document)
    else:
        from workflow.reporting.checks_view import repair_text

        print_text(repair_text(document))
    return EXIT_CHECKPOINT if document["left"] else EXIT_OK
