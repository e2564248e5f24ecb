"""Files of a run removed by hand, one by one and as a whole, while it goes and while it rests.

Required: a plain message, exit 3 or 125 where the run cannot go on, no process left, no step told complete that
is not, nothing strewn about, and a next command that works.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.support import hanging_step, start_until, wait_for
from tests.conftest import Project, markers_of

# What is removed -> the exit codes that the run may end with, and those of the resume after it.
PARTS: dict[str, tuple[set[int], set[int]]] = {
    "step_00.complete": ({125}, {0}),
    "state/step_00_state.json": ({0}, {0}),
    "checkpoint.json": ({0}, {0}),
    "workflow.json": ({0}, {0}),  # of a run that rests it is lost, and with it the run: 3
    "steps.sh": ({0}, {0}),
    "resume.sh": ({0}, {0}),
    "lib": ({0}, {0}),
    "logs": ({125}, {0}),
    "logs/step_01.log": ({0}, {0}),
    "state": ({125}, {0}),
    "state/epoch": ({0}, {0}),
    "state/run.holder": ({0}, {0}),
    "state/worker_1.lock": ({0}, {0}),
    "state/worker_1.running": ({0}, {0}),
    "state/worker_1.exits": ({0}, {0}),
    "snapshots": ({0}, {0}),
    ".": ({125}, {3}),
    "..": ({125}, {3}),
}
OUTSIDE = {"go", "here_01", "ran.txt", "steps", "stderr.txt", "stdout.txt"}


def remove(run: Path, part: str) -> None:
    path = Path(os.path.normpath(run / part))
    if path.is_dir():
        # The runner may write into it meanwhile, which rm would meet as "Directory not empty".
        wait_for(lambda: shutil.rmtree(path, ignore_errors=True) or not path.exists())
    else:
        path.unlink(missing_ok=True)


def processes_of(project: Project) -> list[str]:
    mark = f"WORKFLOW_PROJECT={project.path}".encode()
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(name)
        except OSError:
            continue
    return found


def assert_said_plainly(code: int, message: str) -> None:
    assert "Traceback" not in message
    assert "bug in workflow" not in message
    if code:
        assert "error: " in message, (code, message)
        assert "\nhelp: " in message, (code, message)


def assert_true_markers(project: Project) -> None:
    """Every step that is marked complete ran."""
    for run in project.runs:
        assert {f"{number:02d}" for number in markers_of(run)} <= set(project.executions)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_removed_while_the_run_goes(project: Project, part: str) -> None:
    project.step(0)
    hanging_step(project, 1)
    project.step(2)
    runner = start_until(project, "here_01", "run")
    # A step starts while the one before it is still being recorded.
    wait_for(lambda: project.markers == [0])
    remove(project.newest_run, part)
    (project.path / "go").touch()
    code = runner.wait(20)
    message = (project.path / "stderr.txt").read_text()
    assert code in PARTS[part][0], message
    assert_said_plainly(code, message)
    assert processes_of(project) == []
    assert {it.name for it in project.path.iterdir()} - {".checkpoints"} == OUTSIDE
    assert_true_markers(project)
    resumed = project.run("resume")
    assert resumed.returncode in PARTS[part][1], resumed.stderr
    assert_said_plainly(resumed.returncode, resumed.stderr)
    if resumed.returncode == 0:
        assert markers_of(project.newest_run) == [0, 1, 2]
        assert set(project.executions) == {"00", "01", "02"}
    assert project.run().returncode == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_removed_while_the_run_rests(project: Project, part: str) -> None:
    project.step(0)
    project.step(1, "[ -e mended ] || exit 1; echo 01 >>ran.txt")
    project.step(2)
    assert project.run().returncode == 1
    run_id = project.newest_run.name
    remove(project.newest_run, part)
    (project.path / "mended").touch()
    for words in (("status",), ("logs",), ("checkpoint", "clean", "--dry-run")):
        looked = project.run(*words)
        assert looked.returncode in (0, 3), looked.stderr
        assert_said_plainly(looked.returncode, looked.stderr)
    resumed = project.run("resume", run_id)
    assert resumed.returncode in ({3} if part == "workflow.json" else PARTS[part][1]), resumed.stderr
    assert_said_plainly(resumed.returncode, resumed.stderr)
    if resumed.returncode == 0:
        assert markers_of(project.newest_run) == [0, 1, 2]
        assert project.executions[-1] == "02"
    assert_true_markers(project)
    # Whatever is left of it can be cleared.
    assert project.run("checkpoint", "prune", "--force").returncode == 0
    assert project.runs == []


def test_steps_side_by_side_are_ended_when_their_run_is_removed(project: Project) -> None:
    text = """steps:
  - parallel:
      - name: short
        run: 'until [ -e go ]; do sleep 0.02; done'
      - name: long
        run: ': >here; sleep 60; touch late'
"""
    project.file("workflow.yaml", text)
    runner = start_until(project, "here", "run", "-j", "2")
    remove(project.newest_run, ".")
    (project.path / "go").touch()
    assert runner.wait(20) == 125
    assert processes_of(project) == []
    assert not (project.path / "late").exists()
    assert project.runs == []


def remove_at(project: Project, after_s: float, command: str) -> tuple[int, str]:
    """Run with the command let loose on it after a while; return exit code and messages."""
    for name in ("stdout.txt", "stderr.txt", "ran.txt"):
        (project.path / name).unlink(missing_ok=True)
    runner = project.start("run")
    time.sleep(after_s)
    subprocess.run(["sh", "-c", command], cwd=project.path, stderr=subprocess.DEVNULL, check=False)
    return runner.wait(30), (project.path / "stderr.txt").read_text()


def removed_at_moments(project: Project, moments: list[float]) -> set[int]:
    codes = set()
    for number in range(5):
        project.step(number, f"sleep 0.02; echo {number:02d} >>ran.txt")
    for number, after_s in enumerate(moments):
        command = ("rm -rf .checkpoints/workflow_*", "rm -rf .checkpoints")[number % 2]
        code, message = remove_at(project, after_s, command)
        assert code in (0, 3, 125), f"after {after_s} s: {message}"
        assert_said_plainly(code, message)
        assert processes_of(project) == [], after_s
        assert_true_markers(project)
        shutil.rmtree(project.path / ".checkpoints", ignore_errors=True)
        codes.add(code)
    return codes


def test_a_run_removed_at_some_moment(project: Project) -> None:
    chosen = random.Random(20261124)
    assert 125 in removed_at_moments(project, [chosen.uniform(0.1, 0.5) for _ in range(8)])


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_a_run_removed_at_any_moment(project: Project) -> None:
    assert removed_at_moments(project, [0.05 + 0.004 * number for number in range(150)]) >= {0, 125}


def aged(path: Path) -> None:
    """Make everything below a directory, and itself, nine days old."""
    then = time.time() - 9 * 86400
    for it in [path, *path.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # a file that was only there for a moment
            os.utime(it, (then, then), follow_symlinks=False)


def cleared_while_it_goes(project: Project, command: str) -> tuple[int, str]:
    """Let a command loose on a run that has gone for nine days; return exit code and messages of that run."""
    project.step(0)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    marker = project.newest_run / "step_00.complete"
    wait_for(marker.exists)

    def cleared() -> bool:  # what the runner writes in between is young again
        aged(project.path / ".checkpoints")
        subprocess.run(["sh", "-c", command], cwd=project.path, stderr=subprocess.DEVNULL, check=False)
        return not marker.exists()

    wait_for(cleared)
    (project.path / "go").touch()
    code = runner.wait(20)
    assert processes_of(project) == []
    return code, (project.path / "stderr.txt").read_text()


@pytest.mark.parametrize(
    "command",
    [
        "find .checkpoints/ -mindepth 1 -maxdepth 1 -name 'workflow_*' -mtime +7 -exec rm -rf {} +",
        "find .checkpoints/ -mindepth 1 -mtime +7 -delete",
        "find .checkpoints/ -type f -mtime +7 -delete",
    ],
)
def test_find_with_an_age_on_a_run_as_old_that_goes(project: Project, command: str) -> None:
    """A16, as the layout we adopt says it: nothing is told complete that is not recorded, and what it says works."""
    code, message = cleared_while_it_goes(project, command)
    assert code == 125, message
    assert_said_plainly(code, message)
    if "workflow resume" in message:
        words = message.rpartition("workflow resume")[2].split()
        assert project.run("resume", words[0]).returncode == 0
    else:
        assert project.runs == []
        assert project.run("--resume").returncode == 0
    assert project.markers == [0, 1]


def test_find_that_takes_markers_only(project: Project) -> None:
    code, message = cleared_while_it_goes(project, "find .checkpoints/ -name '*.complete' -mtime +7 -delete")
    assert code == 125
    assert "the marker of step 00 was removed" in message
    assert f"help: workflow resume {project.newest_run.name}" in message
    resumed = project.run("resume")
    assert resumed.returncode == 0, resumed.stderr
    assert project.markers == [0, 1]
    assert project.executions == ["00", "01", "00"]


def test_find_with_an_age_leaves_a_younger_run_alone(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    for command in (
        "find .checkpoints/ -name 'workflow_*' -mtime +7 -exec rm -rf {} +",
        "find .checkpoints/ -mtime +7 -delete",
    ):
        subprocess.run(["sh", "-c", command], cwd=project.path, check=True)
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    assert project.markers == [0, 1]
