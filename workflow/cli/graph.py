"""`graph`: the picture of the steps, for people and for drawing programs."""

from __future__ import annotations

import sys

import click

from workflow import inspection
from workflow.cli.answering import HELP_NAMES
from workflow.errors import UsageError


@click.command(context_settings=HELP_NAMES)
@click.argument("source", required=False)
@click.option("--format", "as_format", type=click.Choice(["text", "mermaid", "dot", "json"]), help="In which form.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--run", "run_id", metavar="RUN", help="The steps of RUN, and where each of them stands.")
@click.option("--checkpoint-dir", metavar="D", help="Where runs are recorded (default .checkpoints).")
@click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks.")
def graph(
    source: str | None, as_format: str | None, as_json: bool, run_id: str | None, checkpoint_dir: str | None
) -> int:
    """Draw what waits for what. Without SOURCE: workflow.yaml, else steps/."""
    from workflow.cli.printing import print_json, print_text, style_of_stdout

    if source is not None and run_id is not None:
        raise UsageError("graph draws a definition or a run, not both", help=f"workflow graph --run {run_id}")
    form = "json" if as_json else as_format or "text"
    if as_json and as_format not in (None, "json"):
        raise UsageError(f"--json and --format {as_format} cannot both be", help="give one of them")
    drawn = inspection.graph_of(source, run_id, checkpoint_dir)
    if form == "json":
        print_json(inspection.graph_document(drawn))
    elif form == "mermaid":
        from workflow.reporting.diagrams import mermaid_text

        print_text(mermaid_text(drawn.picture, drawn.statuses))
    elif form == "dot":
        from workflow.reporting.diagrams import dot_text

        print_text(dot_text(drawn.workflow.name, drawn.picture, drawn.statuses))
    else:
        from workflow.reporting.tree import tree_text

        is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        has_colour = drawn.statuses is not None and style_of_stdout().colour
        print_text(tree_text(drawn.workflow, drawn.picture, drawn.statuses, is_utf8=is_utf8, colour=has_colour))
    return 0
