"""Commands that only look, and those that take a person's word (`mark`, `approve`)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from workflow.checkpoint import approval, commits, durable, locks, packed, records, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.definition import graph, loader, resolved
from workflow.definition.named_step import step_number
from workflow.errors import CheckpointError, UsageError, listed, one_line
from workflow.model import Attempt, Failure, Reason, Status, Step, Workflow
from workflow.opening import checkpoint_root, open_run, resume_command
from workflow.options import Options
from workflow.planning import documents, writers
from workflow.planning.decision import decide
from workflow.planning.explanation import evidence_document
from workflow.planning.fingerprint import fingerprint, manifest
from workflow.planning.foresight import foresee
from workflow.planning.going_back import going_back, sentence, take_back
from workflow.planning.held_outputs import hold_outputs, missing_notice
from workflow.planning.judgement import Judgement
from workflow.planning.picture import Picture, picture
from workflow.planning.record import nothing_recorded, read_record
from workflow.planning.recovery_plan import recovery_of
from workflow.reporting.waiting import approve_command
from workflow.reusing import is_smart, world_of
from workflow.session import environment, project_directory
from workflow.upkeep import to_write_in


def plan_of(options: Options, *, with_evidence: bool = True) -> dict[str, Any]:
    """Return the plan document for these options: the decisions a run would go by. Writes nothing."""
    opened = open_run(options, project_directory(), environment(), to_run=False)
    workflow, order, layout = opened.workflow, opened.order, opened.layout
    if layout is None or opened.ahead is None:
        recorded = nothing_recorded(workflow)
    else:
        recorded = read_record(layout, workflow, order, opened.ahead.result)
        opened.ahead.close()
    notices = [*(notice.message for notice in opened.notices), *recorded.notices]
    if layout is not None and opened.snapshot is not None:
        back = going_back(opened.snapshot, workflow, order, recorded.markers, recorded)
        take_back(recorded, back)
        notices.append(sentence(back, workflow))
    if layout is not None and opened.request.revalidate:
        hold_outputs(layout, workflow, recorded)
    decisions = decide(workflow.steps, order, recorded.facts, opened.request, recorded.markers)
    judgements: dict[int, Judgement] = {}
    if is_smart(options, workflow):
        world = world_of(options, opened, environment())
        decisions, judgements = foresee(world, workflow, order, decisions, with_evidence=with_evidence)
        notices += world.problems_met
    notices += writers.sentences(writers.written_by_many(workflow.steps))
    recovery = None
    if layout is not None:
        if workflow.checkpoints.validate_on_resume:
            missing = missing_notice(workflow, decisions, recorded.markers, layout.run_id)
            notices += [] if missing is None else [missing[0]]
        recovery = recovery_of(layout, workflow, order, decisions)
    run_id = None if layout is None else layout.run_id
    document = documents.plan_document(run_id, workflow, order, decisions, notices, recovery)
    for step in document["steps"] if judgements and with_evidence else ():
        if step["step"] in judgements:
            step["evidence"] = evidence_document(judgements[step["step"]])
    return document


def choose_run(root: CheckpointRoot, run_id: str | None) -> RunLayout:
    """Return the run that was named, or the newest. Raises CheckpointError."""
    if run_id:
        return store.find_run(root, run_id)
    known = store.run_ids(root)
    if not known:
        raise CheckpointError(f"there are no runs in {one_line(root.path)}", help="start one with: workflow run")
    for newest in reversed(known):
        layout = root.run(newest)
        # A run that died before it wrote what it was to do holds nothing to look at.
        if os.path.lexists(layout.definition) or packed.archive_of(layout) or locks.is_held(layout):
            return store.find_run(root, newest)
    return store.find_run(root, known[-1])


def definition_of(layout: RunLayout) -> tuple[Workflow, dict[str, Any]]:
    """Return the definition a run goes by, and its workflow.json. Raises CheckpointError."""
    stored = store.read_definition(layout)
    try:
        return resolved.from_resolved(stored["definition"]), stored
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"workflow.json of {layout.run_id} does not hold a definition ({error})",
            help="start again with: workflow run --force",
        ) from error


def status_of(root: CheckpointRoot, run_id: str | None) -> dict[str, Any]:
    """Return the status document of a run. Writes nothing and waits for nothing."""
    layout = choose_run(root, run_id)
    workflow, stored = definition_of(layout)
    document = documents.status_document(layout, workflow, stored, graph.order(workflow.steps))
    command = resume_command(root, project_directory(), layout.run_id)
    if os.path.lexists(layout.imported):
        command += " --trust"
    if document["resume_command"]:
        document["resume_command"] = command
    for step in asking(document):
        step["approval"]["command"] = approve_command(command, layout.run_id, step["step"])
    return document


def asking(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a status document that wait for a person's answer now."""
    return [
        step
        for step in document["steps"]
        if step["status"] == "waiting" and "approval" in step and step["approval"]["answer"] is None
    ]


class Graph(NamedTuple):
    """What a graph is drawn from; `statuses` (words by number) only of a run."""

    workflow: Workflow
    picture: Picture
    statuses: dict[int, str] | None


def graph_of(source: str | None, run_id: str | None, checkpoint_dir: str | None) -> Graph:
    """Return the picture of a definition, or that of a run with where its steps stand. Writes nothing."""
    if run_id is None:
        workflow = loader.load(project_directory(), source)
        return Graph(workflow, picture(workflow.steps), None)
    layout = choose_run(checkpoint_root(project_directory(), checkpoint_dir, environment()), run_id)
    workflow, stored = definition_of(layout)
    document = documents.status_document(layout, workflow, stored, graph.order(workflow.steps))
    return Graph(workflow, picture(workflow.steps), {step["step"]: step["status"] for step in document["steps"]})


def graph_document(drawn: Graph) -> dict[str, Any]:
    """Return a graph as a document: `steps`, `joins` (names of the points where many edges meet), `edges`."""
    waits_for: dict[int | str, list[int | str]] = {}
    for sooner, later in drawn.picture.edges:
        waits_for.setdefault(later, []).append(sooner)
    steps = []
    for step in drawn.workflow.steps:
        entry: dict[str, Any] = {
            "step": step.number,
            "name": step.name,
            "group": step.group,
            "needs": None if step.needs is None else list(step.needs),
            "waits_for": waits_for.get(step.number, []),
        }
        if drawn.statuses is not None:
            entry["status"] = drawn.statuses.get(step.number)
        steps.append(entry)
    edges = [list(edge) for edge in drawn.picture.edges]
    return {"name": drawn.workflow.name, "steps": steps, "joins": drawn.picture.joins, "edges": edges}


def mark(root: CheckpointRoot, run_id: str, step_name: str, *, is_done: bool, user: str) -> str:
    """Record a person's word that a step is done, or must run again; return a sentence that says so.

    Durable on return. Raises CheckpointError, UsageError, RunBusyError, NotRecordedError.
    """
    from workflow.auditing import audited

    layout = store.find_run(root, run_id)
    workflow, _ = definition_of(layout)
    number = step_number(workflow, step_name)
    step = next(step for step in workflow.steps if step.number == number)
    disk = _disk(workflow)
    lock = None
    try:
        layout = to_write_in(root, layout, disk)
        lock = locks.acquire_run(layout)
        said = "done" if is_done else "pending"
        with audited(root, disk, "mark", layout.run_id, step=number, name=step.name, said=said):
            _mark(layout, disk, step, is_done=is_done, user=user)
    finally:
        if lock is not None:
            lock.release()
        disk.close()
    word = "complete: it will not run again" if is_done else "pending: it will run again"
    return f"step {one_line(step.title)} of {layout.run_id} is marked {word} (recorded as {one_line(user)}'s word)"


def _mark(layout: RunLayout, disk: durable.Disk, step: Step, *, is_done: bool, user: str) -> None:
    number = step.number
    past = store.attempts_of(layout, number)
    content = manifest(step)
    now_at = time.time()
    record = StepRecord(
        step,
        Status.SUCCEEDED if is_done else Status.PENDING,
        (*past, Attempt(past[-1].number + 1 if past else 1, store.read_epoch(layout), now_at, now_at))
        if is_done
        else past,
        Reason("forced", f"{user} said so with workflow mark"),
        fingerprint(content),
        content,
        {},
        {},
        worker=None,
        executor="person",
        completed_by=f"person:{user}",
    )
    if is_done:
        commits.commit_done(disk, layout, record, run_id=layout.run_id, epoch=store.read_epoch(layout))
    else:
        # The rounds of a loop before its marker: those that are left without one would count.
        commits.forget_iterations(disk, layout, number, step.name)
        disk.remove(layout.marker(number))
        commits.commit_not_done(
            disk, layout, record._replace(failure=Failure("marked", f"{user} said that it must run again"))
        )


def _disk(workflow: Workflow) -> durable.Disk:
    return durable.Disk(private=workflow.checkpoints.private, faults=durable.planned_faults(environment()))


def approve(
    root: CheckpointRoot, run_id: str | None, step_name: str | None, *, is_approved: bool, user: str
) -> dict[str, Any]:
    """Record a person's answer to a step that asks for approval; return what was done.

    Needs no lock: a live run hears of it, another one when it is resumed. Without `run_id` the one run that waits for
    an answer is meant. An answer that is there already stays as it is; its opposite is replaced, and told as `before`.
    Durable on return. Raises CheckpointError, UsageError, NotRecordedError.
    """
    from workflow.auditing import audited

    layout = store.find_run(root, run_id or _waiting_run(root, step_name).run_id)
    workflow, _ = definition_of(layout)
    step = _asking_step(workflow, layout, step_name)
    try:
        before = approval.read(layout, step.number)
    except approval.ApprovalDamagedError:  # it never counted
        before = None
    if not is_approved:
        _refuse_late(layout, step)
    answer = approval.Approval(
        step.number, step.name, step.rules.approval, is_approved, user, records.utc_text(time.time()) or ""
    )
    if before is not None and before.is_approved is is_approved:
        answer = before
    else:
        disk = _disk(workflow)
        try:
            layout = to_write_in(root, layout, disk)
            with audited(root, disk, "approve", layout.run_id, step=step.number, name=step.name, answer=answer.answer):
                approval.write(disk, layout, answer)
        finally:
            disk.close()
    return {
        "run_id": layout.run_id,
        "step": step.number,
        "name": step.name,
        "text": step.rules.approval,
        "answer": answer.answer,
        "by": answer.by,
        "at": answer.at,
        "before": None if before is None else {"answer": before.answer, "by": before.by, "at": before.at},
        "resume_command": None if locks.is_held(layout) else _resume(root, layout),
    }


def _waiting_run(root: CheckpointRoot, step_name: str | None) -> RunLayout:
    """Return the one run in which a step waits for an answer."""
    waiting = []
    newest = "RUN"
    for run_id in reversed(store.run_ids(root)):
        layout = root.run(run_id)
        try:
            if (archive := packed.archive_of(layout)) is not None:
                if not packed.manifest_of(layout, archive).summary.get("asking"):
                    continue
                layout = store.find_run(root, run_id)
            workflow, stored = definition_of(layout)
        except CheckpointError:  # it cannot be carried on, so nobody waits for it
            continue
        if any(step.rules.approval for step in workflow.steps):
            newest = run_id if newest == "RUN" else newest
            document = documents.status_document(layout, workflow, stored, graph.order(workflow.steps))
            waiting += [(layout, step["step"]) for step in asking(document)]
    if len({layout.run_id for layout, _ in waiting}) == 1:
        return waiting[0][0]
    commands = [approve_command(_resume(root, layout), layout.run_id, number) for layout, number in waiting]
    if not commands:
        raise UsageError(
            "no run waits for an answer",
            help=f"to change one, name the run: workflow approve {newest} {one_line(step_name or 'STEP')}",
        )
    raise UsageError(
        f"{len({layout.run_id for layout, _ in waiting}):,} runs wait for an answer",
        help=f"say which: {listed(commands, most=4)}",
    )


def _asking_step(workflow: Workflow, layout: RunLayout, step_name: str | None) -> Step:
    """Return the step that was named, which must be one that asks."""
    those = [step for step in workflow.steps if step.rules.approval]
    titles = listed(one_line(step.title) for step in those)
    if step_name is None:
        named = f"workflow approve {layout.run_id} {those[0].label}" if those else f"workflow status {layout.run_id}"
        raise UsageError("approve wants a step", help=f"{named} (those that ask: {titles})" if those else named)
    number = step_number(workflow, step_name)
    step = next(step for step in workflow.steps if step.number == number)
    if not step.rules.approval:
        raise UsageError(
            f"step {one_line(step.title)} of {layout.run_id} asks for no approval",
            help=f"those that ask: {titles}" if those else "no step of this run does",
        )
    return step


def _refuse_late(layout: RunLayout, step: Step) -> None:
    if store.has_whole_marker(layout, step.number):
        raise UsageError(
            f"step {one_line(step.title)} of {layout.run_id} is completed: it cannot be rejected any more",
            help=f"to have it run, and ask, again: workflow mark {layout.run_id} {step.label} --pending",
        )
    if step.number in documents.running_steps(layout, is_live=locks.is_held(layout)):
        raise UsageError(
            f"step {one_line(step.title)} of {layout.run_id} was approved and runs: it cannot be rejected any more",
            help="to stop the run, end its runner (Ctrl-C)",
        )


def _resume(root: CheckpointRoot, layout: RunLayout) -> str:
    return resume_command(root, project_directory(), layout.run_id)


def logs_of(layout: RunLayout, workflow: Workflow, step_name: str | None) -> list[tuple[Step, str]]:
    """Return the steps whose logs there may be, in order, with the path of each."""
    chosen = None if step_name is None else step_number(workflow, step_name)
    by_number: Mapping[int, Step] = {step.number: step for step in workflow.steps}
    return [
        (by_number[number], layout.log(number)) for number in graph.order(workflow.steps) if chosen in (None, number)
    ]


def is_live(layout: RunLayout) -> bool:
    """Return whether a runner holds the run."""
    return locks.is_held(layout)


def has_log(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
