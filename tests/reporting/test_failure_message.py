"""What is said when a step failed."""

from __future__ import annotations

import pytest

from tests.reporting.fabricated import step, step_finished
from workflow.reporting.failure import failure_message


def test_the_whole_message() -> None:
    finished = step_finished(
        step(),
        "/p/logs/step_05.log",
        exit_code=3,
        attempt=2,
        tail=tuple(f"line {number}" for number in range(12)),
        partial_outputs=("a", "b\n"),
    )
    assert failure_message(finished, "workflow resume R").splitlines() == [
        "error: step 05 tests failed (attempt 2): exit code 3",
        *(f"  | line {number}" for number in range(2, 12)),
        "log: /p/logs/step_05.log",
        "partial outputs (not to be trusted): a, b\\n",
        "help: workflow resume R",
    ]


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"exit_code": 3}, "exit code 3"),
        ({"exit_code": 137, "kind": "signal"}, "killed by SIGKILL (exit code 137)"),
        ({"exit_code": 191, "kind": "signal"}, "killed by signal 63 (exit code 191)"),
        ({"kind": "timeout", "duration_s": 90.0}, "ran out of time after 1m30s (limit 1m30s)"),
        ({"kind": "output_missing", "message": "no output out.txt"}, "no output out.txt"),
        ({"kind": "worker_lost"}, "worker lost"),
    ],
)
def test_the_cause(more: dict[str, object], cause: str) -> None:
    message = failure_message(step_finished(step(timeout_s=90.0), **more), "")  # type: ignore[arg-type]
    assert message.splitlines()[0] == f"error: step 05 tests failed (attempt 1): {cause}"


def test_a_log_cannot_move_the_cursor_and_long_lines_are_cut() -> None:
    message = failure_message(step_finished(step(), exit_code=1, tail=("\x1b[2J\r\x00", "x" * 5000, "\t.")), "")
    lines = message.splitlines()
    assert lines[1] == r"  | \x1b[2J\r\x00"
    assert lines[2] == f"  | {'x' * 297}..."
    assert lines[3] == f"  | {' ' * 8}."
