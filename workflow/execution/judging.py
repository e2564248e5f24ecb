"""From an attempt that ended to the record of it: completed, failed, to be tried again, or cut short."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.outputs import output_path
from workflow.checkpoint.records import StepRecord
from workflow.execution import in_hand, outcome, processes, retrying
from workflow.execution.in_hand import InHand
from workflow.execution.ladder import KILL
from workflow.model import Attempt, Failure, Status, Step
from workflow.planning.digests import ABSENT, file_digest
from workflow.planning.evidence import shown
from workflow.planning.judgement import Judgement, reused

Manifests = Mapping[int, tuple[str, dict[str, str]]]
KILLED = 128 + 9
# A loop of ten thousand iterations does not keep the times of all of them in one state file.
MOST_ATTEMPTS_KEPT = 50


class Judge:
    """Turns ended attempts into records. `manifests` maps numbers to fingerprint and manifest."""

    def __init__(self, layout: RunLayout, project: str, manifests: Manifests) -> None:
        self._layout = layout
        self._project = project
        self._manifests = manifests
        self._oom_kills = processes.oom_kills()

    def look(self) -> None:
        """Note how often memory ran out so far, so that a kill to come is known for a new one. Call it every second."""
        self._oom_kills = processes.oom_kills()

    def _ran_out_of_memory(self) -> bool:
        before, self._oom_kills = self._oom_kills, processes.oom_kills()
        return self._oom_kills > before

    def attempt(
        self, hand: InHand, exit_code: int | None, ended_at: float, past: tuple[Attempt, ...], *, retries_used: int
    ) -> StepRecord:
        """Return the record of an attempt that ended; its `retries_used` is what is spent after it."""
        attempt = hand.attempt._replace(
            ended_at=ended_at, exit_code=exit_code, timed_out=hand.why_ended == in_hand.LIMIT
        )
        is_cut = hand.why_ended not in ("", in_hand.LIMIT)
        judged = outcome.judge(
            self._layout,
            self._project,
            hand.step,
            exit_code,
            timed_out=attempt.timed_out,
            interrupted=is_cut,
            out_of_memory=exit_code == KILLED and hand.ladder.rung < KILL and self._ran_out_of_memory(),
            log_offset_bytes=attempt.log_offset_bytes,
        )
        record = self._record(hand, judged, (*past, attempt))
        failure = judged.failure
        if failure is None:
            return record._replace(status=Status.RUNNING if hand.iteration else Status.SUCCEEDED)
        record = record._replace(
            status=Status.CANCELLED if is_cut else Status.FAILED,
            tail=()
            if hand.step.interactive
            else outcome.log_tail(self._layout.log(hand.step.number), attempt.log_offset_bytes),
        )
        if is_cut:
            return record._replace(retries_used=retries_used)
        return retrying.tried_again(record, retries_used, time.time())

    def looped(self, hand: InHand, past: tuple[Attempt, ...], failure: Failure | None) -> StepRecord:
        """Return the record of a repeated step whose loop has ended: well, or because of `failure`."""
        judged = outcome.judge(self._layout, self._project, hand.step, 0)
        record = self._record(hand, judged, past)
        failure = failure or judged.failure
        status = Status.SUCCEEDED if failure is None else Status.FAILED
        return record._replace(status=status, failure=failure)

    def reused(self, hand: InHand, judgement: Judgement) -> StepRecord:
        """Return the record of a step that is not run, because nothing of its world has changed since it succeeded."""
        success = judgement.success
        values = ({}, {}) if success is None else (success.published, success.env)
        now_at = time.time()
        hand.reason = reused(judgement)
        # It has no attempt of its own; this one says when it was seen to be complete.
        seen = Attempt(0, hand.attempt.epoch, now_at, now_at, 0)
        files, digests = self._as_they_are(hand.step, judgement.outputs)
        record = self._record(hand, outcome.Outcome(None, *values, files), (seen,))
        record = record._replace(status=Status.REUSED, worker=None, executor="reuse", output_digests=digests)
        # With git as evidence, and nothing else, nobody knows whether what is there was ever made durable.
        return record._replace(is_settled=success is not None)

    def _as_they_are(self, step: Step, outputs: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the declared outputs of a step that are there, and the digests of those that are files."""
        files, digests = [], {}
        for path in (output_path(self._project, step, name) for name in step.outputs):
            text = outputs.get(shown(self._project, path), ABSENT.text)
            if text != ABSENT.text:
                files.append(path)
                if (digest := file_digest(text)) is not None:
                    digests[path] = digest
        return tuple(files), digests

    def refused(self, hand: InHand, past: tuple[Attempt, ...], status: Status, failure: Failure | None) -> StepRecord:
        """Return the record of a step that was not run: skipped, rejected, or with a condition that failed."""
        return self._record(hand, outcome.Outcome(failure, {}, {}), past)._replace(status=status)

    def _record(self, hand: InHand, judged: outcome.Outcome, attempts: tuple[Attempt, ...]) -> StepRecord:
        fingerprint, manifest = self._manifests[hand.step.number]
        return StepRecord(
            hand.step,
            Status.RUNNING,
            attempts[-MOST_ATTEMPTS_KEPT:],
            hand.reason,
            fingerprint,
            manifest,
            judged.outputs,
            judged.env,
            judged.files,
            failure=judged.failure,
            warnings=judged.warnings,
            errors=judged.errors,
            snapshots=judged.snapshots,
            worker=None if hand.step.interactive else hand.worker,
            iteration=hand.iteration,
        )


class Verdict(NamedTuple):
    """What a test (`if`, `until`) said: yes, no, or neither (`failure`)."""

    is_yes: bool
    failure: Failure | None


def verdict(word: str, exit_code: int | None, *, is_out_of_time: bool = False) -> Verdict:
    """Return what the exit code of a test means: 0 yes, 1 no, anything else is an error."""
    if is_out_of_time:
        return Verdict(False, Failure("condition", f"its `{word}` ran out of time: the step's limit holds for it, too"))
    if exit_code in (0, 1):
        return Verdict(exit_code == 0, None)
    how = "was killed together with its worker" if exit_code is None else f"ended with exit code {exit_code}"
    return Verdict(False, Failure("condition", f"its `{word}` {how}: 0 means yes, 1 no, anything else is an error"))
