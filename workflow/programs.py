"""What shells read of a run: `steps.sh`, `resume.sh`, and the library beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import LIBRARY, CheckpointRoot, RunLayout
from workflow.checkpoint.store import project_inside
from workflow.execution.steps_program import resume_program, steps_program
from workflow.model import Workflow


def write_programs(
    disk: Disk,
    layout: RunLayout,
    workflow: Workflow,
    order: list[int],
    fingerprints: Mapping[int, str],
    *,
    place: str,
    library: str,
    lock_directory: str,
) -> None:
    """Write what `sh resume.sh` needs into the directory of a run, which will be at `place`. Raises NotRecordedError.

    `library` is where the shell library is, `lock_directory` where named locks are.
    """
    project = workflow.project
    if project_inside(CheckpointRoot(os.path.dirname(place)), project):
        # Relative, so that a project that is moved takes its runs along.
        project = os.path.relpath(os.path.realpath(project), os.path.realpath(place))
    disk.write(layout.steps_sh, steps_program(workflow))
    program = resume_program(workflow, layout.run_id, project, order, fingerprints, lock_directory=lock_directory)
    disk.write(layout.resume_sh, program)
    disk.make_directory(layout.lib)
    for name in LIBRARY:
        with open(os.path.join(library, name), "rb") as file:
            disk.write(f"{layout.lib}/{name}", file.read(), sync=False)
