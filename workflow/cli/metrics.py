"""`metrics`: what a run did, what it cost and how much room it takes, for people and for monitors."""

from __future__ import annotations

import sys

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import UsageError
from workflow.session import open_root


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--prometheus", "as_prometheus", is_flag=True, help="The text format that Prometheus reads.")
@answering("json", "text", "prometheus")
def metrics(
    run_id: str | None, as_prometheus: bool, as_json: bool, as_format: str | None, checkpoint_dir: str | None
) -> int:
    """Say what the newest run did, or RUN: steps, retries, what it spent, room and the cost of recording."""
    from workflow.keeping.measuring import metrics_of

    as_json, as_prometheus = as_json or as_format == "json", as_prometheus or as_format == "prometheus"
    if as_json and as_prometheus:
        raise UsageError("--json and --prometheus are two answers", help="ask for one of them")
    document = metrics_of(open_root(checkpoint_dir), run_id)
    from workflow.cli.printing import print_json, print_text
    from workflow.reporting.metrics_view import metrics_text, prometheus_text

    if as_json:
        print_json(document)
    elif as_prometheus:
        # The format is UTF-8 whatever the terminal is.
        sys.stdout.flush()
        sys.stdout.buffer.write(prometheus_text(document).encode("utf-8", "backslashreplace"))
        sys.stdout.flush()
    else:
        print_text(metrics_text(document))
    return 0
