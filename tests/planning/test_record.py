"""read_record(): markers and states of a run held against a definition, by name and content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workflow.checkpoint import commits
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import StepRecord
from workflow.model import Attempt, Failure, Reason, RunStatus, Source, Status, Step, Workflow
from workflow.planning.documents import run_status
from workflow.planning.fingerprint import fingerprint, manifest
from workflow.planning.record import Recorded, read_record

RUN_ID = "workflow_20261120_171500"


class Run:
    """A run directory in which steps can be recorded."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.layout = RunLayout(str(path))
        self.disk = Disk()
        for name in ("state", "logs"):
            (path / name).mkdir()

    def record(self, step: Step, *, outputs: dict[str, str] | None = None, by: str = "runner") -> None:
        commits.commit_done(
            self.disk, self.layout, self._record(step, Status.SUCCEEDED, outputs, by), run_id=RUN_ID, epoch=1
        )

    def record_failure(self, step: Step) -> None:
        record = self._record(step, Status.FAILED, None, "runner")._replace(failure=Failure("exit", "exit code 3"))
        commits.commit_not_done(self.disk, self.layout, record)

    def _record(self, step: Step, status: Status, outputs: dict[str, str] | None, by: str) -> StepRecord:
        content = manifest(step)
        attempt = Attempt(1, 1, 1000.0, 1001.0, 0 if status is Status.SUCCEEDED else 3)
        reason = Reason("never-run")
        return StepRecord(
            step, status, (attempt,), reason, fingerprint(content), content, outputs or {}, {}, completed_by=by
        )

    def read(self, *steps: Step) -> Recorded:
        workflow = Workflow("w", "/p", "/p/steps", tuple(sorted(steps, key=lambda step: step.number)))
        return read_record(self.layout, workflow, [step.number for step in workflow.steps])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path / RUN_ID)
    yield made
    made.disk.close()


def step(number: int, name: str, content: str) -> Step:
    return Step(number, name, Source("steps"), script=f"{name}.sh", content_digest=f"blake3:{content}")


def done(recorded: Recorded) -> list[int]:
    return [number for number, fact in recorded.facts.items() if fact.is_done]


def test_the_same_step_is_complete(run: Run) -> None:
    run.record(step(0, "a", "1"))
    recorded = run.read(step(0, "a", "1"), step(1, "b", "2"))
    assert done(recorded) == [0]
    assert not recorded.facts[0].changes
    assert recorded.facts[1].last is None


def test_an_edited_step_is_complete_with_its_changes(run: Run) -> None:
    """RELIABILITY 47."""
    run.record(step(0, "a", "1"))
    fact = run.read(step(0, "a", "9")).facts[0]
    assert fact.is_done
    assert [reason.code for reason in fact.changes] == ["script-changed"]


# What stands in the run, what the definition says now, and which steps are then complete, and from where.
MATCHES = {
    "moved by an insertion": (
        [(0, "a", "1"), (1, "b", "2")],
        [(0, "a", "1"), (1, "n", "9"), (2, "b", "2")],
        {0: 0, 2: 1},
    ),
    "renamed in place": ([(0, "a", "1")], [(0, "z", "1")], {0: 0}),
    "renamed and moved": ([(0, "a", "1")], [(4, "z", "1")], {4: 0}),
    "moved and edited": ([(0, "a", "1")], [(4, "a", "9")], {4: 0}),
    "swapped": ([(0, "a", "1"), (1, "b", "2")], [(0, "b", "2"), (1, "a", "1")], {0: 1, 1: 0}),
    "another one under the old number": ([(0, "a", "1")], [(0, "z", "9")], {}),
    "renamed in place, and copied": ([(0, "a", "1")], [(0, "y", "1"), (1, "z", "1")], {0: 0}),
    "moved, and copied": ([(0, "a", "1")], [(3, "y", "1"), (4, "z", "1")], {}),
    "its text was in two": ([(0, "a", "1"), (1, "b", "1")], [(0, "z", "1"), (1, "b", "1")], {0: 0, 1: 1}),
    "its text was in two, and it moved": ([(0, "a", "1"), (1, "b", "1")], [(2, "y", "1"), (3, "z", "1")], {}),
    "gone": ([(0, "a", "1"), (1, "b", "2")], [(1, "b", "2")], {1: 1}),
}


@pytest.mark.parametrize("case", MATCHES)
def test_identity_is_name_or_content_and_never_the_number_alone(run: Run, case: str) -> None:
    """RELIABILITY 48."""
    before, now, expected = MATCHES[case]
    for facts in before:
        run.record(step(*facts))
    recorded = run.read(*(step(*facts) for facts in now))
    assert {number: recorded.moves.get(number, number) for number in done(recorded)} == expected


def test_one_marker_never_stands_for_two_steps(run: Run) -> None:
    """A step that was copied under a new name has never run."""
    run.record(step(0, "a", "1"))
    recorded = run.read(step(0, "x", "1"), step(1, "y", "1"), step(2, "z", "1"))
    assert done(recorded) == [0]
    recorded = run.read(step(5, "x", "1"), step(6, "y", "1"))
    assert done(recorded) == []


def test_a_failed_step_tells_its_past(run: Run) -> None:
    run.record_failure(step(0, "a", "1"))
    recorded = run.read(step(0, "a", "1"))
    assert recorded.facts[0].last == "failed"
    assert "exit code 3" in recorded.facts[0].detail
    assert len(recorded.past[0]) == 1


def test_values_are_there_for_later_steps(run: Run) -> None:
    run.record(step(0, "a", "1"), outputs={"TOKEN": "x"})
    assert run.read(step(0, "a", "1")).values == {"TOKEN": "x"}


@pytest.mark.parametrize("damage", [b"", b"{", b"STEP=0\n"])
def test_a_damaged_marker_is_not_done_and_said(run: Run, damage: bytes) -> None:
    """RELIABILITY 10, 13."""
    run.record(step(0, "a", "1"))
    Path(run.layout.marker(0)).write_bytes(damage)
    recorded = run.read(step(0, "a", "1"))
    assert not recorded.facts[0].is_done
    assert recorded.facts[0].damage
    assert recorded.notices


def test_a_lost_state_matters_only_where_values_were_published(run: Run) -> None:
    run.record(step(0, "a", "1"))
    run.record(step(1, "b", "2"), outputs={"K": "v"})
    for number in (0, 1):
        Path(run.layout.state(number)).unlink()
    recorded = run.read(step(0, "a", "1"), step(1, "b", "2"))
    assert done(recorded) == [0]
    assert recorded.facts[1].damage
    assert len(recorded.notices) == 2


def test_a_damaged_state_with_values_is_not_believed(run: Run) -> None:
    run.record(step(0, "a", "1"), outputs={"K": "v"})
    path = Path(run.layout.state(0))
    path.write_bytes(path.read_bytes().replace(b'"v"', b'"w"'))
    recorded = run.read(step(0, "a", "1"))
    assert done(recorded) == []
    assert recorded.values == {}


def test_a_persons_word_is_told_as_theirs(run: Run) -> None:
    run.record(step(0, "a", "1"), by="person:ada")
    assert "ada" in run.read(step(0, "a", "1")).facts[0].detail


@pytest.mark.parametrize(
    ("total", "complete", "failed", "is_live", "epoch", "has_tried", "expected"),
    [
        (2, 0, 0, False, 0, False, RunStatus.CREATED),
        (2, 0, 0, True, 1, False, RunStatus.IN_PROGRESS),
        (2, 1, 0, True, 2, True, RunStatus.RETRYING),
        (2, 1, 1, True, 2, True, RunStatus.RETRYING),
        (2, 1, 0, False, 1, True, RunStatus.PAUSED),
        (2, 1, 1, False, 1, True, RunStatus.FAILED),
        (2, 2, 0, False, 3, True, RunStatus.COMPLETED),
    ],
)
def test_what_a_run_is(
    total: int, complete: int, failed: int, is_live: bool, epoch: int, has_tried: bool, expected: RunStatus
) -> None:
    """S40, S41, S42, S43: a dead runner never reads in_progress."""
    assert run_status(total, complete, failed, is_live=is_live, epoch=epoch, has_tried=has_tried) is expected
