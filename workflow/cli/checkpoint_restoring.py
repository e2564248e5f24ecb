"""`workflow checkpoint restore`: files of the project, from a snapshot kept in git or from the copies of a run."""

from __future__ import annotations

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.cli.checkpoint_archived import LIST, restore_copy
from workflow.cli.checkpoint_files import restore_files
from workflow.errors import UsageError


@click.command(context_settings=HELP_NAMES)
@click.argument("name", metavar="[RUN@N|RUN]", required=False)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Of RUN@N: say which files would be written; write nothing.")
@click.option(
    "--archive",
    "copy",
    is_flag=False,
    flag_value=LIST,
    metavar="[NAME]",
    help="Put back the copy NAME, or the newest of the file NAME; without NAME, say which copies there are.",
)
@click.option("--to", metavar="PATH", help="Of a copy: put it there instead of where it came from.")
@click.option("--force", is_flag=True, help="Of a copy: replace what is there, without asking; a copy of that is kept.")
@answering("json", "text")
def restore(
    name: str | None,
    paths: tuple[str, ...],
    dry_run: bool,
    copy: str | None,
    to: str | None,
    force: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Bring files of the project back: as they were at snapshot RUN@N (kept with --git), or one that RUN has a copy of.

    With RUN@N: all of the project, or what is at or below each PATH. What is there now is kept first, and files made
    since stay. Where steps stand is not changed: see workflow resume.

    With --archive: one file, as RUN, or the newest run, kept it.
    """
    is_json = as_json or as_format == "json"
    if copy is not None:
        if paths or dry_run:
            raise UsageError(
                "--archive puts one copy back: PATH and --dry-run go with RUN@N",
                help="which copies there are: workflow checkpoint restore RUN --archive",
            )
        return restore_copy(name, copy, to, checkpoint_dir, is_forced=force, is_json=is_json)
    if name is None:
        raise UsageError(
            "restore wants RUN@N, whose files come back, or --archive for a copy of one file",
            help="snapshots there are: workflow checkpoint list RUN; copies: workflow checkpoint restore --archive",
        )
    if to is not None or force:
        raise UsageError("--to and --force go with --archive", help="workflow checkpoint restore RUN --archive NAME")
    return restore_files(name, paths, checkpoint_dir, is_dry=dry_run, is_json=is_json)
