"""`checkpoint compress`, `export`, `import`: runs as archives."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import EXIT_CHECKPOINT, UsageError, WorkflowError, count, one_line, printable, size_text
from workflow.session import open_root, project_directory, user_name


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--all", "all_runs", is_flag=True, help="Every run that is over: completed, failed, abandoned.")
@click.option("--zstd", is_flag=True, help="zstd (RUN.tar.zst) instead of gzip, where this Python has it.")
@click.option("--dry-run", is_flag=True, help="Say what would be packed; write nothing.")
@answering("json", "text")
def compress(
    run_id: str | None,
    all_runs: bool,
    zstd: bool,
    dry_run: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Turn RUN, or the newest run, into one archive that every command still reads."""
    from workflow.checkpoint.compression import GZIP_ENDING, ZSTD_ENDING
    from workflow.keeping.compressing import compress as compress_runs

    if all_runs and run_id is not None:
        raise UsageError("--all means every run, and RUN one of them", help="give one of the two")
    document = compress_runs(
        open_root(checkpoint_dir),
        run_id,
        all_runs=all_runs,
        ending=ZSTD_ENDING if zstd else GZIP_ENDING,
        dry_run=dry_run,
        tell=_tell_error,
    )
    if as_json or as_format == "json":
        _print_json(document)
    else:
        _print_compressed(document, all_runs=all_runs)
    return EXIT_CHECKPOINT if document["refused"] else 0


def _tell_error(error: WorkflowError) -> None:
    print(error.render(), file=sys.stderr)


def _print_json(document: dict[str, Any]) -> None:
    from workflow.cli.printing import print_json

    print_json(document)


def _print_compressed(document: dict[str, Any], *, all_runs: bool) -> None:
    for row in document["runs"]:
        run_id, archive = row["run_id"], one_line(_shown(row["archive"] or ""))
        if row["result"] == "compressed":
            sizes = (
                f"{size_text(row['before_bytes'])} -> {size_text(row['after_bytes'])}, {_saving(row['saved_percent'])}"
            )
            print(f"{run_id} is now {archive} ({sizes})")
        elif row["result"] == "would be compressed":
            print(f"{run_id} would become {archive} ({count(row['files'], 'file')}, {size_text(row['before_bytes'])})")
        elif row["result"] == "already" and not all_runs:
            print(f"{run_id} is an archive already: {archive}")
        elif row["result"] in ("live", "unfinished"):
            it_is = f"{run_id} is {row['status']}; to pack it all the same, name it"
            print(f"note: not compressed: {printable(row['detail'] or it_is)}", file=sys.stderr)
    if all_runs and not document["dry_run"]:
        saved = "" if document["saved_percent"] is None else f", {_saving(document['saved_percent'])}"
        print(f"{count(document['compressed'], 'run')} compressed{saved}")
    elif all_runs and not document["compressed"]:
        print("nothing to compress")


def _saving(percent: float) -> str:
    return f"{percent:g} % saved" if percent >= 0 else f"{-percent:g} % larger"


def _shown(path: str) -> str:
    """Return a path as short as it can be said from here."""
    inside = os.path.relpath(path, project_directory()) if path else path
    return path if inside.startswith(os.pardir) else inside


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("-o", "--out", metavar="FILE", help="Where to: FILE.tar.gz (or .tgz, .tar.zst).")
@click.option("--with-outputs", is_flag=True, help="Take the declared outputs of completed steps along.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@answering("json", "text")
def export(
    run_id: str | None,
    out: str | None,
    with_outputs: bool,
    force: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Write RUN, or the newest run, into one file that can go on in another place."""
    from workflow.keeping.exporting import export as export_run

    if out is None:
        raise UsageError(
            "export wants --out FILE", help=f"workflow checkpoint export {one_line(run_id or 'RUN')} --out run.tar.gz"
        )
    document, notices = export_run(open_root(checkpoint_dir), run_id, out, with_outputs=with_outputs, force=force)
    for notice in notices:
        print(f"note: {printable(notice)}", file=sys.stderr)
    if as_json or as_format == "json":
        _print_json(document)
        return 0
    outputs = f", {count(document['outputs'], 'output')}" if with_outputs else ""
    where = one_line(_shown(document["file"]))
    files, size = count(document["files"], "file"), size_text(document["size_bytes"])
    print(f"{document['run_id']} is in {where} ({files}{outputs}, {size})")
    name = printable(shlex.quote(os.path.basename(where)))
    print(f"help: take it there, and in the project: workflow checkpoint import {name}")
    return 0


@click.command(context_settings=HELP_NAMES)
@click.argument("file", metavar="FILE")
@click.option("--with-outputs", is_flag=True, help="Put the outputs in it into the project, where nothing is yet.")
@click.option("--as-new", is_flag=True, help="Under the next free id, where there is a run of that id already.")
@click.option("--force", is_flag=True, help="In place of a run of that id, and of files where outputs go.")
@answering("json", "text")
def import_(
    file: str,
    with_outputs: bool,
    as_new: bool,
    force: bool,
    as_json: bool,
    as_format: str | None,
    checkpoint_dir: str | None,
) -> int:
    """Put the run in FILE among those of this project; it goes on once you say that you trust it."""
    from workflow.keeping.importing import import_run

    document = import_run(
        open_root(checkpoint_dir), file, with_outputs=with_outputs, force=force, as_new=as_new, user=user_name()
    )
    if as_json or as_format == "json":
        _print_json(document)
        return 0
    print(f"{document['run_id']} is imported ({document['status']}, {count(document['files'], 'file')})")
    if with_outputs:
        print(f"{count(len(document['restored_outputs']), 'output')} put into the project")
    elif document["outputs"]:
        print(f"note: it holds {count(document['outputs'], 'output')} too: --with-outputs", file=sys.stderr)
    print(f"help: look at it (workflow status {document['run_id']}), then: {document['resume_command']}")
    return 0
