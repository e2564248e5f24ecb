"""What people do to runs, noted in the audit log of the checkpoint directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workflow.checkpoint import audit
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot
from workflow.errors import NotRecordedError, WorkflowError, one_line, printable
from workflow.session import user_name


@contextmanager
def audited(
    root: CheckpointRoot,
    disk: Disk,
    operation: str,
    run_id: str | None = None,
    *,
    is_destructive: bool = False,
    **about: Any,
) -> Iterator[dict[str, Any]]:
    """Note an operation when it is over: done, or failed and why. What is put into the dictionary is noted with it.

    One that is destructive is noted before, too (`begun`): what happened then can be told after a kill.
    `outcome` in it takes the place of `done`, and empty means that nothing was done. An operation whose line cannot
    be written goes on; stderr tells of it.
    """
    by = user_name()
    begun = ""
    if is_destructive:
        begun = audit.note(root, disk, operation, "begun", by=by, run_id=run_id, about=about)
    try:
        yield about
    except BaseException as error:
        why = error.message if isinstance(error, WorkflowError) else str(error) or type(error).__name__
        failed = {**about, "error": one_line(why)}
        objection = audit.note(root, disk, operation, "failed", by=by, run_id=run_id, about=failed)
        if not isinstance(error, NotRecordedError):  # of a disk that takes nothing is told once
            _warn(begun or objection)
        raise
    outcome = about.pop("outcome", "done")
    ended = audit.note(root, disk, operation, outcome, by=by, run_id=run_id, about=about) if outcome else ""
    _warn(begun or ended)


def noted(root: CheckpointRoot, disk: Disk, operation: str, run_id: str, **about: Any) -> None:
    """Note one of many things that an operation did; durable with the line that ends the operation."""
    _warn(audit.note(root, disk, operation, "done", by=user_name(), run_id=run_id, sync=False, about=about))


def _warn(objection: str) -> None:
    if objection:
        print(f"warning: the audit log misses a line: {printable(objection)}", file=sys.stderr)
