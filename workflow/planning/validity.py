"""Whether a run holds up: the five checks, with the definition it goes by."""

from __future__ import annotations

from collections.abc import Collection

from workflow.checkpoint import locks, store
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import Document
from workflow.checkpoint.validation import Check, validate
from workflow.definition import resolved
from workflow.errors import CheckpointError, one_line
from workflow.model import CheckpointSettings, Workflow

# What --revalidate mends, by running again the steps that it concerns.
MENDED_BY_REVALIDATE = frozenset({"outputs", "hashes"})


def checks_of(
    layout: RunLayout, project: str | None = None, settings: CheckpointSettings | None = None
) -> tuple[list[Check], CheckpointSettings]:
    """Return the five checks of a run, and the settings they went by. Writes nothing, waits for nothing.

    `project` is where the project is now, `settings` are those in force; None: as the run has them.
    """
    workflow = _workflow_of(layout)
    if settings is None:
        settings = CheckpointSettings() if workflow is None else workflow.checkpoints
    checks = validate(
        layout,
        None if workflow is None else workflow.steps,
        project or ("" if workflow is None else workflow.project),
        is_live=locks.is_held(layout),
        with_digests=settings.strict_hash_check,
    )
    return checks, settings


def _workflow_of(layout: RunLayout) -> Workflow | None:
    try:
        stored: Document = store.read_definition(layout)
        return resolved.from_resolved(stored["definition"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None


def refuse_invalid(layout: RunLayout, project: str, settings: CheckpointSettings, *, but: Collection[str] = ()) -> None:
    """Raise CheckpointError when a check fails, other than those named in `but`."""
    checks, _ = checks_of(layout, project, settings)
    failed = [check for check in checks if not check.is_passed and check.name not in but]
    if not failed:
        return
    first = failed[0].findings[0]
    more = sum(len(check.findings) for check in failed) - 1
    raise CheckpointError(
        f"checkpoint validation failed: {layout.run_id} does not pass `{failed[0].title}`: "
        f"{one_line(first.path)}: {one_line(first.what)}" + (f" (and {more:,} more)" if more else ""),
        help=f"see all of it: workflow checkpoint validate {layout.run_id}",
    )
