"""Markers and states read by a second process: it vouches for what is whole, and for nothing else."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import Project, clean_env

PROGRAM = """
import sys
from workflow.checkpoint import ahead
ahead.LARGE_DIRECTORY_BYTES = 0
taken = []
result = ahead.Ahead.result
ahead.Ahead.result = lambda self: taken.append(result(self)) or taken[-1]
from workflow.cli.main import main
try:
    main(["resume"])
finally:
    markers = taken[0].markers
    print("MARKERS", None if markers is None else sorted(markers))
    print("STATES", sorted(taken[0].states))
"""


def resume(project: Project) -> subprocess.CompletedProcess[str]:
    """Resume with everything read ahead, however little there is."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=project.path, env=clean_env(), capture_output=True, text=True, check=False
    )


def flip_a_bit(project: Project, name: str) -> None:
    path = project.newest_run / name
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


def test_what_is_whole_is_taken_as_it_was_read_ahead(project: Project) -> None:
    project.steps(3)
    project.run()
    ended = resume(project)
    assert ended.returncode == 0
    assert "MARKERS [0, 1, 2]\nSTATES [0, 1, 2]" in ended.stdout
    assert project.executions == ["00", "01", "02"]


def test_a_damaged_state_is_told_also_where_states_were_read_ahead(project: Project) -> None:
    """Case 11."""
    project.steps(3)
    assert project.run().returncode == 0
    flip_a_bit(project, "state/step_01_state.json")
    ended = resume(project)
    assert ended.returncode == 0
    assert "MARKERS [0, 1, 2]\nSTATES [0, 2]" in ended.stdout
    assert "the state of step 01 s1 is damaged" in ended.stderr
    assert "step 00" not in ended.stderr
    assert project.executions == ["00", "01", "02"]


def test_a_damaged_marker_is_told_also_where_markers_were_read_ahead(project: Project) -> None:
    """Case 11."""
    project.steps(3)
    assert project.run().returncode == 0
    flip_a_bit(project, "step_01.complete")
    ended = resume(project)
    assert ended.returncode == 0
    assert "MARKERS None" in ended.stdout
    assert "the marker of step 01 does not count" in ended.stderr
    assert project.executions == ["00", "01", "02", "01"]
