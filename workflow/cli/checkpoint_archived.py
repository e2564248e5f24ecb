"""`checkpoint restore RUN --archive`: which copies of sources a run keeps, and one of them put back."""

from __future__ import annotations

from typing import Any

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.cli.asking import may_go_on
from workflow.errors import UsageError, one_line, printable, size_text
from workflow.session import open_disk, open_root

LIST = ""


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--archive",
    "name",
    is_flag=False,
    flag_value=LIST,
    metavar="[NAME]",
    help="Put back the copy NAME, or the newest of the file NAME; without NAME, say which copies there are.",
)
@click.option("--to", metavar="PATH", help="Put it there instead of where it came from.")
@click.option("--force", is_flag=True, help="Replace what is there, without asking; a copy of that is kept.")
@answering("json", "text")
def restore(
    run_id: str | None,
    name: str | None,
    to: str | None,
    force: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Put a file back into the project as RUN, or the newest run, kept it in its archive."""
    if name is None:
        raise UsageError(
            "restore wants --archive: checkpoints of the work tree are not available in this version",
            help="to go back in time, without the files: workflow resume RUN@N",
        )
    from workflow.keeping import archived

    root = open_root(checkpoint_dir)
    is_json = as_json or as_format == "json"
    if name == LIST:
        if to is not None or force:
            raise UsageError(
                "--to and --force go with the name of a copy", help="workflow checkpoint restore RUN --archive NAME"
            )
        found, rows = archived.list_copies(root, run_id)
        _tell(is_json, {"run_id": found, "copies": rows, "restored": None})
        return 0
    wanted = archived.find(root, run_id, name, to)
    if wanted.before is not None and not wanted.is_there:
        shown = one_line(wanted.shown)
        run = wanted.layout.run_id
        if not may_go_on(
            f"Replace {shown} by {one_line(wanted.copy.name)}? A copy of it is kept.",
            is_forced=force,
            refusal=f"{shown} is there and is not the same: it was left alone",
            advice=f"to replace it (a copy of it is kept): workflow checkpoint restore {run} --archive "
            f"{one_line(wanted.copy.name)} --force",
        ):
            raise UsageError(f"{shown} was left alone: the answer was no", help="to put it elsewhere: --to PATH")
    disk = open_disk()
    try:
        restored = archived.put_back(root, wanted, disk)
    finally:
        disk.close()
    _tell(is_json, {"run_id": wanted.layout.run_id, "copies": [], "restored": restored})
    return 0


def _tell(is_json: bool, document: dict[str, Any]) -> None:
    if is_json:
        from workflow.cli.printing import print_json

        print_json(document)
        return
    from workflow.cli.printing import print_text

    restored, run_id = document["restored"], document["run_id"]
    if restored is not None:
        path = one_line(restored["path"])
        if not restored["was_changed"]:
            print_text(f"{path} is as {one_line(restored['copy'])} has it already")
            return
        kept = f"; what was there is kept as {one_line(restored['kept_as'])}" if restored["kept_as"] else ""
        print_text(f"{path} is as in {one_line(restored['copy'])} again{kept}")
        return
    if not document["copies"]:
        print_text(f"{run_id} keeps no copies")
        return
    width = max(len(one_line(copy["name"])) for copy in document["copies"])
    for copy in document["copies"]:
        when = f", iteration {copy['iteration']}" if copy["iteration"] else ""
        gone = "" if copy["is_there"] else "  (removed)"
        name = one_line(copy["name"])
        print_text(
            printable(f"{name:<{width}}  {size_text(copy['size_bytes']):>9}  {one_line(copy['path'])}{when}{gone}")
        )
