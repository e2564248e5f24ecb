"""`checkpoint restore RUN --archive`: which copies of sources a run keeps, and one of them put back."""

from __future__ import annotations

from typing import Any

from workflow.cli.asking import may_go_on
from workflow.errors import UsageError, one_line, printable, size_text
from workflow.session import open_disk, open_root

LIST = ""


def restore_copy(
    run_id: str | None, name: str, to: str | None, checkpoint_dir: str | None, *, is_forced: bool, is_json: bool
) -> int:
    """Put a file back into the project as RUN, or the newest run, kept it; `name` LIST: say which copies there are."""
    from workflow.auditing import audited
    from workflow.keeping import archived

    root = open_root(checkpoint_dir)
    if name == LIST:
        if to is not None or is_forced:
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
            is_forced=is_forced,
            refusal=f"{shown} is there and is not the same: it was left alone",
            advice=f"to replace it (a copy of it is kept): workflow checkpoint restore {run} --archive "
            f"{one_line(wanted.copy.name)} --force",
        ):
            raise UsageError(f"{shown} was left alone: the answer was no", help="to put it elsewhere: --to PATH")
    disk = open_disk()
    try:
        with audited(root, disk, "restore", wanted.layout.run_id, copy=wanted.copy.name):
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
