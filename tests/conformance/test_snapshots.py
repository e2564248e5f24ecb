"""Snapshots keep the promises of docs/conformance.md; test names carry the ids."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import document, hanging_step, kill, start_until, wait_for
from tests.conftest import Project

LIBRARY = '. "$WORKFLOW_LIB/step_execution.sh"'


def files(project: Project) -> list[Path]:
    return sorted((project.newest_run / "snapshots").glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def triggers(project: Project) -> list[str]:
    return [str(read(path)["trigger"]) for path in files(project)]


def test_f1_f19_work_restarts_from_the_snapshot_that_is_named(project: Project) -> None:
    """F1: returning to a past state, to look what goes wrong from there."""
    project.steps(4)
    project.run("run", "--checkpoint-every", "1")
    name = read(files(project)[1])["checkpoint_id"]
    assert project.run("resume", "--checkpoint", name, "--dry-run").returncode == 0
    assert project.executions == ["00", "01", "02", "03"]
    assert project.run("resume", "--checkpoint", name, "--force").returncode == 0
    assert project.executions == ["00", "01", "02", "03", "02", "03"]


def test_f2_f6_f7_a_completed_run_has_a_checkpoint_that_says_so(project: Project) -> None:
    project.steps(2)
    project.run()
    (path,) = files(project)
    assert path.name == "0001_completion.json"
    assert (read(path)["trigger"], read(path)["status"]) == ("completion", "completed")


@pytest.mark.parametrize("body", ["exit 3", "kill -9 $$", "no_such_program", "#| timeout: 0.2\nsleep 30"])
def test_f3_m17_an_error_of_any_kind_makes_a_checkpoint(project: Project, body: str) -> None:
    project.step(0)
    project.step(1, body)
    project.step(2)
    assert project.run().returncode in (1, 124)
    (path,) = files(project)
    seen = read(path)
    assert (path.name, seen["trigger"]) == ("0001_error.json", "error")
    assert [task["status"] for task in seen["tasks"].values()] == ["completed", "failed", "blocked"]
    # And work goes on from there.
    project.step(1)
    assert project.run("resume", seen["checkpoint_id"]).returncode == 0
    assert project.executions == ["00", "01", "02"]


def test_f4_s24_one_can_be_forced_at_any_time_from_outside_and_from_inside(project: Project) -> None:
    project.step(0, f"{LIBRARY}\nstep_checkpoint inside")
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    made = document(project.run("checkpoint", "create", "--name", "outside", "--json"))
    project.file("go", "")
    assert process.wait(20) == 0
    assert project.run("checkpoint", "create", made["run_id"], "--name", "afterwards").returncode == 0
    assert [(read(path)["trigger"], read(path)["name"]) for path in files(project)] == [
        ("manual", "inside"),
        ("manual", "outside"),
        ("completion", ""),
        ("manual", "afterwards"),
    ]


def test_f5_s22_the_clock_makes_one(project: Project) -> None:
    project.step(0)
    project.step(
        1,
        "n=0\n"
        "until [ -e .checkpoints/*/snapshots/0001_auto.json ] || [ $n -gt 200 ]; do sleep 0.05; n=$((n + 1)); done",
    )
    assert project.run("run", "--checkpoint-interval", "0.2s").returncode == 0
    assert triggers(project)[0] == "auto"
    assert triggers(project)[-1] == "completion"


def test_f6_f7_every_checkpoint_says_what_made_it(project: Project) -> None:
    project.step(0, f"{LIBRARY}\nstep_checkpoint")
    project.step(1, "exit 1")
    project.run("run", "--checkpoint-every", "1")
    project.step(1)
    project.run("resume", "--checkpoint-every", "1")
    found = triggers(project)
    assert found == ["manual", "auto", "error", "auto", "completion"]
    for path, trigger in zip(files(project), found, strict=True):
        assert path.name.endswith(f"_{trigger}.json")
        assert subprocess.run(["grep", "-q", f'"trigger": "{trigger}"', str(path)], check=False).returncode == 0


def test_s23_after_every_five_steps(project: Project) -> None:
    project.steps(12)
    assert project.run("run", "--checkpoint-every", "5").returncode == 0
    assert [(read(path)["trigger"], read(path)["completed_tasks"]) for path in files(project)] == [
        ("auto", 5),
        ("auto", 10),
        ("completion", 12),
    ]


def test_s60_a_checkpoint_after_every_step_costs_less_than_a_tenth(project: Project) -> None:
    """Steps of 0.2 s, as short as anybody's who wants a checkpoint after each of them."""
    for number in range(5):
        project.step(number, "sleep 0.2")
    took = {}
    for every in ("0", "1"):
        seconds = []
        for _ in range(2):
            told = [
                json.loads(it) for it in project.run("run", "--json", "--checkpoint-every", every).stdout.splitlines()
            ]
            seconds.append(float(told[-1]["duration_s"]))
        took[every] = min(seconds)
        assert len(files(project)) == (6 if every == "1" else 1)
    assert took["1"] < took["0"] * 1.1 + 0.15, took


def test_r21_a_line_with_the_mark_makes_a_checkpoint(project: Project) -> None:
    project.step(0, "echo 'chapter one is done [CHECKPOINT]'")
    project.step(1, "echo 'no mark here'")
    project.run("run")
    assert triggers(project) == ["manual", "completion"]
    assert "step 00" in read(files(project)[0])["name"]


def test_f1_s24_going_back_survives_the_death_of_the_runner(project: Project) -> None:
    project.step(0)
    project.step(1, "echo 01 >>ran.txt; [ ! -e hang ] || { : >here; sleep 30; }")
    project.step(2)
    project.run("run", "--checkpoint-every", "1")
    name = read(files(project)[0])["checkpoint_id"]
    project.file("hang", "")
    process = start_until(project, "here", "resume", name)
    kill(process)
    os.unlink(project.path / "hang")
    assert project.run("resume", "--end-running").returncode == 0
    assert project.executions == ["00", "01", "02", "01", "01", "02"]
    wait_for(lambda: project.markers == [0, 1, 2])
