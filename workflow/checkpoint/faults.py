"""What tests plan to go wrong at the Nth operation of the disk; see `durable.Disk`."""

from __future__ import annotations

import errno
import os
import signal
from _thread import get_ident
from typing import NamedTuple


class Fault(NamedTuple):
    """What goes wrong at one operation. `action`: `die` (SIGKILL to ourselves), an errno name, or `short`.

    `moment` says on which side of the operation it happens (`before` or `after`);
    `for_ever` keeps an errno failing from that operation on.
    """

    operation: str
    at: int
    action: str
    moment: str = "before"
    for_ever: bool = False


class Faults:
    """A plan of one fault. Counts the operations of its kind; `operation` `any` counts them all."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self._index_of: dict[int, int] = {}  # by thread: two of them write

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read `OPERATION:INDEX:ACTION[:MOMENT][:forever]`; raise ValueError when it is not that."""
        operation, index, action, *rest = text.split(":")
        moment = "after" if "after" in rest else "before"
        return cls(Fault(operation, int(index), action, moment, "forever" in rest))

    def meet(self, operation: str, moment: str) -> str | None:
        """Act out the fault if this is its moment; return `short` when the write is to be cut."""
        fault = self.fault
        if fault.operation not in ("any", operation):
            return None
        thread = get_ident()
        if moment == "before":
            self.seen += 1
            self._index_of[thread] = self.seen
        index = self._index_of.get(thread, 0)
        is_now = index == fault.at or (fault.for_ever and index > fault.at)
        if not is_now or fault.moment != moment:
            return None
        if fault.action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.action == "short":
            return "short"
        code = getattr(errno, fault.action)
        raise OSError(code, os.strerror(code))
