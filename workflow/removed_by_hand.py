"""What somebody took out of a run while it went (`rm`, `find -mtime`), looked for when its last step has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from workflow.checkpoint import store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout, label
from workflow.checkpoint.master import DONE
from workflow.checkpoint.records import Document
from workflow.errors import NotRecordedError, listed
from workflow.events import Event, Notice
from workflow.model import Status


def write_again(layout: RunLayout, disk: Disk, about: Document, tell: Callable[[Event], None]) -> None:
    """Write `workflow.json` (`about`) where it is gone, so that the run can go on. Raises NotRecordedError."""
    if not os.path.lexists(layout.definition) and os.path.isdir(layout.path):
        store.write_definition(disk, layout, about)
        tell(Notice("workflow.json was removed while the run went; it was written again"))


def refuse_lost_markers(layout: RunLayout, statuses: Mapping[int, Status]) -> None:
    """Raise NotRecordedError for complete steps whose marker is gone, which cannot be said again.

    The word of a marker is that its step is complete and recorded; taking it away takes that word back.
    """
    try:
        names = set(os.listdir(layout.path))
    except OSError as error:
        raise NotRecordedError(
            f"{layout.run_id} was removed while it went", help="start again with: workflow run"
        ) from error
    done = sorted(number for number, status in statuses.items() if status in DONE)
    lost = [number for number in done if os.path.basename(layout.marker(number)) not in names]
    if lost:
        steps = f"step {label(lost[0])}" if len(lost) == 1 else f"steps {listed(map(label, lost))}"
        what = "marker" if len(lost) == 1 else "markers"
        was = "was" if len(lost) == 1 else "were"
        raise NotRecordedError(
            f"the {what} of {steps} {was} removed while the run went, so it is not complete",
            help=f"workflow resume {layout.run_id}",
        )
