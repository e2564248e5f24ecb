"""From what a person typed to the run, or the snapshot of one, that they mean: the same for every verb."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from workflow.checkpoint import store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.errors import UsageError, one_line
from workflow.inspection import choose_run

_NUMBER = re.compile(r"[0-9]{1,18}\Z")


class Chosen(NamedTuple):
    """A run that is there and may be read; `snapshot_number` None: the run as it stands now."""

    layout: RunLayout
    snapshot_number: int | None


def choose(root: CheckpointRoot, name: str | None) -> Chosen:
    """Return the run that was named (`RUN`, `RUN@N`, a path of one), or the newest where `name` is None.

    Every verb that reads gets its run here; one that is an archive as a copy (`layout.archive`).
    Whether there is a snapshot N is for whoever reads it to say.
    Raises CheckpointError (it lists what there is), UsageError (what stands behind the @ is no number).
    """
    if name is None:
        return Chosen(choose_run(root, None), None)
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
