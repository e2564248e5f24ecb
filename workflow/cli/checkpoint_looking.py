"""`workflow checkpoint list`, `show`, `latest`, `diff`: looking at runs and snapshots, never writing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import UsageError, one_line
from workflow.session import open_root

if TYPE_CHECKING:
    from workflow.checkpoint.layout import CheckpointRoot
    from workflow.keeping.showing import Shown


@click.command("list", context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--status", metavar="S", help="Only those of this status: completed, failed, paused, ...")
@click.option("--size", "with_size", is_flag=True, help="Say how much of the disk each run takes.")
@answering("json", "table", "text")
def list_(
    run_id: str | None,
    status: str | None,
    with_size: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """List the runs there are, newest first; with RUN, its snapshots."""
    root = open_root(checkpoint_dir)
    is_json = as_json or as_format == "json"
    if run_id is not None:
        return _list_snapshots(root, run_id, status, is_json=is_json)
    from workflow.keeping.listing import runs

    entries = runs(root, status, with_size=with_size)
    if is_json:
        from workflow.cli.printing import print_rows

        print_rows(entries)
    elif entries:
        from workflow.cli.printing import print_text, style_of_stdout
        from workflow.reporting.runs_view import runs_text

        print_text(runs_text(entries, colour=style_of_stdout().colour))
    else:
        which = f"no run in {one_line(root.path)} is {one_line(status)}" if status else ""
        print(which or f"there are no runs in {one_line(root.path)}")
        print("help: what there is: workflow checkpoint list" if status else "help: start one with: workflow run")
    return 0


def _list_snapshots(root: CheckpointRoot, run_id: str, status: str | None, *, is_json: bool) -> int:
    from workflow.keeping.choosing import choose
    from workflow.keeping.listed_snapshots import snapshots_of

    chosen = choose(root, run_id)
    entries = snapshots_of(chosen, status)
    if is_json:
        from workflow.cli.printing import print_rows

        print_rows(entries)
    elif entries:
        from workflow.cli.printing import print_text, style_of_stdout
        from workflow.reporting.runs_view import snapshots_text

        print_text(snapshots_text(entries, colour=style_of_stdout().colour))
    else:
        that = f" of status {one_line(status)}" if status else " yet"
        print(f"{chosen.layout.run_id} has no snapshots{that}; it can be resumed all the same")
        print(f"help: how it stands: workflow checkpoint show {chosen.layout.run_id}")
    return 0


@click.command(context_settings=HELP_NAMES)
@click.argument("name", metavar="[RUN|RUN@N]", required=False)
@click.option("--last", "is_last", is_flag=True, help="The newest run (also what is meant without a name).")
@answering("json", "text")
def show(name: str | None, is_last: bool, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Show the newest run, RUN as it stands now, or RUN as snapshot N saw it."""
    from workflow.keeping.showing import shown

    refuse_both(name, is_last=is_last, verb="show")
    _print_shown(shown(open_root(checkpoint_dir), name), is_json=as_json or as_format == "json")
    return 0


def refuse_both(name: str | None, *, is_last: bool, verb: str) -> None:
    """Refuse a run that is named beside --last."""
    if name is not None and is_last:
        raise UsageError(
            f"--last means the newest run, and {one_line(name)} is named beside it",
            help=f"workflow checkpoint {verb} {one_line(name)}",
        )


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@answering("json", "text")
def latest(run_id: str | None, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Show the newest snapshot of RUN, or of the newest run."""
    from workflow.keeping.showing import latest as newest_of

    found = newest_of(open_root(checkpoint_dir), run_id)
    if found.document["number"] is None:
        run = found.document["run_id"]
        print(f"note: {run} has no snapshot yet; this is how it stands now", file=sys.stderr)
    _print_shown(found, is_json=as_json or as_format == "json")
    return 0


def _print_shown(found: Shown, *, is_json: bool) -> None:
    from workflow.cli.printing import print_document, print_text, style_of_stdout

    if is_json:
        print_document(found.document)
        return
    from workflow.reporting.checkpoint_view import shown_text

    print_text(shown_text(found.document, found.steps, colour=style_of_stdout().colour, now_at=time.time()))


@click.command(context_settings=HELP_NAMES)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@answering("json", "text")
def diff(first: str, second: str, as_json: bool, as_format: str | None, checkpoint_dir: str | None) -> int:
    """Say what differs between A and B, each a RUN or a snapshot RUN@N: steps, times, inputs, outputs, values."""
    from workflow.keeping.comparing import difference

    document = difference(open_root(checkpoint_dir), first, second)
    if as_json or as_format == "json":
        from workflow.cli.printing import print_json

        print_json(document)
        return 0
    from workflow.cli.printing import print_text, style_of_stdout
    from workflow.reporting.checkpoint_view import difference_text

    print_text(difference_text(document, colour=style_of_stdout().colour))
    return 0
