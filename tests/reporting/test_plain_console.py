"""The plain console: what stands where, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.reporting.fabricated import (
    NOW,
    run_finished,
    run_started,
    step,
    step_finished,
    step_started,
)
from workflow.events import Interrupted, Notice, StepProgress, Tick
from workflow.model import Reason, RunStatus, Status
from workflow.reporting.console import PlainConsole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO


class Told:
    """A plain console whose two streams are files."""

    def __init__(self, folder: Path, **options: object) -> None:
        self._paths = folder / "stdout", folder / "stderr"
        self.streams: list[TextIO] = [path.open("w") for path in self._paths]
        self.console = PlainConsole(self.streams[0], errors=self.streams[1], **options)  # type: ignore[arg-type]

    def __call__(self, *events: object) -> None:
        for event in events:
            self.console.on_event(event)  # type: ignore[arg-type]

    @property
    def out(self) -> bytes:
        return self._paths[0].read_bytes()

    @property
    def err(self) -> str:
        return self._paths[1].read_text()


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Callable[..., Told]]:
    made: list[Told] = []

    def make(**options: object) -> Told:
        folder = tmp_path / f"told_{len(made)}"
        folder.mkdir()
        made.append(Told(folder, **options))
        return made[-1]

    yield make
    for told in made:
        told.console.close()
        for stream in told.streams:
            stream.close()


def test_a_run_reads_as_header_steps_and_summary(tell: Callable[..., Told], tmp_path: Path) -> None:
    log = tmp_path / "step_05.log"
    log.write_bytes(b"one\ntwo\n")
    told = tell()
    lint, tests = step(4, "lint"), step(5, "tests")
    told(
        run_started((lint, tests), bypassed=1),
        step_started(tests, log),
        step_finished(tests, log),
        run_finished(counts={Status.SUCCEEDED: 1, Status.BYPASSED: 1}),
    )
    assert told.out.decode().splitlines() == [
        "run workflow_20261120_171500: 1 step to run, 1 bypassed",
        "logs: /p/.checkpoints/workflow_20261120_171500/logs",
        "-- 05 tests",
        "one",
        "two",
        "ok 05 tests 1.2s",
        "  · 04 lint   bypassed",
        "  ✓ 05 tests  1.2s",
        "completed in 2m05s: 1 completed, 1 bypassed",
    ]
    assert told.err == ""


def test_a_reason_is_told_only_when_it_is_more_than_never_run(tell: Callable[..., Told]) -> None:
    told = tell()
    told(
        step_started(step(1, "a")),
        step_started(step(2, "b"), reason=Reason("script-changed", "step_02_b.sh")),
        step_started(step(3, "c"), attempt=2),
    )
    told.console.close()
    assert told.out == b"-- 01 a\n-- 02 b (script-changed: step_02_b.sh)\n-- 03 c (attempt 2)\n"


def test_output_is_followed_as_it_comes_from_the_offset_of_its_attempt(
    tell: Callable[..., Told], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"of an earlier attempt\n")
    told = tell()
    told(step_started(step(), log, offset=log.stat().st_size))
    with log.open("ab", buffering=0) as writer:
        writer.write(b"first\nhal")
        told(Tick(NOW))
        assert told.out == b"-- 05 tests\nfirst\nhal"
        writer.write(b"f\n")
        told(Tick(NOW + 0.1))
        assert told.out == b"-- 05 tests\nfirst\nhalf\n"
        writer.write(b"last")
    told(step_finished(step(), log))
    told.console.close()
    assert told.out == b"-- 05 tests\nfirst\nhalf\nlast\nok 05 tests 1.2s\n"


def test_a_line_of_ours_starts_in_column_0_whatever_a_step_left(tell: Callable[..., Told], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"no newline")
    told = tell()
    told(step_started(step(), log), Tick(NOW), step_finished(step(), log))
    told.console.close()
    assert told.out == b"-- 05 tests\nno newline\nok 05 tests 1.2s\n"


def test_output_is_binary_safe(tell: Callable[..., Told], tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000 + b"\n"
    log = tmp_path / "log"
    log.write_bytes(content)
    told = tell()
    told(step_started(step(), log), Tick(NOW), step_finished(step(), log))
    told.console.close()
    assert told.out == b"-- 05 tests\n" + content + b"ok 05 tests 1.2s\n"


@pytest.mark.parametrize("output", ["stream", "group"])
def test_every_attempt_is_shown_in_order(tell: Callable[..., Told], tmp_path: Path, output: str) -> None:
    log = tmp_path / "log"
    told = tell(output=output)
    log.write_bytes(b"try 1\n")
    told(step_started(step(), log))
    told(step_started(step(), log, attempt=2, offset=6))
    log.write_bytes(b"try 1\ntry 2\n")
    told(step_finished(step(), log, attempt=2))
    told.console.close()
    lines = told.out.decode().splitlines()
    if output == "stream":
        assert lines == ["-- 05 tests", "try 1", "-- 05 tests (attempt 2)", "try 2", "ok 05 tests 1.2s (attempt 2)"]
    else:
        assert lines == ["-- 05 tests", "-- 05 tests (attempt 2)", "try 1", "try 2", "ok 05 tests 1.2s (attempt 2)"]


def test_group_shows_output_after_the_step_and_says_whose_it_is(tell: Callable[..., Told], tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    told = tell(output="group")
    a, b = step(1, "a"), step(2, "b")
    told(step_started(a, first), step_started(b, second))
    first.write_bytes(b"of a\n")
    second.write_bytes(b"of b\n")
    told(Tick(NOW), step_finished(a, first), step_finished(b, second))
    told.console.close()
    assert told.out.decode().splitlines() == [
        "-- 01 a",
        "-- 02 b",
        "-- 01 a",
        "of a",
        "ok 01 a 1.2s",
        "-- 02 b",
        "of b",
        "ok 02 b 1.2s",
    ]


def test_quiet_output_shows_none(tell: Callable[..., Told], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"chatter\n")
    told = tell(output="quiet")
    told(step_started(step(), log), Tick(NOW), step_finished(step(), log))
    told.console.close()
    assert told.out == b"-- 05 tests\nok 05 tests 1.2s\n"


def test_steps_side_by_side_change_turns_at_ends_of_lines(tell: Callable[..., Told], tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    a, b = step(1, "a"), step(2, "b")
    told = tell()
    told(step_started(a, first), step_started(b, second))
    first.write_bytes(b"a1\na")
    second.write_bytes(b"b1\nb")
    told(Tick(NOW))
    told(Tick(NOW + 0.05))
    told(Tick(NOW + 2))
    first.write_bytes(b"a1\na2\n")
    told(Tick(NOW + 4))
    told(step_finished(b, second), step_finished(a, first))
    told.console.close()
    assert told.out.decode().splitlines() == [
        "-- 01 a",
        "-- 02 b",
        "b1",
        "-- 01 a (goes on)",
        "a1",
        "a2",
        "-- 02 b (goes on)",
        "b",
        "ok 02 b 1.2s",
        "ok 01 a 1.2s",
    ]


def test_a_failure_is_told_on_stderr_with_the_end_of_the_log_and_how_to_resume(tell: Callable[..., Told]) -> None:
    told = tell()
    told(
        run_started((step(),)),
        step_started(step()),
        step_finished(step(), "/p/log", exit_code=3, tail=("boom",)),
    )
    assert told.out.endswith(b"FAILED 05 tests exit 3 after 1.2s\n")
    assert told.err.splitlines() == [
        "error: step 05 tests failed (attempt 1): exit code 3",
        "  | boom",
        "log: /p/log",
        "help: workflow resume workflow_20261120_171500",
    ]


def test_the_last_line_of_an_unfinished_run_is_the_command_that_resumes(tell: Callable[..., Told]) -> None:
    told = tell()
    counts = {Status.SUCCEEDED: 1, Status.FAILED: 1, Status.BLOCKED: 2, Status.PENDING: 1}
    told(run_started((step(),)), run_finished(RunStatus.FAILED, 1, counts))
    assert told.out.decode().splitlines()[-2:] == [
        "failed in 2m05s: 1 completed, 1 failed, 2 blocked, 1 not run",
        "help: workflow resume workflow_20261120_171500",
    ]


def test_q_leaves_failures_warnings_and_the_closing_sentence(tell: Callable[..., Told], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"chatter\n")
    told = tell(quiet=True)
    told(
        run_started((step(1, "a"), step(2, "b"))),
        step_started(step(1, "a"), log),
        step_finished(step(1, "a"), log, warnings=("low on space",)),
        Notice("a marker was damaged", "workflow checkpoint repair"),
        step_started(step(2, "b"), log),
        step_finished(step(2, "b"), log, exit_code=1),
        run_finished(RunStatus.FAILED, 1, {Status.SUCCEEDED: 1, Status.FAILED: 1}),
    )
    assert told.out.decode().splitlines() == [
        "failed in 2m05s: 1 completed, 1 failed",
        "help: workflow resume workflow_20261120_171500",
    ]
    assert told.err.splitlines()[:3] == [
        "warning: 01 a: low on space",
        "warning: a marker was damaged",
        "help: workflow checkpoint repair",
    ]


def test_names_with_control_characters_cannot_reach_the_terminal(tell: Callable[..., Told]) -> None:
    evil = step(5, "a\x1b[2J\nb\udcff")
    told = tell(verbose=True)
    told(
        run_started((evil,)),
        step_started(evil, reason=Reason("input-changed", "x\x1b]0;title\x07")),
        step_finished(evil, exit_code=1, tail=("\x1b[31mred\r",), warnings=("\x07",)),
        Notice("\x1bc"),
        run_finished(RunStatus.FAILED, 1),
    )
    assert rb"05 a\x1b[2J\nb\xff" in told.out
    everything = told.out + told.err.encode()
    assert not any(byte < 32 and byte != 10 for byte in everything)


def test_an_interrupt_says_what_happens_now(tell: Callable[..., Told]) -> None:
    told = tell()
    told(step_started(step()), Interrupted(2, 1), Interrupted(2, 2), Interrupted(2, 3), Interrupted(15, 1))
    assert told.out.decode().splitlines()[1:] == [
        "stopping: waiting up to 10s for 05 tests (Ctrl-C again to end it now)",
        "stopping: ending 05 tests now (Ctrl-C again to kill it)",
        "stopping: killing 05 tests",
        "stopping (SIGTERM): waiting up to 10s for 05 tests",
    ]


def test_ten_thousand_trivial_steps_cost_next_to_nothing(tell: Callable[..., Told], tmp_path: Path) -> None:
    steps = tuple(step(number, f"step {number}") for number in range(10_000))
    log = tmp_path / "empty"
    log.touch()
    told = tell()
    told(run_started(steps))
    pairs = [(step_started(each, log), step_finished(each, log)) for each in steps]
    began = time.perf_counter()
    for pair in pairs:
        told(*pair)
    told.console.close()
    # well under 100 us a step where it was measured; four times that for a busy machine
    assert (time.perf_counter() - began) / len(steps) < 400e-6
    assert told.out.count(b"\n") == 20_002


def test_events_it_does_not_tell_are_ignored(tell: Callable[..., Told]) -> None:
    told = tell()
    told(StepProgress(step(), 1, 2))
    told.console.close()
    assert told.out == b""


def test_importing_the_console_is_light() -> None:
    program = (
        "import sys, workflow.reporting.console as c\n"
        "print([m for m in ('rich', 'json', 'subprocess', 'logging', 'workflow.reporting.live') if m in sys.modules])"
    )
    # Without what coverage would import into every process.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
    assert told.stdout == "[]\n"
