"""As PID 1 of a container: signals have no default there, and orphans are ours to collect."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.support import wait_for
from tests.conftest import Project, clean_env
from tests.processes.support import marked

CONTAINER = ["unshare", "-p", "-f", "--kill-child", "--mount-proc"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="no new pid namespace here")


def start(project: Project) -> tuple[subprocess.Popen[bytes], int]:
    """Start the program as PID 1; return its unshare and its pid as seen from outside."""
    unshare = subprocess.Popen(
        [*CONTAINER, sys.executable, "-m", "workflow"],
        cwd=project,
        env=clean_env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for((project.path / "here").exists)
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
    return unshare, int(children[0])


def test_term_stops_the_container_cleanly(project: Project) -> None:
    """RELIABILITY 39: 143, and nothing is left."""
    with marked() as mark:
        project.step(0)
        project.step(1, f"setsid {mark.command} &\n: >here\n{mark.command}")
        unshare, runner = start(project)
        mark.wait_alive(2)
        os.kill(runner, signal.SIGTERM)
        assert unshare.wait(20) == 143
        mark.wait_none()
        assert project.markers == [0]
        project.step(1)
        assert project.run("--resume", "-q").returncode == 0


def test_orphans_are_collected(project: Project) -> None:
    """RELIABILITY 39: no zombies pile up while a step runs."""
    project.step(
        0,
        "for i in 1 2 3 4 5; do ((sleep 0.1) &); done\n: >here\nn=0\n"
        "while [ ! -e go ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done",
    )
    unshare, runner = start(project)
    time.sleep(0.6)

    def zombies() -> list[str]:
        children = Path(f"/proc/{runner}/task/{runner}/children").read_text().split()
        return [pid for pid in children if b") Z" in Path(f"/proc/{pid}/stat").read_bytes()]

    wait_for(lambda: not zombies(), 5)
    project.file("go", "")
    assert unshare.wait(20) == 0
