"""What a resume takes up again: workers and what they had in hand, steps, locks, answers that are waited for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workflow.checkpoint import approval, locks, records, store
from workflow.checkpoint.layout import RunLayout, label
from workflow.model import Choice, Decision, Step, Workflow

Document = dict[str, Any]

_NOTE = re.compile(r"worker_(\d+)\.running\Z", re.ASCII)


def recovery_of(
    layout: RunLayout, workflow: Workflow, order: Sequence[int], decisions: Mapping[int, Decision]
) -> Document:
    """Return `workers[]`, `steps_to_resume[]` (labels in order), `locks[]` and `approvals[]`. Writes nothing."""
    steps = {step.number: step for step in workflow.steps}
    to_run = [number for number in order if decisions[number].choice is Choice.RUN]
    workers = _workers(layout, steps)
    if not workers and to_run:
        workers = [_worker(1, steps[to_run[0]], None, None, "next")]
    named: dict[str, list[str]] = {}
    asked = []
    for number in to_run:
        rules = steps[number].rules
        if rules.lock:
            named.setdefault(rules.lock, []).append(label(number))
        if rules.approval:
            asked.append(_asked(layout, steps[number]))
    return {
        "workers": workers,
        "steps_to_resume": [label(number) for number in to_run],
        "locks": [{"lock": name, "steps": those} for name, those in sorted(named.items())],
        "approvals": asked,
    }


def _workers(layout: RunLayout, steps: Mapping[int, Step]) -> list[Document]:
    """Return the workers that had an attempt in hand which is not recorded as over."""
    found = []
    is_live = locks.is_held(layout)
    for worker in sorted(_with_notes(layout)):
        try:
            notes = records.decode_running(store.read_small(layout.worker_running(worker)))
        except OSError:
            continue
        ends = _ends(layout, worker)
        is_alive = is_live or locks.is_worker_held(layout, worker)
        for note in notes:
            if is_over(layout, note) or note.step not in steps:
                continue
            ended = ends.get((note.step, note.epoch, note.attempt))
            # A worker ends its attempts one by one: only the last of its notes can still run.
            state = "ended" if ended is not None else "running" if is_alive and note is notes[-1] else "cut-short"
            found.append(_worker(worker, steps[note.step], note, ended, state))
    return found


def _with_notes(layout: RunLayout) -> list[int]:
    try:
        names = os.listdir(layout.state_dir)
    except OSError:
        return []
    return [int(match[1]) for name in names if (match := _NOTE.match(name))]


def _ends(layout: RunLayout, worker: int) -> dict[tuple[int, int, int], int]:
    try:
        data = store.read_small(layout.exits(worker))
    except OSError:
        return {}
    return {(it.step, it.epoch, it.attempt): it.exit_code for it in records.decode_exits(data)}


def is_over(layout: RunLayout, note: records.RunningNote) -> bool:
    """Return whether an attempt is recorded as ended: a note stays where it is until its worker is given another."""
    return store.has_whole_marker(layout, note.step) or any(
        (attempt.number, attempt.epoch) == (note.attempt, note.epoch) and attempt.ended_at is not None
        for attempt in store.attempts_of(layout, note.step)
    )


def _worker(worker: int, step: Step, note: records.RunningNote | None, exit_code: int | None, state: str) -> Document:
    return {
        "worker": worker,
        "step": label(step.number),
        "name": step.name,
        "attempt": None if note is None else note.attempt,
        "started_at": None if note is None else records.utc_text(note.started_at),
        "exit_code": exit_code,
        "state": state,
    }


def _asked(layout: RunLayout, step: Step) -> Document:
    try:
        answer = approval.read(layout, step.number)
    except (approval.ApprovalDamagedError, OSError):  # it never counted
        answer = None
    return {
        "step": label(step.number),
        "name": step.name,
        "text": step.rules.approval,
        "answer": None if answer is None else answer.answer,
    }
