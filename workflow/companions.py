"""What goes along with the steps of a run and is none of them: sums and limits, copies of sources, metrics, hooks.

Each is there only where the definition or a flag wants it, and none of it is loaded otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.errors import WorkflowError
from workflow.events import Event, Notice, Observer, StepFinished
from workflow.execution.budget import Budget
from workflow.model import RunStatus, Workflow

if TYPE_CHECKING:
    from workflow.execution.archiving import Archiving
    from workflow.execution.hooks import Hooks
    from workflow.execution.inbox import Inbox
    from workflow.reporting.metering import Metering

Tell = Callable[[Event], None]


class Companions:
    """Those of one invocation. Observers among them are added to `observers`, and so hear of everything from then on.

    `hooks` None: there are none. `keep` makes copies of the files that a record names; None: none are kept.
    """

    def __init__(
        self, workflow: Workflow, layout: RunLayout, disk: Disk, observers: list[Observer], tell: Tell, *, epoch: int
    ) -> None:
        self._workflow = workflow
        self._layout = layout
        self._disk = disk
        self._observers = observers
        self._tell = tell
        self._epoch = epoch
        self._inbox: Inbox | None = None
        self._metering: Metering | None = None
        self.hooks: Hooks | None = None
        self.budget = Budget(layout, workflow.limits, is_new=epoch == 1)
        self._archiving = self._archive()

    @property
    def keep(self) -> Callable[[StepRecord], Sequence[str]] | None:
        return None if self._archiving is None else self._archiving.after

    def _archive(self) -> Archiving | None:
        """Return what keeps copies of sources, with those of the start made."""
        settings = self._workflow.checkpoints
        if not (settings.archive and settings.enabled):
            return None
        from workflow.execution.archiving import Archiving

        archiving = Archiving(self._disk, self._layout, self._workflow, is_new=self._epoch == 1)
        for text in archiving.at_start():
            self._tell(Notice(text))
        return archiving

    def meter(self, started_at: float, recording_s: Callable[[], float]) -> None:
        """Write metrics where they are wanted; `recording_s` says how long recording has taken."""
        settings = self._workflow.checkpoints
        if settings.metrics_interval is None or not settings.enabled:
            return
        from workflow.reporting.metering import Metering

        self._metering = Metering(
            self._disk,
            self._layout,
            every=settings.metrics_interval,
            started_at=started_at,
            epoch=self._epoch,
            sync=settings.durability == "full",
            totals=lambda: self.budget.totals,
            recording_s=recording_s,
            warn=self._tell,
        )
        self._observers.append(self._metering)

    def hook_up(self, inbox: Inbox, environ: Mapping[str, str], resume_command: str) -> None:
        """Run hooks where there are some."""
        if not self._workflow.hooks:
            return
        from workflow.execution.hooks import Hooks

        self._inbox = inbox
        self.hooks = Hooks(
            self._workflow,
            self._layout,
            self._disk,
            environ,
            inbox.put,
            resume_command=resume_command,
            is_resumed=self._epoch > 1,
        )
        self._observers.append(self.hooks)

    def hear_late(self, events: Sequence[StepFinished]) -> None:
        """Let hooks hear of what was told before RunStarted."""
        if self.hooks is not None:
            for event in events:
                self.hooks.on_event(event)

    def close(self, status: RunStatus) -> None:
        """Write what is left to write, while the run is still in its place."""
        if self._archiving is not None:
            self._archiving.close()
        if self._metering is not None:
            self._metering.finish(status)

    def run_last_hooks(self, status: RunStatus, exit_code: int, started: float) -> WorkflowError | None:
        """Run the hooks of the end; return the error of a required one."""
        if self.hooks is None or self._inbox is None:
            return None
        from workflow.execution.hooks import end_hooks, event_at_end

        about = {
            "run_status": status.value,
            "exit_code": exit_code,
            "duration_seconds": round(time.monotonic() - started, 3),
        }
        event = event_at_end(exit_code, is_completed=status is RunStatus.COMPLETED)
        return end_hooks(self.hooks, self._inbox, self._tell, event, about)

    def cut(self) -> None:
        """End hooks that still run, whatever ended the run."""
        if self.hooks is not None:
            self.hooks.cut()
