"""What a run may spend: the amounts that its steps publish, added up, and whether more may start.

A run whose steps publish no amounts pays for two looks into a dictionary a step.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.model import Limits

if TYPE_CHECKING:
    from decimal import Decimal

    from workflow.checkpoint.spending import Spent

# Published value -> the word of `limits` that bounds its sum.
LIMITED = {"cost_incurred": "cost", "tokens_used": "tokens"}


class Budget:
    """The sums of one run over all its invocations. One thread owns it."""

    def __init__(self, layout: RunLayout, limits: Limits, *, is_new: bool) -> None:
        """`is_new`: the run has spent nothing, and nobody need look."""
        self._layout = layout
        self._limits = {"cost_incurred": limits.cost, "tokens_used": limits.tokens}
        self.totals: dict[str, Decimal] = {}
        self._last: dict[int, Spent] = {}
        if not is_new and os.path.lexists(layout.spending):
            from workflow.checkpoint import spending

            known = spending.read(layout).values()
            self.totals = spending.totals(known)
            self._last = {one.step: one for one in known}

    def take(self, record: StepRecord) -> tuple[StepRecord, list[str]]:
        """Add what an attempt that ended cost; call it once for each.

        Returns its record, which tells whoever commits it, and what people should know of amounts that are none.
        """
        number = record.step.number
        if LIMITED.keys().isdisjoint(record.outputs) and not (record.iteration and number in self._last):
            return record, []
        from workflow.checkpoint import spending

        attempt = record.attempts[-1]
        key = (number, attempt.epoch, attempt.number)
        spent, wrong = spending.of_attempt(self._layout, key, record.iteration, record.outputs, self._last.get(number))
        if spent is None:
            return record, wrong
        self._last[number] = spent
        for name, value in spent.amounts:
            self.totals[name] = self.totals[name] + value if name in self.totals else value
        return record._replace(spent=spent), wrong

    @property
    def exceeded(self) -> str:
        """Which limit is reached, as a sentence; empty while something is left, or there is none."""
        for name, most in self._limits.items():
            if most is None or name not in self.totals:
                continue
            from decimal import Decimal

            from workflow.checkpoint.spending import text

            limit, spent = Decimal(repr(most)), self.totals[name]
            if spent >= limit:
                word = LIMITED[name]
                return f"the limit of {word} is reached: {text(spent)} spent of {text(limit)} (`limits: {word}`)"
        return ""
