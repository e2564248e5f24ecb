"""Events as JSON, one object a line."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

from tests.reporting.fabricated import NOW, run_finished, run_started, step, step_finished, step_started
from workflow.events import Interrupted, Notice, StepIterated, StepProgress, StepWaiting, Tick
from workflow.model import Failure, Status
from workflow.reporting.json_events import JsonEvents

if TYPE_CHECKING:
    from workflow.events import Event


def lines_of(*events: Event) -> list[dict[str, object]]:
    stream = io.StringIO()
    observer = JsonEvents(stream, clock=lambda: NOW)
    for event in events:
        observer.on_event(event)
    observer.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_but_tick_is_one_object_with_its_fields_by_name() -> None:
    told = lines_of(
        run_started((step(),), expected_s={5: 2.5}),
        Notice("careful", "do this"),
        step_started(step()),
        StepProgress(step(), 1, 4),
        StepWaiting(step(), "retry", "", 1, Failure("exit", "exit code 7"), 4.0),
        StepIterated(step(), 2, 1.5),
        Tick(NOW),
        step_finished(step(), exit_code=3, tail=("x",)),
        Interrupted(2, 1),
        run_finished(counts={Status.FAILED: 1}),
    )
    assert [line["event"] for line in told] == [
        "run_started",
        "notice",
        "step_started",
        "step_progress",
        "step_waiting",
        "step_iterated",
        "step_finished",
        "interrupted",
        "run_finished",
    ]
    assert {line["time"] for line in told} == {"2026-11-18T11:06:40.000Z"}
    started, _, step_line, progress, waiting, iterated, finished, _, last = told
    assert started["workflow"] == {
        "name": "demo",
        "project": "/p",
        "source": "/p/workflow.yaml",
        "steps": [{"step": 5, "name": "tests"}],
    }
    assert started["decisions"] == [{"step": 5, "choice": "run", "reasons": [{"code": "never-run", "detail": ""}]}]
    assert started["expected_s"] == {"5": 2.5}
    assert step_line["reason"] == {"code": "never-run", "detail": ""}
    assert step_line["started_at"] == "2026-11-18T11:06:40.000Z"
    assert (progress["step"], progress["name"], progress["done"], progress["total"]) == (5, "tests", 1, 4)
    waits = {"why": "retry", "detail": "", "attempt": 1, "wait_s": 4.0}
    waits["failure"] = {"kind": "exit", "message": "exit code 7"}
    about = {"time": "2026-11-18T11:06:40.000Z", "step": 5, "name": "tests"}
    assert waiting == {"event": "step_waiting", **about, **waits}
    assert iterated == {"event": "step_iterated", **about, "iteration": 2, "duration_s": 1.5}
    assert finished["status"] == "failed"
    assert (finished["detail"], finished["is_tolerated"]) == ("", False)
    assert finished["attempt"] == {
        "number": 1,
        "epoch": 1,
        "started_at": "2026-11-18T11:06:40.000Z",
        "ended_at": "2026-11-18T11:06:41.200Z",
        "exit_code": 3,
        "signal": None,
        "timed_out": False,
        "log_offset_bytes": 0,
        "adopted": False,
    }
    assert finished["failure"] == {"kind": "exit", "message": ""}
    assert finished["tail"] == ["x"]
    assert last["counts"] == {"failed": 1}
    assert last["status"] == "completed"


def test_lines_are_valid_for_strict_readers_whatever_a_name_holds() -> None:
    stream = io.StringIO()
    observer = JsonEvents(stream)
    observer.on_event(step_started(step(name="a\udcff\n😀")))
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert json.loads(line)["name"] == "a\\xff\n😀"


def test_each_line_is_there_at_once_and_a_lost_reader_is_no_error() -> None:
    readable, writable = os.pipe()
    with open(writable, "w") as stream:
        observer = JsonEvents(stream)
        observer.on_event(Notice("one"))
        assert json.loads(os.read(readable, 4096))["message"] == "one"
        os.close(readable)
        observer.on_event(Notice("two"))
        observer.on_event(run_finished())
        observer.close()
