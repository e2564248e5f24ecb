"""Digests of states taken by a second process: they vouch for what is whole, and for nothing else."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import Project, clean_env

PROGRAM = """
import sys
from workflow.checkpoint import ahead
ahead.LARGE_DIRECTORY_BYTES = 0
taken = []
result = ahead.StateDigests.result
ahead.StateDigests.result = lambda self: taken.append(result(self)) or taken[-1]
from workflow.cli.main import main
try:
    main(["resume"])
finally:
    print("TAKEN", sorted(taken[0]))
"""


def test_a_damaged_state_is_told_also_where_the_digests_were_taken_ahead(project: Project) -> None:
    """Case 11."""
    project.steps(3)
    assert project.run().returncode == 0
    state = project.newest_run / "state/step_01_state.json"
    data = bytearray(state.read_bytes())
    data[40] ^= 1
    state.write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=project.path, env=clean_env(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "TAKEN [0, 1, 2]" in ended.stdout
    assert "the state of step 01 s1 is damaged" in ended.stderr
    assert "step 00" not in ended.stderr
    assert project.executions == ["00", "01", "02"]
