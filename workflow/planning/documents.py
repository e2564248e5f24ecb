"""What `status` and `plan` answer, as documents; the same facts and decisions that a run goes by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflow.checkpoint import approval, locks, records, store
from workflow.checkpoint.groups import group_states
from workflow.checkpoint.layout import RunLayout, label
from workflow.errors import one_line
from workflow.model import Choice, Decision, RunStatus, Status, Step, Workflow
from workflow.planning.record import Recorded, read_record
from workflow.planning.recovery_plan import is_over
from workflow.planning.standing import standing

Document = dict[str, Any]

# What a recorded status is called here. Others (`pending` among them) say nothing about what will be.
_RECORDED = {"failed": "failed", "cancelled": "interrupted", "skipped": "skipped", "waiting": "waiting"}
_STATUSES = {
    "running": Status.RUNNING,
    "completed": Status.SUCCEEDED,
    "skipped": Status.SKIPPED,
    "failed": Status.FAILED,
}


def plan_document(
    run_id: str | None,
    workflow: Workflow,
    order: Sequence[int],
    decisions: Mapping[int, Decision],
    notices: Iterable[str],
    recovery: Document | None = None,
) -> Document:
    """Return what would be done: `run_id` (None: a new run), `steps` in order with choice and reasons, `counts`.

    `recovery` is what a resume takes up again, None for a new run.
    """
    titles = {step.number: step for step in workflow.steps}
    counts = {choice.value: 0 for choice in Choice}
    for decision in decisions.values():
        counts[decision.choice.value] += 1
    return {
        "run_id": run_id,
        "source": workflow.source,
        "will_run": counts["run"],
        "counts": counts,
        "notices": list(notices),
        "recovery": recovery,
        "steps": [_planned(titles[number], decisions[number]) for number in order],
    }


def _planned(step: Step, decision: Decision) -> Document:
    document: Document = {
        "step": step.number,
        "name": step.name,
        "choice": decision.choice.value,
        "reasons": [{"code": reason.code, "detail": reason.detail} for reason in decision.reasons],
    }
    if step.group is not None:
        document["group"] = step.group
    if step.rules.condition:
        document["if"] = step.rules.condition
    return document


def status_document(
    layout: RunLayout,
    workflow: Workflow,
    stored: records.Document,
    order: list[int],
    recorded: Recorded | None = None,
    *,
    is_live: bool | None = None,
) -> Document:
    """Return what a run is, worked out from its markers and its lock; nothing is written and nothing waited for.

    `recorded` is what was read of it just now, where the caller has that already. `is_live` None: as its lock says;
    who holds that lock without running anything says False.
    """
    is_live = locks.is_held(layout) if is_live is None else is_live
    recorded = recorded or read_record(layout, workflow, order)
    running = running_steps(layout, is_live=is_live)
    steps = [_step(step, layout, recorded, running, is_live=is_live) for step in workflow.steps]
    problems = [*recorded.notices, *_ask(steps, workflow, layout)]
    _derive(steps, workflow, order)
    done = sum(1 for it in steps if it["status"] == "completed")
    settled = sum(1 for it in steps if is_settled(it))
    failed = sum(1 for it in steps if it["status"] == "failed" and not it.get("tolerated"))
    status = run_status(
        len(steps),
        settled,
        failed,
        is_live=is_live,
        epoch=store.read_epoch(layout),
        has_tried=any(it["status"] != "pending" for it in steps) or _was_begun(layout),
        is_abandoned=os.path.lexists(layout.abandoned),
    )
    current = sorted(running) or [it["step"] for it in steps if not is_settled(it)][:1]
    holder = locks.read_holder(layout) if is_live else None
    return {
        "run_id": layout.run_id,
        "workflow_id": layout.run_id,
        "status": status.value,
        "run_dir": layout.archive or layout.path,
        "project_path": workflow.project,
        "plan_file": workflow.source,
        "plan_hash": stored.get("plan_hash"),
        "created_at": stored.get("started_at"),
        "updated_at": records.utc_text(_touched_at(layout)),
        "epoch": store.read_epoch(layout),
        "total_tasks": len(steps),
        "total_steps": len(steps),
        "completed_tasks": done,
        "failed_tasks": failed,
        "skipped_tasks": sum(1 for it in steps if it["status"] == "skipped"),
        "progress_percent": round(100 * settled / len(steps), 1) if steps else 100.0,
        "completed_steps": [it["step"] for it in steps if it["status"] == "completed"],
        "current": [label(number) for number in current],
        "steps": steps,
        "groups": group_states(workflow, {it["step"]: _STATUSES.get(it["status"], Status.PENDING) for it in steps}),
        "problems": problems,
        "resume_command": None if is_live or settled == len(steps) else f"workflow resume {layout.run_id}",
        "holder": None
        if holder is None
        else {"pid": holder.pid, "host": holder.host, "since": holder.since, "command": holder.command},
    }


def is_settled(step: Document) -> bool:
    """Return whether a step of a status document is over in a way that a run may end with."""
    return step["status"] in ("completed", "skipped") or bool(step.get("tolerated"))


def run_status(
    total: int,
    settled: int,
    failed: int,
    *,
    is_live: bool,
    epoch: int,
    has_tried: bool,
    is_abandoned: bool = False,
) -> RunStatus:
    """Return what a run is: pure, so that every command says the same. `failed` counts what is not tolerated."""
    if is_live:
        return RunStatus.RETRYING if epoch > 1 else RunStatus.IN_PROGRESS
    if settled == total:
        return RunStatus.COMPLETED
    if is_abandoned:
        return RunStatus.ABANDONED
    if failed:
        return RunStatus.FAILED
    return RunStatus.PAUSED if has_tried else RunStatus.CREATED


def _step(step: Step, layout: RunLayout, recorded: Recorded, running: Mapping[int, int], *, is_live: bool) -> Document:
    fact = recorded.facts[step.number]
    marker = recorded.markers.get(step.number)
    document: Document = {
        "step": step.number,
        "name": step.name,
        "status": "pending",
        "duration_seconds": None,
        "exit_code": None,
        "reason": fact.damage or None,
        "failure": None,
        "completed_by": None,
    }
    if step.number in running:
        document["status"] = "running"
        document["reason"] = None if is_live else "it outlived its runner; a resume waits for it"
    elif marker is not None:
        document |= {
            "status": "completed",
            "duration_seconds": marker.duration_s,
            "exit_code": 0,
            "completed_at": marker.completed_at,
            "completed_by": marker.completed_by,
            "reason": "; ".join(str(reason) for reason in fact.changes) or None,
        }
    elif fact.last is not None:
        document["status"] = _RECORDED.get(fact.last, "pending")
        _tell_last(document, step, layout, recorded)
    elif recorded.damaged.get(step.number):
        document["status"] = "damaged"
    return document


def _tell_last(document: Document, step: Step, layout: RunLayout, recorded: Recorded) -> None:
    """Add what the last attempt came to; of a skipped step, why it was."""
    status = document["status"]
    if status == "skipped":
        document["reason"] = recorded.facts[step.number].detail or _why_skipped(step)
        return
    attempts = recorded.past.get(step.number, ())
    document["failure"] = recorded.facts[step.number].detail.removeprefix("last time: ") or None
    if layout.archive is None:
        document["log"] = layout.log(step.number)
    if attempts:
        last = attempts[-1]
        document["exit_code"] = last.exit_code
        document["duration_seconds"] = round(last.ended_at - last.started_at, 3) if last.ended_at else None
        document["attempts"] = len(attempts)
    if status == "failed" and step.rules.continue_on_error:
        document["tolerated"] = True
    elif status == "waiting" and step.number in recorded.waits:
        document["next_attempt_at"] = records.utc_text(recorded.waits[step.number][1])


def _why_skipped(step: Step) -> str:
    return "nothing before it failed" if step.rules.condition == "failure" else f"if: {step.rules.condition}"


def _ask(steps: Sequence[Document], workflow: Workflow, layout: RunLayout) -> list[str]:
    """Add what persons were asked, and answered; return what is wrong with answers."""
    problems = []
    for document, step in zip(steps, workflow.steps, strict=True):
        if not step.rules.approval:
            continue
        answer = None
        try:
            answer = approval.read(layout, step.number)
        except (approval.ApprovalDamagedError, OSError) as error:
            problems.append(f"the approval of step {one_line(step.title)} does not count: {error}")
        document["approval"] = {
            "text": step.rules.approval,
            "answer": None if answer is None else answer.answer,
            "by": None if answer is None else answer.by,
            "at": None if answer is None else answer.at,
        }
    return problems


def _derive(steps: Sequence[Document], workflow: Workflow, order: Sequence[int]) -> None:
    """Tell pending steps apart: blocked by a failed one, waiting for a person, or just not reached."""
    settled = {it["step"] for it in steps if is_settled(it)}
    failed = {it["step"] for it in steps if it["status"] == "failed"} - settled
    if not failed and not any("approval" in it for it in steps):
        return
    now = standing(workflow.steps, order, settled, failed)
    titles = {step.number: one_line(step.title) for step in workflow.steps if step.number in failed}
    for document in steps:
        if document["status"] != "pending":
            continue
        root = now.blocked.get(document["step"])
        if root is not None:
            document |= {"status": "blocked", "blocked_by": root, "reason": f"by {titles[root]}"}
        elif document["step"] in now.ready and document.get("approval", {}).get("answer", "") is None:
            document |= {"status": "waiting", "reason": "waits for approval"}


def running_steps(layout: RunLayout, *, is_live: bool) -> dict[int, int]:
    """Return the steps that a worker has in hand: of a living runner, or of one that died and left them running.

    The worker of each, by number of the step.
    """
    found: dict[int, int] = {}
    try:
        names = os.listdir(layout.state_dir)
    except OSError:
        return found
    for name in names:
        if name.startswith("worker_") and name.endswith(".running"):
            try:
                with open(os.path.join(layout.state_dir, name), "rb") as file:
                    notes = records.decode_running(file.read())
            except OSError:
                continue
            worker = int(name[7:-8]) if name[7:-8].isdigit() else 0
            if notes and (is_live or locks.is_worker_held(layout, worker)) and not is_over(layout, notes[-1]):
                found[notes[-1].step] = worker
    return found


def _was_begun(layout: RunLayout) -> bool:
    """Return whether a worker had a step in hand, also where its runner died before anything of it was recorded."""
    try:
        return any(
            name.endswith((".running", ".exits")) and os.stat(f"{layout.state_dir}/{name}").st_size
            for name in os.listdir(layout.state_dir)
        )
    except OSError:
        return False


def _touched_at(layout: RunLayout) -> float | None:
    latest = None
    for path in (layout.path, layout.state_dir, layout.master):
        try:
            at = os.stat(path).st_mtime
        except OSError:
            continue
        latest = at if latest is None else max(latest, at)
    return latest
