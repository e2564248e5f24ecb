"""WORKFLOW_STATE: a directory of its own for each step, which hardly any step uses.

One that a step left empty becomes that of a later one by a rename: a seventh of what making and
removing one for every step costs on ext4.
"""

from __future__ import annotations

import os

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout


class OwnDirectories:
    """Hands out and takes back the directories of steps; as many empty ones are kept as steps ran at once."""

    def __init__(self, layout: RunLayout, disk: Disk) -> None:
        self._layout = layout
        self._disk = disk
        self._spares: list[str] = []

    def give(self, number: int) -> None:
        """See that the step has its directory, with what earlier attempts left in it. Raises NotRecordedError."""
        path = self._layout.own_dir(number)
        spare = self._spares.pop() if self._spares else None
        if spare is None or not self._disk.move_directory(spare, path):
            self._disk.make_directory(path)
            if spare is not None and spare != path:
                self._disk.remove_empty_directory(spare)

    def take_back(self, number: int) -> None:
        """Keep the directory of a step that ended if it is empty, for the next; leave it alone otherwise."""
        path = self._layout.own_dir(number)
        try:
            is_empty = not os.listdir(path)
        except OSError:  # the step removed it
            return
        if is_empty:
            self._spares.append(path)

    def close(self) -> None:
        """Remove the empty ones."""
        while self._spares:
            self._disk.remove_empty_directory(self._spares.pop())
