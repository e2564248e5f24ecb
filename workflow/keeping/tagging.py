"""`checkpoint pin` and `checkpoint abandon`: a person's word about a run as a whole."""

from __future__ import annotations

import os
import time
from typing import Any

from workflow import upkeep
from workflow.checkpoint import records, tags
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout

Document = dict[str, Any]


def answer_without_writing(layout: RunLayout, word: str, *, is_off: bool, note: str) -> Document | None:
    """Return what there is to say of an archived run that is `word` as asked; None where something is to be written.

    An archive becomes a directory for that only. `word` is `pinned` or `abandoned`.
    Raises UsageError where it is not to be: a run that is complete, to be abandoned.
    """
    if layout.archive is None:
        return None
    path = layout.pinned if word == "pinned" else layout.abandoned
    tag = tags.read(path)
    if is_off is (tag is None) and (not note or (tag is not None and note == tag.note)):
        return _document(layout, path, word, is_new=False)
    if word == "abandoned" and not is_off:
        upkeep.refuse_complete(layout)
    return None


def pin(disk: Disk, layout: RunLayout, *, by: str, note: str) -> Document:
    """Pin a run, live or not: nothing that cleans removes it. Durable on return. Raises NotRecordedError.

    A pin that is there stays as it is, unless there is another note.
    """
    before = tags.read(layout.pinned)
    if before is None or (note and note != before.note):
        tags.write(disk, layout.pinned, tags.Tag(by, records.utc_text(time.time()) or "", note))
    return _document(layout, layout.pinned, "pinned", is_new=before is None)


def unpin(disk: Disk, layout: RunLayout) -> Document:
    """Take a pin back, durably. Raises NotRecordedError."""
    return _document(layout, layout.pinned, "pinned", is_new=tags.remove(disk, layout.pinned))


def abandon(disk: Disk, layout: RunLayout, *, by: str, note: str) -> Document:
    """Say that nobody will carry a run on. Durable on return.

    Raises RunBusyError when it is live, UsageError when it is complete, CheckpointError, NotRecordedError.
    """
    is_new = not os.path.lexists(layout.abandoned)
    upkeep.abandon(disk, layout, by=by, note=note)
    return _document(layout, layout.abandoned, "abandoned", is_new=is_new)


def take_up(disk: Disk, layout: RunLayout) -> Document:
    """Take it back that a run is abandoned, durably. Raises NotRecordedError."""
    return _document(layout, layout.abandoned, "abandoned", is_new=tags.remove(disk, layout.abandoned))


def _document(layout: RunLayout, path: str, word: str, *, is_new: bool) -> Document:
    tag = tags.read(path)
    return {
        "run_id": layout.run_id,
        "tag": word,
        "is_set": tag is not None,
        "was_changed": is_new,
        "by": None if tag is None else tag.by or None,
        "at": None if tag is None else tag.at or None,
        "note": None if tag is None else tag.note or None,
    }
