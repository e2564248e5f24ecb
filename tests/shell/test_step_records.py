"""What `sh resume.sh` reads and writes of a run: markers, states and values, whole and damaged."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project
from tests.shell.conftest import COUNTED, FUNCTIONS, Resuming, failing_at

pytestmark = pytest.mark.usefixtures("needs_flock")


@pytest.mark.parametrize("damage", ["empty", "cut", "no newline", "a bit", "another run", "another step"])
def test_a_damaged_marker_is_kept_aside_and_its_step_runs_again(
    project: Project, sh_resuming: Resuming, damage: str
) -> None:
    failing_at(project, 0, 2)
    (project.path / "go").touch()
    assert sh_resuming.run().returncode == 0
    path = project.newest_run / "step_00.complete"
    whole = path.read_bytes()
    other = (project.newest_run / "step_01.complete").read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-40],
            "no newline": whole[:-1],
            "a bit": bytes([whole[0] ^ 1]) + whole[1:],
            "another run": whole.replace(b"WORKFLOW_ID=w", b"WORKFLOW_ID=x"),
            "another step": other,
        }[damage]
    )
    done = sh_resuming.run()
    assert done.returncode == 0, done.stderr
    assert "the marker of step 00 does not count" in done.stdout
    assert (project.newest_run / "step_00.complete.damaged").exists()
    assert project.executions == ["00.1", "00.2", "01.1", "00.3"]
    path.write_bytes(b"")
    assert sh_resuming.run().returncode == 0
    assert (project.newest_run / "step_00.complete.damaged.2").exists()


def test_every_truncation_of_a_marker_of_its_own_is_noticed(project: Project, sh_resuming: Resuming) -> None:
    failing_at(project, 0, 1)
    (project.path / "go").touch()
    assert sh_resuming.run().returncode == 0
    path = project.newest_run / "step_00.complete"
    whole = path.read_bytes()
    for length in [0, 1, *range(len(whole) - 45, len(whole))]:
        path.write_bytes(whole[:length])
        assert "run    00" in sh_resuming.run("--dry-run").stdout, length
    path.write_bytes(whole)
    assert "bypass 00" in sh_resuming.run("--dry-run").stdout


def test_values_that_are_gone_make_their_step_run_again(project: Project, posix_resuming: Resuming) -> None:
    project.step(0, FUNCTIONS + COUNTED.format(label="00") + "step_output A 1")
    project.step(1, "test -e go")
    assert project.run().returncode == 1
    (project.path / "go").touch()
    (project.newest_run / "state/step_00.output").unlink()
    done = posix_resuming.run()
    assert done.returncode == 0, done.stderr
    assert "the values it published are gone" in done.stdout
    assert project.executions == ["00.1", "00.2"]


def test_half_written_files_of_a_crash_are_swept(project: Project, sh_resuming: Resuming) -> None:
    failing_at(project, 0, 1)
    strays = [project.newest_run / ".tmp-step_00.complete-sh1", project.newest_run / "state/.tmp-epoch-1"]
    for stray in strays:
        stray.write_text("half")
    sh_resuming.run()
    assert not any(stray.exists() for stray in strays)


def test_the_state_it_leaves_is_json_that_anyone_can_read(project: Project, sh_resuming: Resuming) -> None:
    project.step(0, "#| outputs: ['q\"uote\\tback\\\\slash']\ntest -e first || { touch first; exit 1; }")
    assert project.run().returncode == 1
    assert sh_resuming.run().returncode == 1
    state = json.loads((project.newest_run / "state/step_00_state.json").read_bytes())
    assert state["failure"]["class"] == "output_missing"
    assert 'q"uote' in state["failure"]["message"]
