"""From what a person typed to the run, or the snapshot of one, that they mean: the same for every verb."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from workflow.checkpoint import locks, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.errors import CheckpointError, UsageError, one_line

_NUMBER = re.compile(r"[0-9]{1,9}\Z")


class Chosen(NamedTuple):
    """A run that is there and may be read; `snapshot_number` None: the run as it stands now."""

    layout: RunLayout
    snapshot_number: int | None


def choose(root: CheckpointRoot, name: str | None) -> Chosen:
    """Return the run that was named (`RUN`, `RUN@N`, a path of one), or the newest where `name` is None.

    Every verb that reads gets its run here. Whether there is a snapshot N is for whoever reads it to say.
    Raises CheckpointError (it lists what there is), UsageError (what stands behind the @ is no number).
    """
    if name is None:
        return Chosen(newest_run(root), None)
    run, number = split(name)
    return Chosen(store.find_run(root, run), number)


def split(name: str) -> tuple[str, int | None]:
    """Return the id of a run and the number of a snapshot (None: none was named). Raises UsageError.

    A path counts as the name of the run it leads to, so that what a shell completes can be given as it is.
    """
    run, at, number = name.partition("@")
    if not run:
        raise UsageError(
            f"{one_line(name)} names no run" if name else "an empty name names no run",
            help="which there are: workflow checkpoint list",
        )
    if os.sep in run:
        run = os.path.basename(run.rstrip(os.sep)) or run
    if not at:
        return run, None
    if _NUMBER.match(number) is None:
        raise UsageError(
            f"{one_line(name)}: behind the @ belongs the number of a snapshot",
            help=f"which there are: workflow checkpoint list {one_line(run)}",
        )
    return run, int(number)


def newest_run(root: CheckpointRoot) -> RunLayout:
    """Return the run that was started last. Raises CheckpointError when there is none."""
    known = store.run_ids(root)
    if not known:
        raise CheckpointError(f"there are no runs in {one_line(root.path)}", help="start one with: workflow run")
    for run_id in reversed(known):
        layout = root.run(run_id)
        # A run that died before it wrote what it was to do holds nothing to look at.
        if os.path.lexists(layout.definition) or locks.is_held(layout):
            return store.find_run(root, run_id)
    return store.find_run(root, known[-1])
