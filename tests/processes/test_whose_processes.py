"""Whose processes: what is ended is what belongs to this step of this very run, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.support import hanging_step, start_until, wait_for
from tests.conftest import Project
from workflow.execution import processes


@contextmanager
def marked(run_dir: Path, label: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the marks of a step."""
    environment = {"WORKFLOW_RUN_ID": run_dir.name, "WORKFLOW_RUN_DIR": str(run_dir), "WORKFLOW_STEP": label}
    process = subprocess.Popen(["/bin/sleep", "30"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_a_run_of_the_same_second_in_another_project_is_left_alone(tmp_path: Path) -> None:
    """D7: ids are unique in a project only; the directory of the run tells two of them apart."""
    ours, theirs = tmp_path / "a/workflow_20261120_171500", tmp_path / "b/workflow_20261120_171500"
    ours.mkdir(parents=True)
    theirs.mkdir(parents=True)
    with marked(theirs, "01") as other, marked(ours, "02") as other_step, marked(ours, "01") as own:
        assert processes.find_step_processes(str(ours), "01", worker=None) == {own.pid}
        processes.end_step_processes(str(ours), "01", worker=None, spare=set())
        wait_for(lambda: own.poll() is not None)
        assert other.poll() is None
        assert other_step.poll() is None


def test_a_run_is_the_same_run_through_a_link_and_after_it_moved(tmp_path: Path) -> None:
    run = tmp_path / "a/workflow_20261120_171500"
    run.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with marked(run, "01") as process:
        through_link = str(tmp_path / "link" / run.name)
        assert processes.find_step_processes(through_link, "01", worker=None) == {process.pid}
        (tmp_path / "a").rename(tmp_path / "b")
        moved = str(tmp_path / "b" / run.name)
        assert processes.find_step_processes(moved, "01", worker=None) == {process.pid}


def test_a_copy_of_a_live_project_cannot_harm_the_original(project: Project) -> None:
    """RELIABILITY 63: the copy fails and clears up after its step; the step of the original lives on."""
    hanging_step(project, 0, before='[ "$(basename "$PWD")" = project ] || exit 3')
    process = start_until(project, "here_00", "run")
    copy = Project(project.path.with_name("copy"))
    shutil.copytree(project.path, copy.path)
    assert copy.run("--resume", "-q").returncode == 1
    project.file("go", "")
    assert process.wait(20) == 0
    assert project.executions == ["00"]
