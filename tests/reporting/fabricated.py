"""Events made by hand, and a terminal small enough to be understood."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from workflow.events import RunFinished, RunStarted, StepFinished, StepStarted
from workflow.model import Attempt, Choice, Decision, Failure, Reason, RunStatus, Source, Status, Step, Workflow

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_000_000.0
NEVER_RUN = Reason("never-run")


def step(number: int = 5, name: str = "tests", **more: object) -> Step:
    return Step(number=number, name=name, source=Source("workflow.yaml"), text=":", **more)  # type: ignore[arg-type]


def run_started(steps: tuple[Step, ...], *, bypassed: int = 0, epoch: int = 1, **more: object) -> RunStarted:
    decisions = {
        each.number: Decision(Choice.BYPASS, (Reason("completed"),))
        if index < bypassed
        else Decision(Choice.RUN, (NEVER_RUN,))
        for index, each in enumerate(steps)
    }
    return RunStarted(
        run_id="workflow_20261120_171500",
        run_dir="/p/.checkpoints/workflow_20261120_171500",
        workflow=Workflow("demo", "/p", "/p/workflow.yaml", steps),
        epoch=epoch,
        decisions=decisions,
        to_run=len(steps) - bypassed,
        bypassed=bypassed,
        expected_s=more.get("expected_s", {}),  # type: ignore[arg-type]
    )


def step_started(each: Step, log: Path | str = "/nowhere", *, attempt: int = 1, **more: object) -> StepStarted:
    return StepStarted(
        each,
        attempt,
        os.fspath(log),
        more.get("started_at", NOW),  # type: ignore[arg-type]
        more.get("reason", NEVER_RUN),  # type: ignore[arg-type]
        more.get("offset", 0),  # type: ignore[arg-type]
    )


def step_finished(each: Step, log: Path | str = "/nowhere", *, exit_code: int = 0, **more: object) -> StepFinished:
    failed = exit_code != 0 or "kind" in more
    return StepFinished(
        step=each,
        status=more.get("status", Status.FAILED if failed else Status.SUCCEEDED),  # type: ignore[arg-type]
        attempt=Attempt(more.get("attempt", 1), 1, NOW, NOW + 1.2, exit_code),  # type: ignore[arg-type]
        duration_s=more.get("duration_s", 1.2),  # type: ignore[arg-type]
        log_path=os.fspath(log),
        failure=Failure(more.get("kind", "exit"), more.get("message", "")) if failed else None,  # type: ignore[arg-type]
        tail=more.get("tail", ()),  # type: ignore[arg-type]
        partial_outputs=more.get("partial_outputs", ()),  # type: ignore[arg-type]
        warnings=more.get("warnings", ()),  # type: ignore[arg-type]
        adopted=more.get("adopted", False),  # type: ignore[arg-type]
    )


def run_finished(
    status: RunStatus = RunStatus.COMPLETED, exit_code: int = 0, counts: dict[Status, int] | None = None
) -> RunFinished:
    resume = "" if status is RunStatus.COMPLETED else "workflow resume workflow_20261120_171500"
    counts = {Status.SUCCEEDED: 1} if counts is None else counts
    return RunFinished("workflow_20261120_171500", status, exit_code, 125.0, counts, resume)


_SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    """What a terminal of endless height shows after these bytes: knows CR, LF, cursor up, erase line, the cursor."""

    def __init__(self, sent: bytes) -> None:
        self.rows: list[bytearray] = [bytearray()]
        self.row = self.column = 0
        self.is_cursor_shown = True
        at = 0
        while at < len(sent):
            found = _SEQUENCE.match(sent, at)
            if found:
                self._obey(found[2], found[3])
                at = found.end()
                continue
            self._put(sent[at])
            at += 1

    @property
    def lines(self) -> list[bytes]:
        return [bytes(row).rstrip() for row in self.rows]

    def _obey(self, number: bytes, word: bytes) -> None:
        if word == b"A":
            self.row -= int(number or b"1")
        elif word == b"K":
            self.rows[self.row] = bytearray()
        elif word in b"lh" and number == b"25":
            self.is_cursor_shown = word == b"h"

    def _put(self, byte: int) -> None:
        if byte == 13:
            self.column = 0
        elif byte == 10:
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append(bytearray())
        else:
            row = self.rows[self.row]
            row.extend(b" " * (self.column + 1 - len(row)))
            row[self.column] = byte
            self.column += 1
