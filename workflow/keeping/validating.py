"""The five checks of a run as an answer, each finding with the command that helps."""

from __future__ import annotations

from workflow.checkpoint import locks, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.records import Document
from workflow.checkpoint.validation import MARK, REPAIR, RERUN, Check, Finding
from workflow.errors import CheckpointError, UsageError
from workflow.events import Notice
from workflow.keeping.choosing import choose
from workflow.opening import project_of, resume_command
from workflow.planning.validity import checks_of
from workflow.session import project_directory


def validated(root: CheckpointRoot, name: str | None) -> Document:
    """Return the five checks of a run. Needs no lock, waits for nothing, writes nothing.

    `is_valid`, and `checks[]` with `name, title, passed, note, files[], findings[]`; a finding has `path, what, step,
    help`. Raises CheckpointError (no such run), UsageError.
    """
    chosen = choose(root, name)
    layout = chosen.layout
    if chosen.snapshot_number is not None:
        raise UsageError(
            "validate wants a run; its snapshots are checked with it",
            help=f"workflow checkpoint validate {layout.run_id}",
        )
    is_live = locks.is_held(layout)
    checks, settings = checks_of(layout, _project(layout, root))
    return {
        "run_id": layout.run_id,
        "run_dir": layout.archive or layout.path,
        "is_valid": all(check.is_passed for check in checks),
        "is_live": is_live,
        "strict_hash_check": settings.strict_hash_check,
        "checks": [_check(check, root, layout) for check in checks],
    }


def _project(layout: RunLayout, root: CheckpointRoot) -> str | None:
    notices: list[Notice] = []
    try:
        return project_of(layout, root, project_directory(), store.read_definition(layout), notices)
    except CheckpointError:  # the check says what is wrong with it; a project that is gone has no outputs either
        return None


def _check(check: Check, root: CheckpointRoot, layout: RunLayout) -> Document:
    return {
        "name": check.name,
        "title": check.title,
        "passed": check.is_passed,
        "note": check.note or None,
        "files": list(check.looked_at),
        "findings": [told(finding, root, layout) for finding in check.findings],
    }


def told(finding: Finding, root: CheckpointRoot, layout: RunLayout) -> Document:
    """Return a finding as answers have it: `path, what, step` and the command that helps."""
    return {
        "path": finding.path,
        "what": finding.what,
        "step": finding.step,
        "help": _help(finding, root, layout),
    }


def _help(finding: Finding, root: CheckpointRoot, layout: RunLayout) -> str:
    resume = resume_command(root, project_directory(), layout.run_id)
    if finding.remedy == REPAIR:
        return resume.replace("workflow resume", "workflow checkpoint repair", 1)
    if finding.remedy == RERUN:
        return f"{resume} --revalidate"
    if finding.remedy == MARK and finding.step is not None:
        run = f"workflow resume {layout.run_id}"
        return resume.replace(run, f"workflow mark {layout.run_id} {finding.step:02d} --pending", 1)
    return "workflow run --force"
