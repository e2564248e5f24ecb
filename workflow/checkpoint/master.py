"""checkpoint.json: the master state of a run, derived from everything else and never trusted before it.

It serves tools written for four older layouts, so some things stand in it twice under the names
each of them knows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from workflow.checkpoint import records
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.groups import group_states
from workflow.checkpoint.layout import FORMAT_VERSION, RunLayout, label
from workflow.model import RunStatus, Status, Workflow

# Writing it never takes more than this share of the run's time; the promise is a twentieth.
SHARE_OF_TIME = 0.02
SAID_AFTER_S = 0.1

DONE = frozenset({Status.SUCCEEDED, Status.BYPASSED, Status.REUSED})


class MasterWriter:
    """Writes checkpoint.json before and after steps, as often as its cost allows."""

    def __init__(self, disk: Disk, layout: RunLayout, facts: MasterFacts) -> None:
        self._disk = disk
        self._layout = layout
        self._facts = facts
        # A resume finds one that tells of everything but itself; a short one is over before it pays to say more.
        self._not_before = 0.0 if facts.epoch == 1 else time.monotonic() + SAID_AFTER_S

    def publish(self, values: Mapping[str, str]) -> None:
        """Add what a step published."""
        self._facts.values.update(values)

    def document(
        self, statuses: Mapping[int, Status], running: Sequence[tuple[int, int]], status: RunStatus
    ) -> records.Document:
        """Return what would be written now."""
        return self._facts.document(statuses, running, status, time.time())

    def write_if_due(self, statuses: Mapping[int, Status], running: Sequence[tuple[int, int]]) -> bool:
        """Write it unless that would cost too much; return whether it was written. Raises NotRecordedError.

        `running` are worker and step of what runs now.
        """
        if time.monotonic() < self._not_before:
            return False
        self.write(statuses, running, RunStatus.IN_PROGRESS if self._facts.epoch == 1 else RunStatus.RETRYING)
        return True

    def write(self, statuses: Mapping[int, Status], running: Sequence[tuple[int, int]], status: RunStatus) -> None:
        """Write it now. Raises NotRecordedError. Survives the death of processes; a power cut may cost it."""
        started = time.monotonic()
        document = self.document(statuses, running, status)
        self._disk.write(self._layout.master, records.encode_document(document), sync=False)
        ended = time.monotonic()
        self._not_before = ended + (ended - started) / SHARE_OF_TIME


class MasterFacts:
    """What does not change while a run goes on."""

    def __init__(
        self,
        layout: RunLayout,
        workflow: Workflow,
        *,
        epoch: int,
        plan_hash: str,
        started_at: float,
        environment: Mapping[str, Any],
        user: str,
        is_auto: bool,
        variables: Mapping[str, str],
        values: dict[str, str],
        is_parallel: bool = False,
        is_smart: bool = False,
        order: Sequence[int] = (),
    ) -> None:
        """`variables` are the parameters; `values` what steps published, kept up to date by its owner.

        `order` is that in which steps run; without it, the one they stand in.
        """
        self.layout = layout
        self.workflow = workflow
        self.epoch = epoch
        self.plan_hash = plan_hash
        self.started_at = started_at
        self.environment = dict(environment)
        self.user = user
        self.is_auto = is_auto
        self.variables = dict(variables)
        self.values = values
        self.is_parallel = is_parallel
        self.is_smart = is_smart
        self.order = tuple(order) or tuple(step.number for step in workflow.steps)

    def document(
        self, statuses: Mapping[int, Status], running: Sequence[tuple[int, int]], status: RunStatus, now_at: float
    ) -> records.Document:
        """Return checkpoint.json as it stands."""
        done = [number for number, it in statuses.items() if it in DONE]
        failed = [number for number, it in statuses.items() if it is Status.FAILED]
        skipped = [number for number, it in statuses.items() if it is Status.SKIPPED]
        reused = sorted(number for number, it in statuses.items() if it is Status.REUSED)
        over = {*done, *failed, *skipped}
        pending = [step.number for step in self.workflow.steps if step.number not in over]
        in_hand = sorted((step, worker) for worker, step in running)
        if not in_hand:
            in_hand = [(number, 1) for number, it in statuses.items() if it not in DONE and it is not Status.SKIPPED][
                :1
            ]
        current = in_hand[0][0] if in_hand else None
        unfinished = {*failed, *pending}
        wanted = {number for number, _ in in_hand} | unfinished
        to_resume = [number for number in self.order if number in unfinished]
        named_locks = sorted({it.rules.lock for it in self.workflow.steps if it.rules.lock and it.number in wanted})
        # A group with a failed member is one that a resume takes up again: the layout knows three words only.
        groups = [
            {**it, "status": "pending" if it["status"] == "failed" else it["status"]}
            for it in group_states(self.workflow, statuses)
        ]
        now, started = records.utc_text(now_at), records.utc_text(self.started_at)
        run_id = self.layout.run_id
        return {
            "version": FORMAT_VERSION,
            "workflow_id": run_id,
            "project_path": self.workflow.project,
            "started_at": started,
            "last_checkpoint": now,
            "completed_steps": sorted(done),
            "current_step": current,
            "total_steps": len(self.workflow.steps),
            "execution_mode": {
                "auto": self.is_auto,
                "smart_execution": self.is_smart,
                "parallel": self.is_parallel,
                "dry_run": False,
            },
            "environment": self.environment,
            "metadata": {"user": self.user, "hostname": os.uname().nodename, "pid": os.getpid()},
            "parallel_execution": {"enabled": self.is_parallel, "groups": groups},
            "smart_execution": {
                "enabled": self.is_smart,
                "skipped_steps": reused,
                "skip_reason": "no_relevant_changes" if reused else None,
            },
            "run_id": run_id,
            "created_at": started,
            "updated_at": now,
            "plan_file": self.workflow.source,
            "plan_hash": self.plan_hash,
            "policy_file": self.workflow.policy,
            "status": status.value,
            "epoch": self.epoch,
            "total_tasks": len(self.workflow.steps),
            "completed_tasks": len(done),
            "failed_tasks": len(failed),
            "current_task": None if current is None else label(current),
            "completed": [label(number) for number in sorted(done)],
            "failed": [label(number) for number in sorted(failed)],
            "skipped": [label(number) for number in sorted(skipped)],
            "pending": [label(number) for number in pending],
            "context": {},
            "recovery_context": {
                "agents_to_restore": [{"worker": worker, "step": label(number)} for number, worker in in_hand],
                "tasks_to_resume": [label(number) for number in to_resume],
                "locks_to_restore": named_locks,
                "environment": {"mission_variables": self.variables, "shared_state": dict(self.values)},
            },
        }
