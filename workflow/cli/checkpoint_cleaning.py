"""`checkpoint delete`, `clean`, `prune`: what is to go, a question, and what was freed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from workflow.cli.answering import HELP_NAMES, answering
from workflow.errors import EXIT_NOT_RECORDED, EXIT_OK, EXIT_STEP_FAILED, UsageError, count
from workflow.session import environment, open_root, project_directory

if TYPE_CHECKING:
    from workflow.checkpoint.layout import CheckpointRoot
    from workflow.keeping.cleaning import Proposal
    from workflow.model import CheckpointSettings

KEEP = click.IntRange(0, 999_999_999)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that all three have."""
    force = click.option("--force", "--yes", "-y", "is_forced", is_flag=True, help="Do not ask.")
    dry_run = click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
    return dry_run(force(answering("json", "text")(command)))


@click.command(context_settings=HELP_NAMES)
@click.argument("names", metavar="RUN...", nargs=-1)
@_options
def delete(names: tuple[str, ...], checkpoint_dir: str | None, **given: Any) -> int:
    """Remove runs (RUN), or single snapshots of them (RUN@N)."""
    from workflow.keeping import cleaning

    if not names:
        raise UsageError("delete wants a run", help="workflow checkpoint delete RUN (or RUN@N, one snapshot of it)")
    root = open_root(checkpoint_dir)
    return _go(root, cleaning.propose_delete(root, names), given)


@click.command(context_settings=HELP_NAMES)
@click.option("--older-than", metavar="AGE", help="Those last touched longer ago: 7d, 12h, 2w; 30 is 30 days.")
@click.option("--failed", "is_failed", is_flag=True, help="Those that failed or are abandoned.")
@click.option("--completed", "is_completed", is_flag=True, help="Those that are complete.")
@click.option("--keep", type=KEEP, metavar="N", help="All but the newest N.")
@_options
def clean(
    older_than: str | None,
    is_failed: bool,
    is_completed: bool,
    keep: int | None,
    checkpoint_dir: str | None,
    **given: Any,
) -> int:
    """Remove the runs that pass every filter; without a filter, what the configured retention says.

    Never a live run, never a pinned one.
    """
    from workflow.cli.durations import age_s
    from workflow.keeping import cleaning

    filters = cleaning.Filters(
        None if older_than is None else age_s(older_than, "--older-than"), is_failed, is_completed, keep
    )
    root = open_root(checkpoint_dir)
    return _go(root, cleaning.propose_clean(root, filters, _settings(checkpoint_dir)), given)


@click.command(context_settings=HELP_NAMES)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--older-than", metavar="AGE", help="Of RUN: the snapshots made longer ago (30 is 30 days).")
@click.option("--keep", type=KEEP, metavar="N", help="Of RUN: all but the newest N snapshots.")
@_options
def prune(
    run_id: str | None, older_than: str | None, keep: int | None, checkpoint_dir: str | None, **given: Any
) -> int:
    """Trim the snapshots of RUN (older than 30 days, beyond the newest 5). Without RUN: remove ALL runs."""
    from workflow.cli.durations import age_s
    from workflow.keeping import cleaning

    root = open_root(checkpoint_dir)
    if run_id is not None:
        age = None if older_than is None else age_s(older_than, "--older-than")
        return _trim(root, run_id, age, keep, given)
    if older_than is not None or keep is not None:
        word = "--older-than" if older_than is not None else "--keep"
        raise UsageError(
            f"{word} trims the snapshots of one run, and none was named",
            help=f"workflow checkpoint prune RUN {word} …; to remove runs: workflow checkpoint clean {word} …",
        )
    proposal = cleaning.propose_prune(root)
    if proposal.going:
        runs = count(len(proposal.going), "run")
        print(f"warning: this removes ALL runs of this project: {runs}, complete or not", file=sys.stderr)
    return _go(root, proposal, given)


def _go(root: CheckpointRoot, proposal: Proposal, given: dict[str, Any]) -> int:
    """Ask, do, and say what was done."""
    from workflow.keeping import cleaning
    from workflow.reporting import cleaning_view
    from workflow.session import open_disk

    planned = cleaning.document(proposal, None)
    if given["dry_run"]:
        _say(planned, given)
        return EXIT_OK
    if not proposal.is_empty:
        is_asked = not given["is_forced"] and sys.stdin.isatty()
        if is_asked:
            print("\n".join(cleaning_view.going_lines(planned["removed"], planned["abandoned"])), file=sys.stderr)
        if not _may_go_on(proposal, planned, given):
            print("nothing was removed", file=sys.stderr)
            return EXIT_STEP_FAILED
    disk = open_disk()
    try:
        cleaned = cleaning.carry_out(root, disk, proposal)
    finally:
        disk.close()
    _say(cleaning.document(proposal, cleaned), given)
    if cleaned.error is not None:
        print(cleaned.error.render(), file=sys.stderr)
        return EXIT_NOT_RECORDED
    return EXIT_OK


def _may_go_on(proposal: Proposal, planned: dict[str, Any], given: dict[str, Any]) -> bool:
    from workflow.cli.asking import may_go_on
    from workflow.reporting.cleaning_view import what_text

    if proposal.going:
        what, question = f"remove {what_text(planned)}", f"Remove {what_text(planned)}?"
    else:
        runs = count(len(proposal.abandoned), "run")
        what, question = f"mark {runs} abandoned", f"Mark {runs} abandoned?"
    return may_go_on(
        question,
        is_forced=given["is_forced"],
        refusal=f"{proposal.verb} would {what}, and without a terminal there is nobody to ask",
        advice="to do it: --yes (or --force); to see what would go: --dry-run",
    )


def _say(document: dict[str, Any], given: dict[str, Any]) -> None:
    from workflow.cli.printing import print_json, print_text
    from workflow.reporting.cleaning_view import done_text, left_lines

    for line in left_lines(document["left"]):
        print(line, file=sys.stderr)
    if given["as_json"] or given["as_format"] == "json":
        print_json(document)
    else:
        print_text(done_text(document))


def _trim(
    root: CheckpointRoot, run_id: str, older_than_s: float | None, keep: int | None, given: dict[str, Any]
) -> int:
    """Trim the snapshots of one run, as `_go` does runs."""
    from workflow.checkpoint import store
    from workflow.keeping import cleaning
    from workflow.keeping.trimming import trim

    layout = store.find_run(root, run_id)
    cleaning.refuse_kept(layout)
    planned = trim(layout, older_than_s, keep, True)
    document = cleaning.trimmed_document(layout, planned.removed, planned.freed_bytes, is_dry=True)
    if given["dry_run"]:
        _say(document, given)
        return EXIT_OK
    if planned.removed:
        from workflow.cli.asking import may_go_on
        from workflow.reporting.cleaning_view import snapshots_text

        what = snapshots_text(document)
        if not may_go_on(
            f"Remove {what} of {layout.run_id}?",
            is_forced=given["is_forced"],
            refusal=f"prune would remove {what} of {layout.run_id}, and without a terminal there is nobody to ask",
            advice="to do it: --yes (or --force); to see what would go: --dry-run",
        ):
            print("nothing was removed", file=sys.stderr)
            return EXIT_STEP_FAILED
    done = trim(layout, older_than_s, keep, False)
    _say(cleaning.trimmed_document(layout, done.removed, done.freed_bytes, is_dry=False), given)
    return EXIT_OK


def _settings(checkpoint_dir: str | None) -> CheckpointSettings:
    """Return the settings in force in this project; the standard ones where there is no definition."""
    from workflow.in_force import settings_in_force

    effective, _ = settings_in_force(project_directory(), environment(), checkpoint_dir=checkpoint_dir)
    return effective.settings
