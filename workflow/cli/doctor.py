"""`doctor`: what is in force, and what this machine lacks."""

from __future__ import annotations

import os

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import EXIT_OK, EXIT_STEP_FAILED, UsageError


@click.command(context_settings=HELP_NAMES)
@click.option("--policy", metavar="FILE", help="As a run with this policy would see it.")
@answering("json", "text")
def doctor(policy: str | None, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Say which settings are in force and where each came from, and what this machine lacks. Writes nothing."""
    from workflow.cli.printing import can_print, print_json, print_text, style_of_stdout
    from workflow.keeping.diagnosis import diagnosis

    if as_json and as_format == "text":
        raise UsageError("--json and --format text cannot both be", help="give one of them")
    document = diagnosis(checkpoint_dir, None if policy is None else os.path.abspath(policy))
    if as_json or as_format == "json":
        print_json(document)
    else:
        from workflow.reporting.doctor_view import doctor_text

        print_text(doctor_text(document, is_coloured=style_of_stdout().colour, is_utf8=can_print("✓✗")))
    return EXIT_OK if document["is_ready"] else EXIT_STEP_FAILED
