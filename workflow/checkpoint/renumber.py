"""Steps that got another number since they completed: their marker, state and files move along."""

from __future__ import annotations

import os
from collections.abc import Mapping

from workflow.checkpoint import records, store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.marker import Marker, encode


def renumber(
    disk: Disk, layout: RunLayout, moves: Mapping[int, int], markers: Mapping[int, Marker], staying: set[int]
) -> None:
    """Move what is recorded from `moves[new]` to `new`; `markers` are by new number, `staying` numbers keep theirs.

    A crash in the middle loses nothing: a step whose new marker is written is matched there, the
    others where they still are. Only within a circle of exchanged numbers one step may run again.
    Raises NotRecordedError.
    """
    states = store.States(layout)
    contents = {new: states.raw(old) for new, old in moves.items()}
    states.close()
    pending = dict(moves)
    while pending:
        sources = set(pending.values())
        new = next((number for number in pending if number not in sources), next(iter(pending)))
        old = pending.pop(new)
        disk.remove(layout.marker(new))
        marker = markers[new]._replace(step=new)
        state = contents[new]
        if state is not None:
            try:
                document = records.decode_document(state)
                document.pop("checksum", None)
                state = records.encode_document({**document, "step": new, "renumbered_from": old})
                marker = marker._replace(state_digest=records.digest(state))
            except ValueError:  # damaged before: it moves as it is, and its marker still tells
                pass
            disk.write(layout.state(new), state)
        for name in (layout.log, layout.output, layout.env, layout.summary, layout.events, layout.own_dir):
            if os.path.lexists(name(old)) and not os.path.lexists(name(new)):
                disk.rename(name(old), name(new))
        disk.write(layout.marker(new), encode(marker))
        if old not in moves and old not in staying:
            disk.remove(layout.marker(old))
            disk.remove(layout.state(old))
