"""Steps that wait for a person's word."""

from __future__ import annotations

import time
from collections.abc import Callable

from workflow.checkpoint import approval, records
from workflow.checkpoint.approval import Approval
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.errors import one_line
from workflow.model import Step

LOOK_S = 0.5


class Approvals:
    """What was answered, and who has still to be asked.

    `ask` puts a yes-or-no question to a person, and raises KeyboardInterrupt when there is no answer; None: nobody
    is there.
    """

    def __init__(self, layout: RunLayout, disk: Disk, ask: Callable[[str], bool] | None, user: str) -> None:
        self._layout = layout
        self._disk = disk
        self._ask = ask
        self._user = user
        self._next_look = 0.0
        self.waiting: dict[int, Step] = {}
        self.objection = ""

    def answer(self, step: Step) -> Approval | None:
        """Return what was answered to the question the step asks now; None while nothing was.

        An answer to another text, or one that is damaged, is none; `objection` says of the latter why.
        """
        self.objection = ""
        try:
            found = approval.read(self._layout, step.number)
        except (approval.ApprovalDamagedError, OSError) as error:
            self.objection = f"the approval of step {one_line(step.title)} does not count: {error}"
            return None
        if found is None or found.text != step.rules.approval or found.name != step.name:
            return None
        return found

    def answered(self, now: float) -> list[Step]:
        """Return the waiting steps that somebody answered meanwhile (`workflow approve`); they wait no longer."""
        if not self.waiting or now < self._next_look:
            return []
        self._next_look = now + LOOK_S
        return self._no_longer([step for step in self.waiting.values() if self.answer(step) is not None])

    def ask(self) -> list[Step]:
        """Ask the person who is there, if one is, one question; return the steps that are answered now.

        Raises NotRecordedError, and KeyboardInterrupt when the person gave no answer.
        """
        self._next_look = 0.0
        answered = self.answered(0.0)
        if answered or self._ask is None or not self.waiting:
            return answered
        # One at a time: what an answer lets start is not to wait for the next one.
        step = next(iter(self.waiting.values()))
        text = one_line(step.rules.approval)
        stop = "" if text.endswith((".", "?", "!")) else "."
        says_yes = self._ask(f"Step {one_line(step.title)} asks: {text}{stop} Approve?")
        at = records.utc_text(time.time()) or ""
        approval.write(
            self._disk,
            self._layout,
            Approval(step.number, step.name, step.rules.approval, says_yes, self._user, at),
        )
        return self._no_longer([step])

    def _no_longer(self, steps: list[Step]) -> list[Step]:
        for step in steps:
            self.waiting.pop(step.number, None)
        return steps
