"""How a step is brought to its end: signals of growing force, with time between them."""

from __future__ import annotations

import signal

INT_GRACE_S = 10.0
TERM_GRACE_S = 5.0

INTERRUPT = 1
TERMINATE = 2
KILL = 3

_SIGNALS = {INTERRUPT: signal.SIGINT, TERMINATE: signal.SIGTERM, KILL: signal.SIGKILL}
_GRACE_S = {INTERRUPT: INT_GRACE_S, TERMINATE: TERM_GRACE_S}


class Ladder:
    """The rung a step is on; 0 is none. Times are those of the inbox, in which pauses do not count."""

    def __init__(self) -> None:
        self.rung = 0
        self.next_at: float | None = None

    def climb(self, rung: int, now: float) -> int | None:
        """Go up to `rung`; return the signal to send, None when that rung was reached already."""
        if rung <= self.rung:
            return None
        self.rung = min(rung, KILL)
        grace_s = _GRACE_S.get(self.rung)
        self.next_at = None if grace_s is None else now + grace_s
        return _SIGNALS[self.rung]
