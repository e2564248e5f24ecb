"""Bringing the files of a run whose runner is gone in order, before anything is decided."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from workflow.checkpoint import commits, records, renumber, snapshots, store
from workflow.checkpoint.ahead import NOTHING
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.definition import resolved
from workflow.errors import InterruptedStepError, count, listed, one_line
from workflow.events import Event, Notice
from workflow.execution import adoption
from workflow.model import Choice, Decision, Reason, Status, Workflow
from workflow.opening import Opened
from workflow.planning.going_back import going_back, sentence, take_back
from workflow.planning.present import present
from workflow.planning.record import Recorded, read_record

Tell = Callable[[Event], None]


def recover(opened: Opened, layout: RunLayout, disk: Disk, tell: Tell, *, end_running: bool) -> Recorded:
    """Adopt what still ran, keep damaged files aside, move renumbered steps; return what is recorded then.

    Only under the lock of the run. Raises NotRecordedError.
    """
    store.sweep(disk, layout)
    snapshots.sweep(disk, layout)
    is_changed = _adopt(opened, layout, disk, tell, end_running)
    # What was read ahead is older than an outcome that was only now taken over.
    ahead = (lambda: NOTHING) if opened.ahead is None or is_changed else opened.ahead.result
    recorded = read_record(layout, opened.workflow, opened.order, ahead)
    for text in recorded.notices:
        tell(Notice(text))
    _set_damaged_aside(layout, disk, recorded, tell)
    _check_master(layout, tell)
    if recorded.moves:
        staying = {number for number in recorded.markers if number not in recorded.moves}
        renumber.renumber(disk, layout, recorded.moves, recorded.markers, staying)
        moved = [f"{old:02d} is now {new:02d}" for new, old in sorted(recorded.moves.items())]
        tell(Notice(f"steps were renumbered since they completed: {listed(moved)}", level="note"))
        recorded = read_record(layout, opened.workflow, opened.order)
    _say_who(recorded, tell)
    return recorded


def go_back(opened: Opened, layout: RunLayout, disk: Disk, recorded: Recorded, tell: Tell, *, user: str) -> None:
    """Take away every completion that the snapshot to go back to did not see, and say so in `recorded`, too.

    A snapshot of the present comes first. Then the last step goes first: its rounds, its marker, and its state says
    why, each durable before the next, so a kill leaves fewer markers and never wrong ones.
    Only under the lock of the run. Raises NotRecordedError.
    """
    if opened.snapshot is None or opened.stored is None:
        return
    workflow, number = opened.workflow, int(opened.snapshot["number"])
    markers = {**store.read_markers(layout).whole, **recorded.markers}
    back = going_back(opened.snapshot, workflow, opened.order, markers, recorded)
    tell(Notice(sentence(back, workflow), level="note"))
    if not back.is_empty:
        now = present(layout, workflow, opened.stored, opened.order, user=user, is_live=False)
        most = workflow.checkpoints.max_snapshots
        name = f"before going back to {back.snapshot_id}"
        snapshots.write(disk, layout, now, trigger="auto", name=name, most=most, spare=number)
    steps = {step.number: step for step in workflow.steps}
    past = {it: store.attempts_of(layout, it) for it in (*back.completed, *back.settled) if it in steps}
    for it in (*back.completed, *back.settled):
        if it not in steps:
            disk.remove(layout.marker(it))
            continue
        step = steps[it]
        commits.forget_iterations(disk, layout, it, step.name)
        disk.remove(layout.marker(it))
        identity = recorded.identities[it]
        word = "completed" if it in back.completed else recorded.facts[it].last
        reason = Reason("forced", f"{word} {back.why}")
        record = StepRecord(step, Status.PENDING, past[it], reason, *identity, {}, {}, worker=None)
        commits.commit_not_done(disk, layout, record)
    for it, rounds in back.rounds.items():
        commits.forget_iterations(disk, layout, it, steps[it].name, keep=rounds)
    take_back(recorded, back)
    recorded.past.update(past)


def _adopt(opened: Opened, layout: RunLayout, disk: Disk, tell: Tell, end_running: bool) -> bool:
    """Return whether anything was recorded."""

    def say(text: str, help: str) -> None:
        tell(Notice(text, help, "note"))

    adopted = adoption.adopt(layout, disk, lambda: _as_started(opened), say=say, is_to_end=end_running)
    for record in adopted:
        title = one_line(record.step.title)
        if not record.attempts[-1].adopted:
            say(f"step {title} was cut short together with its runner", "")
            continue
        how = "completed" if record.failure is None else f"did not complete ({record.failure.message})"
        say(f"step {title} {how} after its runner had died; that outcome is taken over", "")
    return bool(adopted)


def _as_started(opened: Opened) -> Workflow:
    """Return the definition the dead runner worked from, at the place where the project is now."""
    try:
        before = resolved.from_resolved((opened.stored or {})["definition"])
    except (KeyError, TypeError, ValueError):
        return opened.workflow
    return replace(before, project=opened.workflow.project)


def _set_damaged_aside(layout: RunLayout, disk: Disk, recorded: Recorded, tell: Tell) -> None:
    for number in recorded.damaged:
        for path in (layout.marker(number), layout.state(number)):
            is_bad = path == layout.marker(number) or not _is_readable(path)
            if is_bad and os.path.lexists(path):
                kept = store.set_aside(disk, path)
                tell(Notice(f"kept aside what does not count: {one_line(os.path.relpath(kept, layout.path))}"))
    for number in recorded.lost_states:
        if os.path.lexists(layout.state(number)):
            store.set_aside(disk, layout.state(number))


def _is_readable(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            records.decode_document(file.read())
    except (OSError, ValueError):
        return False
    return True


def _check_master(layout: RunLayout, tell: Tell) -> None:
    try:
        with open(layout.master, "rb") as file:
            records.decode_document(file.read())
    except FileNotFoundError:
        tell(Notice("checkpoint.json is missing; rebuilt from the markers"))
    except (ValueError, OSError) as error:
        tell(Notice(f"checkpoint.json is damaged ({error}); rebuilt from the markers"))


def _say_who(recorded: Recorded, tell: Tell) -> None:
    by: dict[str, list[str]] = {}
    for number, marker in sorted(recorded.markers.items()):
        if marker.completed_by != "runner":
            who = "a shell without Python" if marker.completed_by == "shell" else marker.completed_by.partition(":")[2]
            by.setdefault(who, []).append(f"{number:02d} {one_line(marker.name)}")
    for who, steps in by.items():
        tell(Notice(f"marked complete by {who}: {listed(steps)}", level="note"))


def mind_interrupted(
    opened: Opened,
    decisions: Mapping[int, Decision],
    recorded: Recorded,
    ask: Callable[[str], bool] | None,
) -> None:
    """Stop before a step that was cut short runs again, where its `on_interrupt` says so.

    `ask` puts a question to a person; None when there is nobody. A step that was named, or marked
    pending by hand, runs. Raises InterruptedStepError.
    """
    for step in opened.workflow.steps:
        fact = recorded.facts.get(step.number) if step.on_interrupt != "rerun" else None
        if fact is None or fact.last != Status.CANCELLED.value or decisions[step.number].choice is not Choice.RUN:
            continue
        if step.number == opened.request.from_step or step.number in opened.request.only:
            continue
        title = one_line(step.title)
        if step.on_interrupt == "ask" and ask is not None and ask(f"Step {title} was cut short. Run it again?"):
            continue
        run_id = opened.layout.run_id if opened.layout else ""
        raise InterruptedStepError(
            f"step {title} was cut short, and its on_interrupt says: {step.on_interrupt}",
            help=f"look at what it left, then: workflow mark {run_id} {step.label} --done (or --pending)",
        )


def warn_of_changes(decisions: Mapping[int, Decision], recorded: Recorded, tell: Tell) -> None:
    """Name the steps that are bypassed although they are not what was completed."""
    changed = [
        f"{number:02d} ({listed(reason.code for reason in fact.changes)})"
        for number, fact in sorted(recorded.facts.items())
        if fact.changes and decisions[number].choice is Choice.BYPASS
    ]
    if changed:
        tell(
            Notice(
                f"{count(len(changed), 'step')} changed since completing, bypassed all the same: {listed(changed)}",
                "to run them again, and what depends on them: workflow resume --revalidate",
            )
        )
