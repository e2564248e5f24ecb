"""Steps that wait, are skipped, blocked, cancelled or tolerated; and many of them at once."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reporting.fabricated import NOW, run_finished, run_started, step, step_finished, step_started
from workflow.events import Event, StepFinished, StepIterated, StepWaiting, Tick
from workflow.model import Failure, Limits, Repeat, Retries, Rules, RunStatus, Status, Step
from workflow.reporting.console import FAILURES_TOLD, PlainConsole
from workflow.reporting.totals import Totals, about
from workflow.reporting.waiting import approve_command

RUN = "workflow_20261120_171500"
FETCH = step(3, "fetch", rules=Rules(retries=Retries(limit=3)))
RETRY = StepWaiting(FETCH, "retry", "", 1, Failure("exit", "exit code 7"), 4.0)
DEPLOY = step(9, "deploy", rules=Rules(approval="Deploy\nnow?"))
ASKS = StepWaiting(DEPLOY, "approval", "Deploy\nnow?")


def unrun(each: Step, status: Status, detail: str = "") -> StepFinished:
    return StepFinished(each, status, None, 0.0, "/l", detail=detail)


def told(*events: Event, **options: object) -> list[str]:
    stream = io.StringIO()
    console = PlainConsole(stream, **options)  # type: ignore[arg-type]
    for event in events:
        console.on_event(event)
    console.close()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (RETRY, "-- 03 fetch failed (exit 7), trying again in 4.0s (attempt 2 of 4)"),
        (RETRY._replace(wait_s=0.0, attempt=9), "-- 03 fetch failed (exit 7), trying again now (attempt 10)"),
        (
            RETRY._replace(failure=Failure("timeout", "ran out of time (limit 2s)"), wait_s=90.0),
            "-- 03 fetch failed (ran out of time), trying again in 1m30s (attempt 2 of 4)",
        ),
        (
            RETRY._replace(failure=Failure("signal", "killed by SIGKILL (exit code 137)")),
            "-- 03 fetch failed (killed by SIGKILL), trying again in 4.0s (attempt 2 of 4)",
        ),
        (
            RETRY._replace(failure=Failure("oom", "x")),
            "-- 03 fetch failed (out of memory), trying again in 4.0s (attempt 2 of 4)",
        ),
        (StepWaiting(FETCH, "lock", "db, held by process 7"), "-- 03 fetch waits for the lock db, held by process 7"),
        (ASKS, r"-- 09 deploy asks: Deploy\nnow?"),
        (unrun(FETCH, Status.SKIPPED, "if: test -f x"), "skipped 03 fetch (if: test -f x)"),
        (unrun(FETCH, Status.CANCELLED, "02 lint failed"), "cancelled 03 fetch (02 lint failed)"),
        (
            step_finished(FETCH, exit_code=3)._replace(is_tolerated=True),
            "failed, tolerated: 03 fetch exit 3 after 1.2s",
        ),
    ],
)
def test_each_is_one_calm_line(event: Event, line: str) -> None:
    assert told(event) == [line]
    assert told(event, quiet=True) == []


def test_the_same_lock_is_waited_for_once_and_each_retry_is_told() -> None:
    lock = StepWaiting(FETCH, "lock", "db")
    assert len(told(lock, lock, step_started(FETCH), RETRY, step_started(FETCH, attempt=2), RETRY)) == 5


def test_iterations_are_for_those_who_want_to_know() -> None:
    event = StepIterated(FETCH, 2, 1.5)
    assert told(event) == []
    assert told(event, verbose=True) == ["-- 03 fetch iteration 2 done in 1.5s"]


@pytest.mark.parametrize("verbose", [False, True])
def test_the_output_of_a_loop_is_shown_once_and_its_iterations_are_no_attempts(tmp_path: Path, verbose: bool) -> None:
    poll = step(3, "poll", rules=Rules(repeat=Repeat("true")))
    log = tmp_path / "log"
    log.write_text("one\n")
    stream = io.StringIO()
    console = PlainConsole(stream, verbose=verbose)
    console.on_event(step_started(poll, log))
    # The second iteration has begun, and talks, by the time the first is told of.
    log.write_text("one\ntwo\n")
    console.on_event(StepIterated(poll, 1, 0.5))
    console.on_event(step_started(poll, log, attempt=2, offset=4))
    console.on_event(step_finished(poll, log, attempt=2))
    console.close()
    lines = stream.getvalue().splitlines()
    assert [lines.count(word) for word in ("one", "two")] == [1, 1]
    assert lines[-1] == "ok 03 poll 1.2s"
    assert ("-- 03 poll iteration 1 done in 0.5s" in lines) is verbose
    assert len([line for line in lines if line.startswith("-- ")]) == (2 if verbose else 1)


def failed_with_blocked(blocked: int) -> list[Event]:
    steps = (FETCH, *(step(n, f"s{n}") for n in range(10, 10 + blocked)))
    events: list[Event] = [run_started(steps), step_finished(FETCH, exit_code=7)]
    events += [unrun(each, Status.BLOCKED, "03 fetch failed") for each in steps[1:]]
    counts = {Status.FAILED: 1, Status.BLOCKED: blocked}
    return [*events, run_finished(RunStatus.FAILED, 1, counts)]


def test_blocked_steps_are_one_line_however_many() -> None:
    lines = told(*failed_with_blocked(10_000))
    assert len(lines) < 15
    assert "  ! 10,000 steps blocked by 03 fetch" in lines
    assert lines[-3:] == [
        "failed in 2m05s: 1 failed, 10,000 blocked",
        "first to fail: 03 fetch, exit 7",
        f"help: workflow resume {RUN}",
    ]
    assert "blocked 11 s11 by 03 fetch" in told(*failed_with_blocked(10_000), verbose=True)


def test_few_blocked_steps_stand_in_the_table() -> None:
    lines = told(*failed_with_blocked(2))
    assert "  ! 10 s10    blocked by 03 fetch" in lines
    assert "  ! 11 s11    blocked by 03 fetch" in lines


def test_the_summary_has_a_row_for_every_end() -> None:
    skipped, tolerated, cancelled = step(1, "a"), step(2, "b"), step(4, "c")
    lines = told(
        run_started((skipped, tolerated, FETCH, cancelled, DEPLOY)),
        unrun(skipped, Status.SKIPPED, "if: false"),
        step_finished(tolerated, exit_code=3)._replace(is_tolerated=True),
        step_finished(FETCH),
        unrun(cancelled, Status.CANCELLED, "02 b failed"),
        ASKS,
        run_finished(
            RunStatus.PAUSED, 4, {Status.FAILED: 1, Status.SUCCEEDED: 1, Status.SKIPPED: 1, Status.WAITING: 1}
        ),
    )
    assert lines[-10:] == [
        "  - 01 a       skipped  if: false",
        "  ✗ 02 b       1.2s  exit 3, tolerated",
        "  ✓ 03 fetch   1.2s",
        "  ! 04 c       cancelled  02 b failed",
        "  ? 09 deploy  waits for approval",
        "waiting for approval in 2m05s: 1 completed, 1 skipped, 1 failed and tolerated, 1 waiting",
        r"09 deploy asks: Deploy\nnow?",
        f"  yes: workflow approve {RUN} 09",
        f"  no:  workflow approve {RUN} 09 --reject",
        f"help: workflow resume {RUN}",
    ]


def test_the_question_stands_at_the_end_of_a_quiet_run_too() -> None:
    lines = told(run_started((DEPLOY,)), ASKS, run_finished(RunStatus.PAUSED, 4, {Status.WAITING: 1}), quiet=True)
    assert lines[0] == "waiting for approval in 2m05s: 1 waiting"
    assert f"  yes: workflow approve {RUN} 09" in lines


def test_an_answered_question_is_asked_no_more() -> None:
    lines = told(run_started((DEPLOY,)), ASKS, step_started(DEPLOY), step_finished(DEPLOY), run_finished())
    assert not any("approve" in line for line in lines[4:])


def test_the_command_that_approves_looks_where_the_resume_looks() -> None:
    resume = f"workflow resume {RUN} --checkpoint-dir 'else where'"
    assert approve_command(resume, RUN, 9) == f"workflow approve {RUN} 09 --checkpoint-dir 'else where'"
    assert approve_command("make again", RUN, 9) == f"workflow approve {RUN} 09"


def test_a_rejected_step_says_how_to_say_yes_after_all() -> None:
    failed = unrun(DEPLOY, Status.FAILED)._replace(failure=Failure("rejected", "ada rejected it"))
    assert told(run_started((DEPLOY,)), failed)[2:] == [
        "FAILED 09 deploy rejected",
        "error: step 09 deploy failed: ada rejected it",
        f"help: to say yes after all: workflow approve {RUN} 09",
    ]


def test_of_many_failures_the_first_have_a_message_and_the_rest_a_line() -> None:
    steps = tuple(step(n, f"s{n}") for n in range(30))
    lines = told(run_started(steps), *(step_finished(each, "/l", exit_code=1, tail=("x",)) for each in steps))
    assert lines.count("  | x") == FAILURES_TOLD
    assert lines.count(f"help: workflow resume {RUN}") == 1
    assert lines[-1] == "error: step 29 s29 failed: exit 1 (log: /l)"


def wide(count: int, **more: object) -> Totals:
    steps = tuple(step(n, f"s{n}", group="g") for n in range(count))
    started = run_started(steps, expected_s=more.get("expected_s", {}))
    limited = replace(started.workflow, limits=Limits(jobs=4))
    return Totals(started._replace(workflow=limited))


def test_totals_say_how_many_are_where_and_how_long_it_takes() -> None:
    totals = wide(500, expected_s=dict.fromkeys(range(500), 2.0))
    for number in range(120):
        totals.note(step_finished(step(number)))
    totals.note(step_finished(step(120), exit_code=1))
    running = dict.fromkeys(range(121, 125), NOW)
    assert totals.line(running, NOW, is_utf8=True) == (
        "running 4, done 120 of 500, failed 1, waiting 375 · about 3m left"
    )
    # Worked out once a second; in between it is counted down.
    assert totals.line(running, NOW + 0.5, is_utf8=False).endswith(" - about 3m left")


def test_totals_without_history_promise_nothing() -> None:
    assert wide(10).line({}, NOW, is_utf8=True) == "running 0, done 0 of 10, waiting 10"


def test_totals_of_many_steps_are_cheap() -> None:
    totals = wide(20_000, expected_s=dict.fromkeys(range(20_000), 2.0))
    began = time.perf_counter()
    for tick in range(100):
        totals.line({1: NOW}, NOW + tick / 8, is_utf8=True)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.5, ""),
        (4, "seconds left"),
        (42, "about 40s left"),
        (59, "about 1m left"),
        (200, "about 3m left"),
        (9000, "about 2h30m left"),
    ],
)
def test_what_is_left_is_said_no_more_exactly_than_it_is_known(seconds: float | None, text: str) -> None:
    assert about(seconds) == text


def test_three_who_never_stop_talking_all_have_their_turns(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = PlainConsole(stream)
    steps = [step(n, f"s{n}") for n in (1, 2, 3)]
    logs = [tmp_path / each.name for each in steps]
    for each, log in zip(steps, logs, strict=True):
        console.on_event(step_started(each, log))
    for tick in range(60):
        for log in logs:
            with log.open("a") as file:
                file.write(f"{log.name} {tick}\n")
        console.on_event(Tick(NOW + tick / 10))
    turns = [line for line in stream.getvalue().splitlines() if line.endswith("(goes on)")]
    assert all(sum(each.name in turn for turn in turns) >= 1 for each in steps), turns
    owner = ""
    for line in stream.getvalue().splitlines()[3:]:
        if line.startswith("-- "):
            owner = line.split()[2]
        else:
            assert line.startswith(owner or "s3")
