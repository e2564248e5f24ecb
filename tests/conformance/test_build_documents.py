"""Rows S6 to S10, A10 and A34: what the layouts of the older systems hold, found in the files of a run."""

from __future__ import annotations

import json
import re
import stat
from typing import Any

from tests.cli.support import document
from tests.conftest import Project


def half_done(project: Project) -> dict[str, Any]:
    project.file(
        "workflow.yaml",
        "name: build\nsteps:\n"
        "  - {name: fetch, outputs: [made], run: 'echo 1 >made; echo IMAGES=golang >>$WORKFLOW_OUTPUT'}\n"
        "  - {name: skipped, if: 'false', run: 'true'}\n"
        "  - {name: build, run: exit 3}\n"
        "  - {name: ship, run: 'true'}\n",
    )
    assert project.run().returncode == 1
    found: dict[str, Any] = document(project.run("checkpoint", "show", "--last", "--json"))
    return found


def test_s6_s7_a_run_has_one_directory_with_all_that_is_known_of_it(project: Project) -> None:
    half_done(project)
    assert re.fullmatch(r"workflow_\d{8}_\d{6}(_\d+)?", project.newest_run.name)
    for name in ("checkpoint.json", "workflow.json", "step_00.complete", "state/step_00_state.json"):
        assert (project.newest_run / name).is_file(), name


def test_s8_the_metadata_of_a_run(project: Project) -> None:
    shown = half_done(project)
    assert shown["run_id"] == project.newest_run.name
    assert (shown["status"], shown["total_tasks"], shown["completed_tasks"], shown["failed_tasks"]) == (
        "failed",
        4,
        1,
        1,
    )
    assert re.fullmatch(r"blake3:[0-9a-f]{64}", shown["plan_hash"])
    assert shown["plan_file"] == str(project.path / "workflow.yaml")
    assert shown["policy_file"] is None
    for key in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown[key])


def test_s9_a10_the_state_of_a_run(project: Project) -> None:
    shown = half_done(project)
    assert (shown["completed"], shown["failed"], shown["skipped"], shown["pending"]) == (["00"], ["02"], ["01"], ["03"])
    assert isinstance(shown["context"], dict)
    assert shown["recovery_context"]["environment"]["shared_state"] == {"IMAGES": "golang"}
    assert shown["smart_execution"] == {"enabled": False, "skipped_steps": [], "skip_reason": None}
    assert "current_task" in shown


def test_s10_the_progress_of_every_task(project: Project) -> None:
    tasks = half_done(project)["tasks"]
    assert [task["status"] for _, task in sorted(tasks.items())] == ["completed", "skipped", "failed", "blocked"]
    done, failed, ahead = tasks["00"], tasks["02"], tasks["03"]
    assert re.fullmatch(r"blake3:[0-9a-f]{64}", done["output_hash"])
    assert done["exit_code"] == 0
    assert done["duration_ms"] >= 0
    assert failed["exit_code"] == 3
    assert (ahead["started_at"], ahead["completed_at"], ahead["duration_ms"], ahead["exit_code"]) == (None,) * 4


def test_a10_s9_what_smart_execution_skipped_is_named(project: Project) -> None:
    project.file("workflow.yaml", "smart: true\nsteps: [{name: a, outputs: [made], run: ': >made'}]\n")
    project.run()
    project.run()
    master = json.loads((project.newest_run / "checkpoint.json").read_text())
    assert master["smart_execution"] == {
        "enabled": True,
        "skipped_steps": [0],
        "skip_reason": "no_relevant_changes",
    }


def test_a34_a_private_run_is_for_its_owner_alone_and_out_of_version_control(project: Project) -> None:
    project.file("workflow.yaml", "checkpoints: {private: true}\nsteps: [{name: a, run: 'echo secret'}]\n")
    assert project.run().returncode == 0
    for path in (project.newest_run, *project.newest_run.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert "*" in (project.path / ".checkpoints/.gitignore").read_text().split("\n")
