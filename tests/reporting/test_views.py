"""Status and plan as text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reporting.fabricated import NOW
from workflow.reporting.plan_view import plan_text
from workflow.reporting.status_view import status_text


def status_document(steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "run_id": "workflow_20261120_171500",
        "status": "failed",
        "run_dir": "/p/.checkpoints/workflow_20261120_171500",
        "project_path": "/p",
        "created_at": "2026-11-18T11:05:00Z",
        "updated_at": NOW - 5,
        "epoch": 2,
        "total_tasks": len(steps),
        "completed_tasks": 1,
        "failed_tasks": 1,
        "progress_percent": 50.0,
        "steps": steps,
        "current": [],
        "problems": [],
        "resume_command": "workflow resume workflow_20261120_171500",
        "holder": None,
        **more,
    }


def status_step(number: int, status: str, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("duration_seconds", "exit_code", "reason", "failure", "completed_by"))
    return {"step": number, "name": f"s{number}", "status": status, **nothing, **more}


def test_status_is_one_screen() -> None:
    document = status_document(
        [
            status_step(0, "completed", duration_seconds=1.5, completed_by="alice"),
            status_step(1, "failed", duration_seconds=3.0, failure={"kind": "exit", "message": "exit code 3"}),
            status_step(2, "pending"),
        ],
        problems=["step_00.complete is torn"],
        holder={"pid": 7, "host": "h", "since": "2026-11-18T11:06:00Z", "command": "workflow run"},
        current=["01"],
    )
    assert status_text(document, colour=False, now_at=NOW).splitlines() == [
        "run workflow_20261120_171500: failed, resumed once",
        "[##########----------] 50%, 1 of 3 steps done, 1 failed",
        "project /p",
        "files   /p/.checkpoints/workflow_20261120_171500",
        "started 2026-11-18T11:05:00Z (1m40s ago)",
        "changed 2026-11-18T11:06:35Z (5.0s ago)",
        "held by process 7 on h since 2026-11-18T11:06:00Z (40s ago): workflow run",
        "",
        "  00 s0  completed  1.5s  by alice",
        "  01 s1  failed     3.0s  exit code 3",
        "  02 s2  pending",
        "now: 01",
        "problem: step_00.complete is torn",
        "",
        "help: workflow resume workflow_20261120_171500",
    ]


def test_status_of_many_steps_folds_equal_neighbours_but_never_a_failure() -> None:
    steps = [status_step(n, "completed") for n in range(57)]
    steps += [status_step(57, "failed", exit_code=2), status_step(58, "failed", exit_code=3)]
    steps += [status_step(n, "pending") for n in range(59, 5000)]
    lines = status_text(status_document(steps), colour=False, now_at=NOW).splitlines()
    assert lines[-6:-2] == [
        "  00-56 completed (57 steps)",
        "  57 s57  failed     exit code 2",
        "  58 s58  failed     exit code 3",
        "  59-4999 pending (4,941 steps)",
    ]
    assert len(lines) < 24


def test_status_of_many_steps_that_alternate_counts_them() -> None:
    steps = [status_step(n, "skipped" if n % 2 else "completed") for n in range(500)]
    steps[250] = status_step(250, "failed", exit_code=2)
    lines = status_text(status_document(steps), colour=False, now_at=NOW).splitlines()
    assert lines[-5:-2] == ["  250 s250  failed     exit code 2", "  249 completed", "  250 skipped"]


def test_status_of_an_empty_run_and_odd_values_does_not_fail() -> None:
    text = status_text({"run_id": "a\x1b", "created_at": "some day", "status": "x\ny"}, colour=True, now_at=NOW)
    assert "a\\x1b" in text
    assert "some day" in text


def test_status_colours() -> None:
    document = status_document([status_step(1, "failed")])
    assert "\x1b[31mfailed" in status_text(document, colour=True, now_at=NOW)
    assert "\x1b" not in status_text(document, colour=False, now_at=NOW)


def plan_step(number: int, choice: str, *codes: str, detail: str = "") -> dict[str, Any]:
    reasons = [{"code": code, "detail": detail} for code in codes]
    return {"step": number, "name": f"s{number}", "choice": choice, "reasons": reasons}


def test_plan_names_every_reason() -> None:
    document = {
        "run_id": None,
        "steps": [
            plan_step(0, "bypass", "completed"),
            plan_step(1, "run", "script-changed", "forced", detail="x\n"),
        ],
        "counts": {"run": 1, "bypass": 1, "skip": 0},
        "will_run": 1,
    }
    assert plan_text(document, False).splitlines() == [
        "plan for a new run",
        "  bypass  00 s0  completed",
        "  run     01 s1  script-changed: x\\n; forced: x\\n",
        "1 step would run (1 bypass)",
    ]


@pytest.mark.parametrize("colour", [False, True])
def test_plan_of_many_steps_folds_equal_neighbours(colour: bool) -> None:
    steps = [plan_step(n, "bypass", "completed") for n in range(100)]
    steps += [plan_step(n, "run", "script-changed", detail="f") for n in range(100, 104)]
    steps += [plan_step(n, "run", "never-run") for n in range(104, 200)]
    document = {"run_id": "R", "steps": steps, "counts": {"run": 100, "bypass": 100}, "will_run": 100}
    lines = plan_text(document, colour).splitlines()
    assert len(lines) == 1 + 1 + 4 + 1 + 1
    if not colour:
        assert lines[1] == "  bypass  00-99  (100 steps, completed)"
        assert lines[-1] == "100 steps would run (100 bypass)"


def test_plan_with_nothing_to_do() -> None:
    assert plan_text({"run_id": "R", "steps": [], "counts": {}, "will_run": 0}, False).endswith("nothing to run")


def test_status_tells_what_waits_and_what_is_blocked_and_who_is_asked() -> None:
    approval = {"text": "Deploy\nnow?", "answer": None, "by": None, "at": None}
    given = {**approval, "answer": "approved", "by": "ada", "at": "2026-11-18T11:06:00Z"}
    document = status_document(
        [
            status_step(0, "skipped", reason="if: test -f x"),
            status_step(1, "failed", failure="exit code 3", tolerated=True),
            status_step(2, "waiting", failure="exit code 7", next_attempt_at="2026-11-18T11:06:44Z"),
            status_step(3, "waiting", reason="waits for approval", approval=approval),
            status_step(4, "completed", approval=given),
            status_step(5, "blocked", reason="by 01 s1", blocked_by=1),
        ],
        groups=[{"name": "checks", "steps": [1, 2], "status": "running"}],
        skipped_tasks=1,
    )
    lines = status_text(document, colour=False, now_at=NOW).splitlines()
    assert lines[1].endswith("1 of 6 steps done, 1 failed, 1 skipped")
    assert lines[-13:] == [
        "  00 s0  skipped    if: test -f x",
        "  01 s1  failed     exit code 3  tolerated",
        "  02 s2  waiting    exit code 7  again in 4.0s",
        "  03 s3  waiting    waits for approval",
        "  04 s4  completed  approved by ada",
        "  05 s5  blocked    by 01 s1",
        "group checks (01-02): running",
        "",
        r"03 s3 asks: Deploy\nnow?",
        "  yes: workflow approve workflow_20261120_171500 03",
        "  no:  workflow approve workflow_20261120_171500 03 --reject",
        "",
        "help: workflow resume workflow_20261120_171500",
    ]


def test_status_of_thousands_stays_one_screen_whatever_they_do() -> None:
    steps = [status_step(n, "running") for n in range(500)]
    steps += [status_step(n, "blocked", reason="by 01 s1") for n in range(500, 5000)]
    groups = [{"name": f"g{n}", "steps": [n], "status": "running"} for n in range(100)]
    lines = status_text(status_document(steps, groups=groups), colour=False, now_at=NOW).splitlines()
    assert len(lines) < 45
    assert "  480 more running" in lines
    assert "groups: 100 running" in lines


def test_plan_marks_what_runs_side_by_side_and_names_conditions() -> None:
    skip = {**plan_step(3, "skip", "condition-false", detail="if: false"), "if": "false"}
    document = {
        "run_id": "R",
        "steps": [
            plan_step(0, "run", "never-run"),
            {**plan_step(1, "run", "never-run"), "group": "g", "if": "test -f x"},
            {**plan_step(2, "run", "never-run"), "group": "g"},
            skip,
        ],
        "counts": {"run": 3, "skip": 1},
        "will_run": 3,
    }
    assert plan_text(document, False).splitlines() == [
        "plan for run R",
        "  run     00 s0    never-run",
        "  run     | 01 s1  never-run; if: test -f x",
        "  run     | 02 s2  never-run",
        "  skip    03 s3    condition-false: if: false",
        "steps behind | run side by side",
        "3 steps would run (1 skip)",
    ]
