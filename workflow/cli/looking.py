"""`status`, `logs`, `lint`, `schema`: looking, never writing."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from workflow import inspection
from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import DefinitionError, UsageError, listed, nearest, one_line, printable
from workflow.session import open_root, project_directory

FOLLOW_PAUSE_S = 0.1


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--watch", is_flag=True, help="Keep it on the screen until the run ends.")
@answering("json", "text")
def status(run_id: str | None, as_json: bool, as_format: str | None, watch: bool, checkpoint_dir: str | None) -> int:
    """Say where the newest run stands, or RUN, and how to go on."""
    from workflow.cli.printing import print_json, print_text, style_of_stdout

    root = open_root(checkpoint_dir)
    document = inspection.status_of(root, run_id)
    if as_json or as_format == "json":
        print_json(document)
        return 0
    from workflow.reporting.status_view import status_text

    style = style_of_stdout()
    while True:
        text = status_text(document, colour=style.colour, now_at=time.time())
        if watch and style.live:
            print_text("\x1b[H\x1b[2J" + text)
        else:
            print_text(text)
        if not watch or document["status"] not in ("in_progress", "retrying"):
            return 0
        time.sleep(1.0)
        document = inspection.status_of(root, document["run_id"])


@click.command(context_settings=HELP_NAMES)
@click.argument("names", metavar="[RUN] [STEP]", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--checkpoint-dir", metavar="D", help="Where runs are recorded (default .checkpoints).")
@click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks.")
def logs(names: tuple[str, ...], follow: bool, checkpoint_dir: str | None) -> int:
    """Print the log of a step of the newest run, or of RUN; of all steps in order without STEP."""
    from workflow.reporting.log_copy import copy_log

    root = open_root(checkpoint_dir)
    if len(names) > 2:
        raise UsageError("logs wants at most a run and a step", help="workflow logs [RUN] [STEP]")
    run_id = names[0] if names and names[0].startswith("workflow_") else None
    rest = names[1:] if run_id else names
    if len(rest) > 1:
        raise UsageError(
            f"{one_line(names[0])} is not the id of a run", help="workflow logs workflow_YYYYMMDD_HHMMSS STEP"
        )
    layout = inspection.choose_run(root, run_id)
    workflow, _ = inspection.definition_of(layout)
    chosen = inspection.logs_of(layout, workflow, rest[0] if rest else None)
    sys.stdout.flush()
    out = sys.stdout.fileno()
    for at, (step, path) in enumerate(chosen):
        offset = 0
        is_titled = len(chosen) == 1
        while True:
            was_live = follow and inspection.is_live(layout)
            if inspection.has_log(path):
                if not is_titled:
                    os.write(out, f"==> {printable(one_line(step.title))} <==\n".encode("utf-8", "replace"))
                    is_titled = True
                offset = copy_log(path, offset, out)
            later = any(inspection.has_log(other) for _, other in chosen[at + 1 :])
            if not was_live or later:
                break
            time.sleep(FOLLOW_PAUSE_S)
        if inspection.has_log(path):
            copy_log(path, offset, out)
        elif len(chosen) == 1:
            print(f"note: {printable(one_line(step.title))} has put out nothing", file=sys.stderr)
    return 0


@click.command(context_settings=HELP_NAMES)
@click.argument("source", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--format", "as_format", type=click.Choice(["json", "text"]), help="--format json is --json.")
@click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks.")
def lint(source: str | None, as_json: bool, as_format: str | None) -> int:
    """Check a definition: every error at once, and the files beside the steps that are none."""
    as_json = as_json or as_format == "json"
    from workflow.definition import loader

    project = project_directory()
    try:
        workflow = loader.load(project, source)
    except DefinitionError as error:
        if not as_json:
            raise
        from workflow.cli.printing import print_json

        path = loader.source_path(project, source)
        problems = [problem._asdict() for problem in error.problems]
        print_json({"source": path, "steps": None, "problems": problems, "ignored": [], "written_by_many": []})
        return error.exit_code
    from workflow.planning.writers import sentences, writers_document, written_by_many

    written = written_by_many(workflow.steps)
    directory = workflow.source if os.path.isdir(workflow.source) else None
    ignored = loader.ignored_files(directory) if directory else []
    if as_json:
        from workflow.cli.printing import print_json

        about = {"source": workflow.source, "steps": len(workflow.steps), "problems": [], "ignored": ignored}
        print_json({**about, "written_by_many": writers_document(written)})
        return 0
    print(f"{printable(workflow.source)}: {len(workflow.steps)} steps, no errors")
    if ignored:
        print(f"not steps: {listed(one_line(name) for name in ignored)}")
    for sentence in sentences(written):
        print(f"note: {printable(sentence)}")
    return 0


@click.command(context_settings=HELP_NAMES)
@click.argument("name", required=False)
@click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks.")
def schema(name: str | None) -> int:
    """Print a JSON Schema; without NAME, the names there are."""
    from workflow.cli.printing import print_json
    from workflow.definition import schemas

    known: list[str] = sorted(schemas.names())
    if name is None:
        print("\n".join(known))
        return 0
    if name not in known:
        like = nearest(name, known)
        raise UsageError(
            f"there is no schema {one_line(name)}",
            help=f"did you mean {like}?" if like else f"there are {listed(known, most=len(known))}",
        )
    document: Any = schemas.schema(name)
    print_json(document)
    return 0
