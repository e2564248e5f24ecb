"""What became of steps whose runner died: they may have ended, or may still run.

A step goes on without its runner and leaves an exit record. The resume waits for it and takes its
outcome over, instead of repeating hours of work.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from workflow.checkpoint import commits, locks, records, store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import ExitRecord, RunningNote, StepRecord
from workflow.errors import duration_text
from workflow.execution import outcome, processes, retrying
from workflow.execution.committer import with_digests
from workflow.execution.ladder import TERM_GRACE_S
from workflow.execution.worker import LOCK_DESCRIPTOR
from workflow.model import Attempt, Reason, Status, Step, Workflow
from workflow.planning.fingerprint import fingerprint, manifest

LOOK_S = 0.05
SAY_AGAIN_S = 60.0


class Orphan(NamedTuple):
    """An attempt that was in hand when its runner died. `exit_code` None: it left no exit record."""

    worker: int
    note: RunningNote
    exit_code: int | None


def adopt(
    layout: RunLayout,
    disk: Disk,
    as_started: Callable[[], Workflow],
    *,
    say: Callable[[str, str], None],
    is_to_end: bool,
) -> list[StepRecord]:
    """Wait for steps that still run and commit what became of those the dead runner had in hand.

    `as_started` returns the definition they were started from. With `is_to_end` what still runs is ended
    instead. Returns what was recorded: outcomes taken over, and attempts that were cut short. Only under the
    lock of the run. Raises NotRecordedError.
    """
    holder = locks.read_holder(layout)
    # On a machine that was started anew an exit record may have outlived the outputs it vouches for.
    is_same_boot = holder is not None and holder.boot_id == locks.boot_id()
    adopted: list[StepRecord] = []
    workers = _workers(layout)
    orphans = find_orphans(layout, workers)
    workflow = as_started() if orphans else None
    for orphan in orphans:
        step = next((it for it in workflow.steps if it.number == orphan.note.step), None) if workflow else None
        if workflow is None or step is None or _is_recorded(layout, step, orphan.note):
            continue
        exit_code = orphan.exit_code if is_same_boot else None
        timed_out = False
        if is_same_boot and exit_code is None:
            exit_code, timed_out = _wait(disk, layout, step, orphan, say=say, is_to_end=is_to_end)
        if exit_code is None and not os.path.exists(layout.log(step.number)):
            continue  # it had not begun
        is_cut = exit_code is None or (is_to_end and orphan.exit_code is None)
        adopted.append(_commit(layout, disk, workflow, step, orphan, _Ended(exit_code, timed_out, is_cut)))
    if not is_same_boot:
        # Gone before our own note of this boot stands there, or the resume after us would believe it.
        for worker in workers:
            disk.remove(layout.worker_running(worker))
    return adopted


def _is_recorded(layout: RunLayout, step: Step, note: RunningNote) -> bool:
    """Return whether the outcome of an attempt is committed; its note may be older than that."""
    if store.has_whole_marker(layout, note.step):
        return True
    if note.iteration and commits.iterations_done(layout, note.step, step.name) >= note.iteration:
        return True
    states = store.States(layout)
    try:
        document = states.document(note.step)
    except ValueError:
        return False
    finally:
        states.close()
    # A state that says "completed" without its marker is a commit that was cut in the middle.
    return (
        any((attempt.number, attempt.epoch) == (note.attempt, note.epoch) for attempt in records.attempts_in(document))
        and (document or {}).get("status") != Status.SUCCEEDED.value
    )


def find_orphans(layout: RunLayout, workers: Iterable[int]) -> list[Orphan]:
    """Return the attempts that workers had in hand, with the exit code where it is recorded."""
    orphans = []
    for worker in workers:
        notes = records.decode_running(_content(layout.worker_running(worker)))
        if not notes:
            continue
        exits = records.decode_exits(_content(layout.exits(worker)))
        orphans += [Orphan(worker, note, _exit_code(exits, note)) for note in notes]
    return orphans


def is_alive(disk: Disk, layout: RunLayout, orphan: Orphan) -> bool:
    """Return whether the step itself still runs or may yet begin, not only something that an earlier step left behind.

    Processes decide where they can be seen: a lock file can be deleted, a worker can have an order that
    it has not begun.
    """
    if processes.find_step_processes(layout.path, f"{orphan.note.step:02d}", worker=None):
        return True
    if processes.find_worker_shells(layout.path):
        return True
    fd = locks.lock_worker(disk, layout, orphan.worker)
    if fd is not None:
        os.close(fd)
        return False
    return not processes.is_held_in_sight(layout.worker_lock(orphan.worker), LOCK_DESCRIPTOR)


def _wait(
    disk: Disk, layout: RunLayout, step: Step, orphan: Orphan, *, say: Callable[[str, str], None], is_to_end: bool
) -> tuple[int | None, bool]:
    said_at = 0.0
    timed_out = False
    ending_since: float | None = time.monotonic() if is_to_end else None
    sent: set[int] = set()
    while True:
        exit_code = _exit_code(records.decode_exits(_content(layout.exits(orphan.worker))), orphan.note)
        if exit_code is not None:
            return exit_code, timed_out
        if not is_alive(disk, layout, orphan):
            # It may have ended between the two looks.
            return _exit_code(records.decode_exits(_content(layout.exits(orphan.worker))), orphan.note), timed_out
        if (
            ending_since is None
            and step.timeout_s is not None
            and time.time() > orphan.note.started_at + step.timeout_s
        ):
            timed_out, ending_since = True, time.monotonic()
        if ending_since is not None:
            number = signal.SIGTERM if time.monotonic() - ending_since < TERM_GRACE_S else signal.SIGKILL
            if number not in sent:
                sent.add(number)
                say(f"ending step {step.title}, which still ran without its runner", "")
                found = processes.find_step_processes(layout.path, step.label, worker=None)
                if number == signal.SIGKILL and not found:
                    found = processes.find_worker_shells(layout.path)
                for pid in found:
                    processes.signal_one(pid, number)
        elif time.monotonic() - said_at > SAY_AGAIN_S:
            said_at = time.monotonic()
            since = duration_text(max(0.0, time.time() - orphan.note.started_at))
            say(
                f"step {step.title} still runs, started {since} ago by a runner that died; waiting for its outcome",
                "to end it instead: Ctrl-C, then workflow resume --end-running",
            )
        time.sleep(LOOK_S)


class _Ended(NamedTuple):
    """How an orphan ended; `exit_code` None: with its runner, or with the machine. `is_cut`: not by itself."""

    exit_code: int | None
    timed_out: bool
    is_cut: bool


def _commit(layout: RunLayout, disk: Disk, workflow: Workflow, step: Step, orphan: Orphan, ended: _Ended) -> StepRecord:
    note = orphan.note
    ended_at = max(note.started_at, _changed_at(layout.exits(orphan.worker), note.started_at))
    past = tuple(it for it in store.attempts_of(layout, step.number) if it.number < note.attempt)
    used, was_waiting = _retries_used(layout, step.number)
    attempt = Attempt(
        note.attempt,
        note.epoch,
        note.started_at,
        ended_at if ended.exit_code is not None else note.started_at,
        ended.exit_code,
        timed_out=ended.timed_out,
        adopted=ended.exit_code is not None,
        retries=(past[-1].retries if past else 0) + was_waiting,
    )
    judged = outcome.judge(
        layout, workflow.project, step, ended.exit_code, timed_out=ended.timed_out, interrupted=ended.is_cut
    )
    is_iteration = bool(note.iteration) and judged.failure is None
    content = manifest(step)
    record = StepRecord(
        step,
        Status.SUCCEEDED if judged.failure is None else Status.CANCELLED if ended.is_cut else Status.FAILED,
        (*past, attempt),
        Reason("never-run", "its runner died; the outcome was taken over"),
        fingerprint(content),
        content,
        judged.outputs,
        judged.env,
        judged.files,
        failure=judged.failure,
        tail=outcome.log_tail(layout.log(step.number)) if judged.failure else (),
        warnings=judged.warnings,
        errors=judged.errors,
        worker=orphan.worker,
        iteration=note.iteration,
    )
    if ended.is_cut or ended.exit_code is None:
        record = record._replace(retries_used=used)
    elif judged.failure is not None:
        record = retrying.tried_again(record, used, ended_at)
    record = with_digests(record)
    _record_spent(layout, disk, record)
    if is_iteration:
        # Whether another one follows is for the resume to find out.
        commits.commit_iteration(disk, layout, record, epoch=note.epoch, durability="full")
    elif judged.failure is None:
        commits.commit_done(disk, layout, record, run_id=layout.run_id, epoch=note.epoch)
    else:
        commits.commit_not_done(disk, layout, record)
    disk.remove_empty_directory(layout.own_dir(step.number))
    return record


def _record_spent(layout: RunLayout, disk: Disk, record: StepRecord) -> None:
    """Record what an attempt cost; what the dead runner recorded of it already is recorded again, as the same."""
    from workflow.checkpoint import spending

    number, last = record.step.number, record.attempts[-1]
    key = (number, last.epoch, last.number)
    known = [one for one in spending.read(layout).values() if one.step == number and one.key != key]
    before = known[-1] if known else None
    spent, _ = spending.of_attempt(layout, key, record.iteration, record.outputs, before)
    if spent is not None:
        spending.append(disk, layout, spent)


def _retries_used(layout: RunLayout, number: int) -> tuple[int, bool]:
    """Return how many retries the series of a step had spent before the attempt in hand, and whether that is one."""
    states = store.States(layout)
    try:
        document = states.document(number) or {}
    except ValueError:
        return 0, False
    finally:
        states.close()
    retry = document.get("retry")
    used = retry.get("used") if isinstance(retry, dict) else None
    return used if isinstance(used, int) else 0, document.get("status") == Status.WAITING.value


def _exit_code(exits: list[ExitRecord], note: RunningNote) -> int | None:
    for record in reversed(exits):
        if (record.step, record.epoch, record.attempt) == (note.step, note.epoch, note.attempt):
            return record.exit_code
    return None


def _workers(layout: RunLayout) -> list[int]:
    try:
        names = [name for name in os.listdir(layout.state_dir) if name.startswith("worker_")]
    except OSError:
        return []
    numbers = (name[7:-8] for name in names if name.endswith(".running"))
    return sorted(int(number) for number in numbers if number.isdigit())


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _changed_at(path: str, otherwise: float) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return otherwise
