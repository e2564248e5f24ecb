"""`tasks{}` of a snapshot: where each step stood, and what of its completion tells one from the next."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from workflow.checkpoint import commits, records, snapshots, store
from workflow.checkpoint.layout import RunLayout, label
from workflow.checkpoint.marker import Marker
from workflow.checkpoint.records import StepRecord
from workflow.errors import CheckpointError
from workflow.model import Attempt, Status, Step, Workflow
from workflow.planning.record import Recorded

Task = dict[str, Any]

WORDS = {
    Status.SUCCEEDED: "completed",
    Status.BYPASSED: "completed",
    Status.REUSED: "completed",
    Status.RUNNING: "running",
    Status.WAITING: "waiting",
    Status.SKIPPED: "skipped",
    Status.FAILED: "failed",
    Status.BLOCKED: "blocked",
    Status.CANCELLED: "interrupted",
}
STATUSES = {word: status for status, word in reversed(WORDS.items())}

# What one snapshot of a runner may read of steps that completed before: beyond that, the markers must do.
MOST_STATES_READ = 500
LARGEST_READ_BYTES = 512 * 1024


def tasks_of(workflow: Workflow, layout: RunLayout, recorded: Recorded, words: Mapping[int, str]) -> dict[str, Task]:
    """Return `tasks{}` as the files of a run have it, by label; `words` are the statuses by number. Writes nothing."""
    return Tasks(workflow, layout, recorded, most_read=None).as_of(words)


class Tasks:
    """The entries of a run's steps, made when they are asked for; cheap until then, in time and in memory."""

    def __init__(
        self, workflow: Workflow, layout: RunLayout, recorded: Recorded, *, most_read: int | None = MOST_STATES_READ
    ) -> None:
        """`recorded` is what was known before anything of this invocation ran."""
        self._workflow = workflow
        self._layout = layout
        self._recorded = recorded
        self._most_read = most_read
        self._before: dict[int, Task] | None = None
        self._records: dict[int, tuple[StepRecord, int]] = {}
        # Of a step that completed and left nothing, its times say all: of ten thousand, only these are kept.
        self._plain: dict[int, tuple[float, float, int]] = {}

    def put(self, record: StepRecord, epoch: int) -> None:
        """Take note of what became of a step; it must be recorded."""
        number = record.step.number
        last = record.attempts[-1] if record.attempts else None
        is_plain = record.is_done and not (record.outputs or record.env or record.output_digests or record.iteration)
        if is_plain and last is not None and last.ended_at is not None:
            self._records.pop(number, None)
            self._plain[number] = (last.started_at, last.ended_at, epoch)
        else:
            self._plain.pop(number, None)
            self._records[number] = (record, epoch)

    def as_of(self, words: Mapping[int, str]) -> dict[str, Task]:
        """Return `tasks{}` for these statuses (words by number; a number that is not there is pending)."""
        return dict(self.items(words))

    def items(self, words: Mapping[int, str]) -> Iterator[tuple[str, Task]]:
        """Yield label and entry of each step, in order; one at a time, as there may be ten thousand."""
        if self._before is None:
            self._before = self._read_before()
        for step in self._workflow.steps:
            word = words.get(step.number, "pending")
            entry = self._entry_of(step, self._before)
            # What stands there is of the last attempt that ended; one that runs has not said anything yet.
            yield label(step.number), entry if entry["status"] == word else {**entry, "status": word}

    def _entry_of(self, step: Step, before: Mapping[int, Task]) -> Task:
        number = step.number
        plain = self._plain.get(number)
        if plain is not None:
            started_at, ended_at, epoch = plain
            return _entry(
                step.name,
                "completed",
                started_at=_instant(started_at),
                completed_at=_instant(ended_at),
                duration_ms=round(1000 * max(0.0, ended_at - started_at)),
                exit_code=0,
                fingerprint=self._recorded.identities[number].fingerprint,
                epoch=epoch,
            )
        if number in self._records:
            return _of_record(*self._records[number])
        if number in before:
            return before[number]
        marker = self._recorded.markers.get(number)
        if marker is not None:
            return _of_marker(marker, None, self._recorded.published.get(number, {}))
        return _of_attempts(step.name, self._recorded.past.get(number, ()))

    def _read_before(self) -> dict[int, Task]:
        """Return what is known of some steps that ran before: from the last snapshot, or from states.

        Of others their markers must do: what is read here stays in memory.
        """
        repeated = {step.number for step in self._workflow.steps if step.rules.repeat is not None}
        known = _of_newest(self._layout) if self._recorded.markers else {}
        left = self._most_read
        entries = {}
        states = store.States(self._layout)
        try:
            for step in self._workflow.steps:
                number = step.number
                marker = self._recorded.markers.get(number)
                if marker is None:
                    if number in repeated:
                        entries[number] = _of_attempts(step.name, self._recorded.past.get(number, ()))
                        entries[number]["iterations"] = commits.iterations_done(self._layout, number, step.name)
                    continue
                task = known.get(label(number))
                if task is not None and is_of(task, marker):
                    entries[number] = task
                elif left is None or left > 0:
                    left = None if left is None else left - 1
                    state = _state(states, self._recorded.moves.get(number, number))
                    entries[number] = _of_marker(marker, state, self._recorded.published.get(number, {}))
        finally:
            states.close()
        return entries


def is_of(task: Mapping[str, Any], marker: Marker) -> bool:
    """Return whether a task of a snapshot tells of the very completion that a marker stands for."""
    return task.get("status") == "completed" and identity_of(task) == identity_of_marker(marker)


def identity_of(task: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what tells one completion from every other of the run: of a task in a snapshot."""
    return task.get("name"), task.get("fingerprint"), task.get("epoch"), task.get("completed_at")


def identity_of_marker(marker: Marker) -> tuple[object, ...]:
    """Return what tells one completion from every other of the run: of a marker. Its number may have changed."""
    return marker.name, marker.fingerprint, marker.epoch, marker.completed_at


def output_hash(digests: Iterable[str], published: Mapping[str, str]) -> str | None:
    """Return one digest for all that a step left: that of its one output, else of all outputs and published values.

    None: it declares no outputs and published nothing. Paths do not count, so a run that was moved has the same.
    """
    found = list(digests)
    if not published and len(found) < 2:
        return found[0] if found else None
    return records.digest(json.dumps([found, sorted(published.items())]).encode("ascii"))


def _entry(
    name: str,
    status: str,
    *,
    started_at: str | None = None,
    completed_at: str | None = None,
    duration_ms: int | None = None,
    exit_code: int | None = None,
    output: str | None = None,
    fingerprint: str | None = None,
    epoch: int | None = None,
) -> Task:
    return {
        "name": name,
        "status": status,
        "started_at": started_at,
        "completed_at": completed_at,
        "duration_ms": duration_ms,
        "exit_code": exit_code,
        "output_hash": output,
        "fingerprint": fingerprint,
        "epoch": epoch,
    }


def _instant(at: float | None) -> str | None:
    return None if at is None else _second(int(at))


@lru_cache(maxsize=4096)
def _second(at: int) -> str | None:
    # Short steps share their seconds, and a snapshot tells of all of them.
    return records.utc_text(at)


def _of_record(record: StepRecord, epoch: int) -> Task:
    if not record.is_done:
        task = _of_attempts(record.step.name, record.attempts)
        # Of a loop that goes on, how far it is: who goes back to this takes up the loop there.
        return task if record.step.rules.repeat is None else {**task, "iterations": record.iteration}
    last = record.attempts[-1] if record.attempts else None
    return _entry(
        record.step.name,
        "completed",
        started_at=None if last is None else _instant(last.started_at),
        completed_at=None if last is None else _instant(last.ended_at),
        duration_ms=round(1000 * record.duration_s),
        exit_code=0,
        output=output_hash((record.output_digests or {}).values(), {**record.outputs, **record.env}),
        fingerprint=record.fingerprint,
        epoch=epoch,
    )


def _of_attempts(name: str, attempts: tuple[Attempt, ...]) -> Task:
    if not attempts:
        return _entry(name, "pending")
    last = attempts[-1]
    return _entry(
        name,
        "pending",
        started_at=_instant(last.started_at),
        duration_ms=None if last.ended_at is None else _as_recorded_ms(last.started_at, last.ended_at),
        exit_code=last.exit_code,
        epoch=last.epoch,
    )


def _as_recorded_ms(started_at: float, ended_at: float) -> int:
    """Return what anybody works out from the state of a step, where instants stand to the millisecond."""
    return max(0, round(1000 * (round(ended_at, 3) - round(started_at, 3))))


def _of_marker(marker: Marker, state: records.Document | None, published: Mapping[str, str]) -> Task:
    started_at, duration_ms, digests = None, 1000 * marker.duration_s, {}
    # A state of another completion says nothing of this one.
    if state is not None and state.get("completed_at") == marker.completed_at:
        started_at = state.get("started_at")
        seconds = state.get("duration_seconds")
        duration_ms = round(1000 * seconds) if isinstance(seconds, (int, float)) else duration_ms
        found = state.get("output_digests")
        digests = found if isinstance(found, dict) else {}
    if started_at is None:
        ended = records.utc_seconds(marker.completed_at)
        started_at = None if ended is None else records.utc_text(ended - marker.duration_s)
    return _entry(
        marker.name,
        "completed",
        started_at=started_at,
        completed_at=marker.completed_at,
        duration_ms=duration_ms,
        exit_code=marker.exit_code,
        output=output_hash(map(str, digests.values()), published),
        fingerprint=marker.fingerprint,
        epoch=marker.epoch,
    )


def _state(states: store.States, number: int) -> records.Document | None:
    try:
        return states.document(number)
    except ValueError:  # damaged: whoever decides by it says so
        return None


def _of_newest(layout: RunLayout) -> dict[str, Task]:
    newest = snapshots.newest(layout)
    try:
        # A large one would stay in memory for the whole run; then markers and some states must do.
        if newest is None or os.stat(newest.path).st_size > LARGEST_READ_BYTES:
            return {}
        tasks: dict[str, Task] = snapshots.read(layout, newest.number)["tasks"]
        return tasks
    except (CheckpointError, OSError):  # it saves time, and decides nothing
        return {}
