"""`checkpoint create`: a snapshot made from outside, whether the run is going or not."""

from __future__ import annotations

from typing import Any

from workflow.auditing import audited
from workflow.checkpoint import durable, snapshots
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition import graph
from workflow.errors import UsageError, WorkflowError, one_line
from workflow.inspection import choose_run, definition_of
from workflow.model import Workflow
from workflow.planning.present import present
from workflow.session import environment, user_name


def create(root: CheckpointRoot, run_id: str | None, name: str, *, keeps_files: bool = True) -> dict[str, Any]:
    """Make a snapshot of a run, or of the newest one, by its markers and states; return what was made.

    Where the run keeps the files of the work tree, they are kept with it; `problem` says why they are not, or None.
    Needs no lock of the run and no word with its runner. Durable on return.
    Raises CheckpointError, UsageError, NotRecordedError.
    """
    if run_id is not None and snapshots.is_snapshot_name(run_id):
        run = one_line(run_id.partition("@")[0])
        raise UsageError(
            f"{one_line(run_id)} is a snapshot: a new one gets its number when it is made",
            help=f"workflow checkpoint create {run}".rstrip(),
        )
    if len(name) > snapshots.LONGEST_NAME:
        raise UsageError(
            f"--name: at most {snapshots.LONGEST_NAME} characters, and that is {len(name):,}",
            help="give a shorter one; what more there is to say belongs in a file",
        )
    if run_id == "":
        raise UsageError("the name of the run is empty", help="leave it out for the newest run")
    layout = choose_run(root, run_id)
    if layout.archive is not None:
        raise UsageError(
            f"{layout.run_id} is an archive: it is over, and nothing is added to it",
            help=f"to carry it on: workflow resume {layout.run_id}",
        )
    workflow, stored = definition_of(layout)
    document = present(layout, workflow, stored, graph.order(workflow.steps), user=user_name())
    disk = durable.Disk(private=workflow.checkpoints.private, faults=durable.planned_faults(environment()))
    try:
        with audited(root, disk, "create", layout.run_id, trigger="manual") as noted:
            most = workflow.checkpoints.max_snapshots
            made = snapshots.write(disk, layout, document, trigger="manual", name=name, most=most)
            noted["checkpoint"] = snapshots.snapshot_id(layout, made.number)
    finally:
        disk.close()
    problem = None
    if keeps_files and workflow.git.enabled:
        problem = _keep_files(root, layout, workflow, made.number, name, document)
    return {
        "checkpoint_id": snapshots.snapshot_id(layout, made.number),
        "run_id": layout.run_id,
        "number": made.number,
        "trigger": made.trigger,
        "name": name,
        "path": made.path,
        "status": document["status"],
        "completed_tasks": document["completed_tasks"],
        "total_tasks": document["total_tasks"],
        "problem": problem,
    }


def _keep_files(
    root: CheckpointRoot, layout: RunLayout, workflow: Workflow, number: int, name: str, document: dict[str, Any]
) -> str | None:
    """Commit the files of the work tree for a snapshot; return what kept it from that."""
    from workflow.tree_checkpoints import keep_now

    about = (
        ("Status", str(document["status"])),
        ("Completed", f"{document['completed_tasks']} of {document['total_tasks']} steps"),
    )
    try:
        keep_now(root, layout, workflow, environment(), number=number, name=name, about=about)
    except WorkflowError as error:
        return f"no git checkpoint was made: {error.message}"
    return None
