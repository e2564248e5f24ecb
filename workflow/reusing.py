"""Where reuse is wired up: whether it is asked for, and what it goes by."""

from __future__ import annotations

import os
from collections.abc import Mapping

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import CheckpointRoot
from workflow.model import Choice, Decision, Workflow
from workflow.opening import Opened
from workflow.options import Options
from workflow.planning.foresight import is_open
from workflow.planning.ledger import forget, name_of
from workflow.planning.world import World


def is_smart(options: Options, workflow: Workflow) -> bool:
    """Return whether steps are reused: the flag decides, else the definition. --changed-since asks for it, too."""
    if options.is_smart is not None:
        return options.is_smart
    return workflow.smart.enabled or options.changed_since is not None


def world_of(options: Options, opened: Opened, environ: Mapping[str, str]) -> World:
    """Return what the steps of a workflow are held against. Raises UsageError where git is asked and cannot answer."""
    workflow, root = opened.workflow, opened.root
    unchanged = None
    if options.changed_since is not None or workflow.smart.changes == "git":
        from workflow.planning.git_changes import unchanged_since

        base = workflow.smart.base if options.changed_since is None else options.changed_since
        unchanged = unchanged_since(workflow.project, base, environ)
    left_out = (root.path, os.path.join(workflow.project, ".git"))
    given = options.extra_environment
    return World(workflow, root.cache, machine(), environ.get("PATH"), left_out, unchanged, given, opened.params)


def candidates(decisions: Mapping[int, Decision]) -> set[int]:
    """Return the numbers of the steps that are looked at before they run."""
    return {number for number, decision in decisions.items() if is_open(decision)}


def forget_unseen(
    decisions: Mapping[int, Decision], workflow: Workflow, root: CheckpointRoot, world: World | None, disk: Disk
) -> None:
    """Before anything runs: what was known of steps that run without being looked at, and make no file, counts no more.

    Those that make files are told by what they made.
    """
    seen = set() if world is None else candidates(decisions)
    to_run = {number for number, decision in decisions.items() if decision.choice is Choice.RUN} - seen
    steps = [step for step in workflow.steps if step.number in to_run]
    if world is not None:
        world.runs_unseen(steps, disk)
    else:
        names = [step.name for step in steps if not step.outputs]
        forget(root.cache, name_of(workflow, root.cache), names, disk)


def machine() -> str:
    """Return what tells this machine from others: inodes and times of one say nothing on another."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            known = file.read().strip()
    except (OSError, UnicodeDecodeError):
        known = ""
    return known or os.uname().nodename
