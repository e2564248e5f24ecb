"""Projects that the tests of looking at runs share."""

from __future__ import annotations

import time
from pathlib import Path

from tests.conftest import Project
from workflow.checkpoint import durable, snapshots
from workflow.checkpoint.layout import RunLayout
from workflow.definition import graph
from workflow.inspection import definition_of
from workflow.planning.present import present

STEPS = """steps:
  - {name: build, run: 'echo build >>ran.txt; echo made >out.txt; echo "V=1" >>"$WORKFLOW_OUTPUT"', outputs: [out.txt]}
  - {name: plain, run: echo plain >>ran.txt}
  - {name: flaky, run: 'echo flaky >>ran.txt; [ -e mended ]', lock: db}
  - {name: deploy, run: echo deploy >>ran.txt, approval: "Did you look?", lock: db}
"""


def failed_run(project: Project) -> Path:
    """Leave a run with two steps complete, one failed and one not reached; return its directory."""
    project.file("workflow.yaml", STEPS)
    assert project.run("-q").returncode == 1
    return project.newest_run


def complete_run(project: Project, steps: int = 3) -> Path:
    """Leave a run of plain steps that is complete; return its directory."""
    project.steps(steps)
    result = project.run("-q")
    assert result.returncode == 0, result.stderr
    return project.newest_run


def snapshot(run: Path, trigger: str = "manual", name: str = "") -> int:
    """Make a snapshot of how a run stands now; return its number."""
    layout = RunLayout(str(run))
    workflow, stored = definition_of(layout)
    document = present(layout, workflow, stored, graph.order(workflow.steps), user="tester")
    disk = durable.Disk()
    try:
        return snapshots.write(disk, layout, document, trigger=trigger, name=name).number
    finally:
        disk.close()


def abandon(run: Path) -> None:
    """Say of a run that nobody will carry it on."""
    (run / "abandoned").write_text(f"by a test, {time.time()}\n")
