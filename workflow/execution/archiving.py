"""Which files a run keeps copies of, and when: its sources at the start, what a step names when it has ended."""

from __future__ import annotations

import os

from workflow.checkpoint import copies
from workflow.checkpoint.copies import Copies, Item
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.outputs import output_path
from workflow.checkpoint.records import StepRecord
from workflow.model import Status, Workflow


class Archiving:
    """The copies of one invocation; close it."""

    def __init__(self, disk: Disk, layout: RunLayout, workflow: Workflow, *, is_new: bool) -> None:
        self._workflow = workflow
        # With durability `process` no flush may hold a step up; what is settled behind it is the whole file system.
        self._sync = workflow.checkpoints.durability == "full"
        self._copies = Copies(disk, layout, workflow.project, is_new=is_new)

    def at_start(self) -> list[str]:
        """Keep copies of the definition, of the scripts, of the policy, and of what steps name and is there."""
        workflow = self._workflow
        items = []
        if os.path.isfile(workflow.source):
            items.append(Item(workflow.source, copies.DEFINITION))
        if workflow.policy is not None:
            items.append(Item(workflow.policy, copies.POLICY))
        items += [
            Item(os.path.join(workflow.project, step.script), copies.SOURCE, step.number, digest=step.content_digest)
            for step in workflow.steps
            if step.script is not None
        ]
        for step in workflow.steps:
            for name in step.archive:
                path = output_path(workflow.project, step, name)
                items.append(Item(path, copies.NAMED, step.number, is_expected=False))
        return self._copies.keep(items, sync=self._sync)

    def after(self, record: StepRecord) -> list[str]:
        """Keep copies of what a step names, now that it, or an iteration of it, has ended well."""
        step = record.step
        if not step.archive or record.status not in (Status.SUCCEEDED, Status.RUNNING):
            return []
        paths = (output_path(self._workflow.project, step, name) for name in step.archive)
        items = [Item(path, copies.NAMED, step.number, record.iteration) for path in paths]
        return self._copies.keep(items, sync=self._sync)

    def close(self) -> None:
        self._copies.close()
