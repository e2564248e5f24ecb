"""A run as a stream of JSON objects, one a line: the public contract of `workflow run --json`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from workflow.events import (
    Event,
    Interrupted,
    Notice,
    RunFinished,
    RunStarted,
    StepFinished,
    StepIterated,
    StepProgress,
    StepStarted,
    StepWaiting,
    Tick,
)
from workflow.reporting.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from workflow.model import Attempt, Step


class JsonEvents:
    """Writes every event but Tick as one JSON object on a line of its own, at once.

    Every object has `event` (a name below) and `time` (when it was told: `2026-11-20T17:16:42.123Z`).
    Instants are UTC in that form, or null while unknown; durations are seconds. New keys may be
    added; readers ignore the ones they do not know. Keys by event:

    - `run_started`: run_id, run_dir, workflow {name, project, source, steps [{step, name}]}, epoch,
      decisions [{step, choice, reasons [{code, detail}]}] (by number), to_run, bypassed, is_kept,
      expected_s {number as text: seconds}
    - `notice`: message, help, level (`note`, `warning`, `error`)
    - `step_started`: step, name, attempt, log_path, started_at, reason {code, detail}, log_offset_bytes
    - `step_waiting`: step, name, why (`retry`, `lock`, `approval`), detail, attempt, failure {kind, message} or null,
      wait_s or null
    - `step_iterated`: step, name, iteration, duration_s
    - `step_progress`: step, name, done, total
    - `step_finished`: step, name, status, attempt {number, epoch, started_at, ended_at, exit_code, signal,
      timed_out, log_offset_bytes, adopted} or null, duration_s, log_path, failure {kind, message} or null,
      tail [], partial_outputs [], warnings [], adopted, detail, is_tolerated
    - `interrupted`: signal, stage
    - `run_finished` (always the last): run_id, status, exit_code, duration_s, counts {status: number}, resume_command

    `step` is the number of a step. Bytes of names that are not UTF-8 stand as `\\xff`. A reader that goes
    away is no error; a slow one is waited for only at the end. `clock` is UTC seconds since the epoch.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.time) -> None:
        self._outlet = Outlet(stream)
        self._clock = clock

    def on_event(self, event: Event) -> None:
        if isinstance(event, Tick):
            self._outlet.pump()
            return
        if type(event) not in _NAMES:  # no news for people
            return
        self._outlet.say(_line(_NAMES[type(event)], _instant(self._clock()), _fields(event)))
        self._outlet.pump()
        if isinstance(event, RunFinished):
            self._outlet.drain()

    def close(self) -> None:
        """Write what is left, waiting for the reader."""
        self._outlet.drain()


_NAMES: dict[type, str] = {
    RunStarted: "run_started",
    Notice: "notice",
    StepStarted: "step_started",
    StepWaiting: "step_waiting",
    StepIterated: "step_iterated",
    StepProgress: "step_progress",
    StepFinished: "step_finished",
    Interrupted: "interrupted",
    RunFinished: "run_finished",
}


def _line(name: str, now: str | None, fields: dict[str, Any]) -> str:
    document = {"event": name, "time": now, **fields}
    line = json.dumps(document, separators=(",", ":"))
    if "\\ud" in line:
        # A lone surrogate is a byte that is not UTF-8; strict readers refuse a whole line for one.
        line = json.dumps(_valid(document), separators=(",", ":"))
    return line


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(f"\\x{ord(char) - 0xDC00:02x}" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in value)
    if isinstance(value, dict):
        return {_valid(key): _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    return value


def _fields(event: Event) -> dict[str, Any]:
    if isinstance(event, RunStarted):
        return {
            "run_id": event.run_id,
            "run_dir": event.run_dir,
            "workflow": {
                "name": event.workflow.name,
                "project": event.workflow.project,
                "source": event.workflow.source,
                "steps": [_step(step) for step in event.workflow.steps],
            },
            "epoch": event.epoch,
            "decisions": [
                {"step": number, "choice": decision.choice.value, "reasons": [r._asdict() for r in decision.reasons]}
                for number, decision in sorted(event.decisions.items())
            ],
            "to_run": event.to_run,
            "bypassed": event.bypassed,
            "is_kept": event.workflow.checkpoints.enabled,
            "expected_s": {str(number): seconds for number, seconds in sorted(event.expected_s.items())},
        }
    fields: dict[str, Any] = event._asdict()
    if isinstance(event, StepStarted | StepWaiting | StepIterated | StepProgress | StepFinished):
        fields = {**_step(event.step), **fields, "step": event.step.number}
    if isinstance(event, StepStarted):
        fields["started_at"] = _instant(event.started_at)
        fields["reason"] = event.reason._asdict()
    elif isinstance(event, StepWaiting):
        fields["failure"] = None if event.failure is None else event.failure._asdict()
    elif isinstance(event, StepFinished):
        fields["status"] = event.status.value
        fields["attempt"] = None if event.attempt is None else _attempt(event.attempt)
        fields["failure"] = None if event.failure is None else event.failure._asdict()
    elif isinstance(event, RunFinished):
        fields["status"] = event.status.value
        fields["counts"] = {status.value: number for status, number in event.counts.items()}
    return fields


def _step(step: Step) -> dict[str, Any]:
    return {"step": step.number, "name": step.name}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    fields = attempt._asdict()
    del fields["retries"]  # a count for the state file; events tell of each retry themselves
    return {
        **fields,
        "started_at": _instant(attempt.started_at),
        "ended_at": _instant(attempt.ended_at),
        "signal": attempt.signal,
    }


def _instant(at: float | None) -> str | None:
    if at is None:
        return None
    whole, milli = divmod(round(at * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milli:03d}Z"
