"""The end of a run."""

from __future__ import annotations

import pytest

from tests.reporting.fabricated import run_finished
from workflow.model import RunStatus, Status
from workflow.reporting.summary import Row, closing_lines, summary_lines
from workflow.reporting.wording import Palette

PLAIN = Palette(is_coloured=False)


def test_a_long_run_shows_failures_slowest_and_counts() -> None:
    rows = [Row(n, f"{n:02d} s", Status.SUCCEEDED, float(n)) for n in range(60)]
    rows[7] = Row(7, "07 s", Status.FAILED, 3.0, "exit 1")
    counts = {Status.SUCCEEDED: 59, Status.FAILED: 1}
    assert summary_lines(run_finished(RunStatus.FAILED, 1, counts), rows, PLAIN) == [
        "  x 07 s  3.0s  exit 1",
        "slowest steps:",
        "  + 59 s  59s",
        "  + 58 s  58s",
        "  + 57 s  57s",
        "  + 56 s  56s",
        "  + 55 s  55s",
        "failed in 2m05s: 59 completed, 1 failed",
        "help: workflow resume workflow_20261120_171500",
    ]


@pytest.mark.parametrize(
    ("status", "exit_code", "word"),
    [
        (RunStatus.COMPLETED, 0, "completed"),
        (RunStatus.COMPLETED, 1, "not everything done"),
        (RunStatus.PAUSED, 130, "interrupted by SIGINT"),
        (RunStatus.FAILED, 124, "stopped by a limit in time"),
        (RunStatus.PAUSED, 0, "what was asked for is done"),
        (RunStatus.FAILED, 125, "failed"),
    ],
)
def test_the_sentence(status: RunStatus, exit_code: int, word: str) -> None:
    assert closing_lines(run_finished(status, exit_code, {}), PLAIN)[0] == f"{word} in 2m05s: 0 steps"


def test_colours_stand_only_where_they_are_asked_for() -> None:
    coloured = Palette(is_coloured=True)
    assert "\x1b[32m" in closing_lines(run_finished(), coloured)[0]
    assert "\x1b" not in closing_lines(run_finished(), PLAIN)[0]
