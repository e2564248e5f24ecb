"""A loop that spends, killed at random moments over and over: no cost is lost, none counted twice, no file is half."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import chooser
from workflow.checkpoint import records

ROUNDS = 30
LOOP = f"""\
checkpoints: {{metrics_interval: 1}}
steps:
- name: loop
  run: |
    sleep 0.01
    echo "$WORKFLOW_ATTEMPT" >>PROMPT.md
    echo x >>paid.txt
    echo cost_incurred=0.1 >>"$WORKFLOW_OUTPUT"
  archive: PROMPT.md
  repeat: {{until: '[ $(wc -l <paid.txt) -ge {ROUNDS} ]', max_iterations: 1000}}
- {{name: last, run: echo cost_incurred=5 >>"$WORKFLOW_OUTPUT"}}
"""


def paid(project: Project) -> int:
    path = project.path / "paid.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def assert_whole(run: Path) -> None:
    """Assert that every file in `metrics/` is whole, and every copy that the index names."""
    for path in (run / "metrics").glob("*.json") if (run / "metrics").exists() else ():
        document = records.decode_document(path.read_bytes())
        assert document["workflow_id"] == run.name
    index = run / "archive/index.jsonl"
    for line in index.read_bytes().split(b"\n") if index.exists() else ():
        if line.endswith(b"}"):
            copy = json.loads(line)
            assert records.digest((run / "archive" / copy["name"]).read_bytes()) == copy["digest"]


def spent(project: Project) -> float:
    result = project.run("metrics", "--json")
    assert result.returncode == 0, result.stderr
    return float(json.loads(result.stdout)["values"].get("cost_incurred", 0))


def carrying_on(project: Project) -> tuple[str, ...]:
    """Return the words that carry on the newest run, also one that completed and was killed after that."""
    if project.runs and (project.newest_run / "workflow.json").exists():
        return ("resume", project.newest_run.name)
    return ("run",)


def go(project: Project, choice: random.Random) -> int:
    """Run the loop to its end over many kills of the runner; return how many there were."""
    deaths = 0
    process = project.start("run")
    for _ in range(100):
        time.sleep(choice.uniform(0.2, 1.0))
        process.kill()
        deaths += process.wait() != 0
        if project.runs:
            assert_whole(project.newest_run)
        if process.returncode == 0:
            break
        process = project.start(*carrying_on(project))
    else:
        pytest.fail("it does not come to an end")
    return deaths


def test_no_cost_is_lost_or_counted_twice_when_the_runner_is_killed(project: Project) -> None:
    """Steps outlive their runner, so whatever was paid was also said."""
    project.file("workflow.yaml", LOOP)
    deaths = go(project, chooser())
    assert deaths, "nothing was killed: it proves nothing"
    assert spent(project) == pytest.approx(0.1 * paid(project) + 5, abs=1e-9)
    assert paid(project) == ROUNDS


@pytest.mark.parametrize("operation", ["write", "fsync", "rename", "open"])
def test_killed_at_every_operation_around_the_sums(project: Project, operation: str) -> None:
    """A few iterations, the runner killed at its Nth call, and a resume: each is counted once."""
    text = LOOP.replace(f"-ge {ROUNDS}", "-ge 3").replace("sleep 0.01", "true")
    died = 0
    for at in range(8, 60, 3):
        for name in ("paid.txt", "PROMPT.md"):
            (project.path / name).unlink(missing_ok=True)
        project.file("workflow.yaml", text)
        result = project.run("run", env={"WORKFLOW_FAULT": f"{operation}:{at}:die"})
        died += result.returncode not in (0, 2)
        assert project.run(*carrying_on(project)).returncode == 0
        assert_whole(project.newest_run)
        assert spent(project) == pytest.approx(0.1 * paid(project) + 5, abs=1e-9)
        assert paid(project) == 3
    assert died


def test_a_disk_that_is_full_at_any_write_loses_no_cost(project: Project) -> None:
    text = LOOP.replace(f"-ge {ROUNDS}", "-ge 3").replace("sleep 0.01", "true")
    for at in range(8, 50, 4):
        for name in ("paid.txt", "PROMPT.md"):
            (project.path / name).unlink(missing_ok=True)
        project.file("workflow.yaml", text)
        result = project.run("run", env={"WORKFLOW_FAULT": f"write:{at}:ENOSPC"})
        if result.returncode != 0:
            assert result.returncode == 125, result.stderr
            assert project.run(*carrying_on(project)).returncode == 0
        assert spent(project) == pytest.approx(0.1 * paid(project) + 5, abs=1e-9)
        assert not [name for name in os.listdir(project.newest_run / "metrics") if name.startswith(".tmp-")]
