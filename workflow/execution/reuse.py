"""Looking at the world of steps beside the loop: one thread that reads and digests files.

The engine asks when a step's turn has come, and hears on its inbox whether it must run. What a step left is looked at
in the same line, so a step that waited for it is judged by what is there then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import NamedTuple

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.records import StepRecord
from workflow.errors import one_line
from workflow.model import Reason, Status, Step
from workflow.planning.evidence import Evidence
from workflow.planning.judgement import Judgement
from workflow.planning.world import World


class Looked(NamedTuple):
    """What was found when the world of a step was looked at."""

    judgement: Judgement


class Remark(NamedTuple):
    """Something about a step that people should know."""

    text: str


class Reuse:
    """Judges steps of one run. `published` are the values that every step to come sees, where all see the same."""

    def __init__(
        self,
        world: World,
        disk: Disk,
        run_id: str,
        candidates: set[int],
        put: Callable[[object], None],
        values: Mapping[str, str],
    ) -> None:
        """`candidates` are the numbers of the steps that are looked at before they run, `values` what is published."""
        self._world = world
        self._disk = disk
        self._run_id = run_id
        self._open = set(candidates)
        self._put = put
        self._judged: dict[int, Judgement] = {}
        self._late: list[str] = []
        self._is_closing = False
        self.published = dict(values)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="workflow-reuse", daemon=True)
        self._thread.start()
        self._problems_told = 0

    def wants(self, number: int) -> bool:
        """Return whether a step is to be looked at before it may start."""
        return number in self._open

    def look(self, step: Step, values: Mapping[str, str]) -> None:
        """Have a step looked at; the answer is a Looked on the inbox."""
        self._open.discard(step.number)
        seen = dict(values)
        self._jobs.put(lambda: self._look(step, seen))

    def ends(self, record: StepRecord) -> None:
        """Have the outcome of a step noted, if it was looked at."""
        if record.status in (Status.RUNNING, Status.WAITING):
            return  # a round of several, or an attempt that is followed by another
        judgement = self._judged.pop(record.step.number, None)
        if judgement is not None and record.status is not Status.REUSED:
            self._jobs.put(lambda: self._ends(judgement, record))

    def forget(self, step: Step) -> None:
        """Have nothing known of a step: that it succeeded could not be recorded, nor its outputs be made durable."""
        self._jobs.put(lambda: self._world.begins(step, self._disk))

    def close(self, *, is_kept: bool) -> list[str]:
        """Wait until everything is noted, and keep it; return what people should know of the last of it.

        Not `is_kept`: the outputs of some step could not be made durable. What ran then counts as not known.
        """
        self._is_closing = True
        self._jobs.put(None)
        self._thread.join()
        if is_kept:
            self._world.save(self._disk)
        return self._late

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _look(self, step: Step, values: dict[str, str]) -> None:
        try:
            judgement = self._world.judge(step, values)
            if judgement.reasons:
                self._world.begins(step, self._disk)
        except Exception as error:  # noqa: BLE001 a thread that dies in silence would leave the engine waiting for ever
            reason = Reason("forced", f"its world could not be looked at: {error!r} (this is a bug in workflow)")
            judgement = Judgement(step, Evidence({}, "", "", {}, {}, {}), None, (reason,), is_never=True)
        for problem in self._world.problems_met[self._problems_told :]:
            self._problems_told += 1
            self._put(Remark(problem))
        self._judged[step.number] = judgement
        self._put(Looked(judgement))

    def _ends(self, judgement: Judgement, record: StepRecord) -> None:
        last = record.attempts[-1] if record.attempts else None
        try:
            remark = self._world.ends(
                judgement,
                record.status,
                run_id=self._run_id,
                completed_at=records.utc_text(last.ended_at if last else None) or "",
                duration_s=record.duration_s,
                published=record.outputs,
                env=record.env,
            )
        except Exception as error:  # noqa: BLE001 as above; what cannot be noted counts for nothing later
            remark = f"what step {record.step.title} left could not be noted: {error!r} (this is a bug in workflow)"
        if remark and self._is_closing:
            self._late.append(f"step {one_line(record.step.title)}: {one_line(remark)}")
        elif remark:
            self._put(Remark(f"step {one_line(record.step.title)}: {one_line(remark)}"))
