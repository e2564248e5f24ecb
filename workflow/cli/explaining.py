"""`explain`: why a step would run or be reused."""

from __future__ import annotations

import sys

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import printable
from workflow.options import Options


@click.command(context_settings=HELP_NAMES)
@click.argument("step", metavar="STEP")
@click.option("--source", metavar="SOURCE", help="The definition, when it is not workflow.yaml or steps/.")
@click.option("--changed-since", metavar="REV", help="As git tells it: what differs from REV.")
@answering("json", "text")
def explain(
    step: str,
    source: str | None,
    changed_since: str | None,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Say every reason at once why STEP (number or name) would run in a new run with --smart, or be reused.

    With what was there at its last success and now, and what was edited of its script. Writes nothing.
    """
    from workflow.keeping.explaining import explain as explanation_of

    options = Options(source=source, changed_since=changed_since, checkpoint_dir=checkpoint_dir, is_smart=True)
    document, problems = explanation_of(options, step)
    if as_json or as_format == "json":
        from workflow.cli.printing import print_json

        print_json(document)
        return 0
    from workflow.cli.printing import print_text, style_of_stdout
    from workflow.reporting.explain_view import explain_text

    for problem in problems:
        print(f"note: {printable(problem)}", file=sys.stderr)
    print_text(explain_text(document, colour=style_of_stdout().colour))
    return 0
