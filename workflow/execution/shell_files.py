"""What shells read of a run: `steps.sh`, `resume.sh` and the library beside them, derived from the definition."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from workflow.checkpoint import store
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import LIBRARY, CheckpointRoot, RunLayout
from workflow.checkpoint.seal import sealed
from workflow.execution.steps_program import resume_program, steps_program
from workflow.model import Workflow


def contents_of(
    layout: RunLayout,
    workflow: Workflow,
    order: list[int],
    fingerprints: Mapping[int, str],
    *,
    place: str,
    library: str,
    lock_directory: str,
) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each of them, sealed.

    `place` is where the directory of the run is, or will be; `library` where the installed shell library is,
    `lock_directory` where named locks are.
    """
    project = workflow.project
    if store.project_inside(CheckpointRoot(os.path.dirname(place)), project):
        # Relative, so that a project that is moved takes its runs along.
        project = os.path.relpath(os.path.realpath(project), os.path.realpath(place))
    yield layout.steps_sh, sealed(steps_program(workflow))
    resume = resume_program(workflow, layout.run_id, project, order, fingerprints, lock_directory=lock_directory)
    yield layout.resume_sh, sealed(resume)
    for name in LIBRARY:
        with open(os.path.join(library, name), "rb") as file:
            yield f"{layout.lib}/{name}", sealed(file.read())


def write_all(
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
    """Write all of them; the programs durably. Raises NotRecordedError."""
    disk.make_directory(layout.lib)
    for path, content in contents_of(
        layout, workflow, order, fingerprints, place=place, library=library, lock_directory=lock_directory
    ):
        disk.write(path, content, sync=os.path.dirname(path) == layout.path)
