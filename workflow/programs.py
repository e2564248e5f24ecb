"""What shells read of a run: `steps.sh`, `resume.sh`, and the library beside them, derived from the definition."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import LIBRARY, CheckpointRoot, RunLayout
from workflow.checkpoint.store import project_inside
from workflow.execution.steps_program import resume_program, steps_program
from workflow.model import Workflow


def paths_of(layout: RunLayout) -> tuple[str, ...]:
    """Return the paths of all files that shells read."""
    return (layout.steps_sh, layout.resume_sh, *(f"{layout.lib}/{name}" for name in LIBRARY))


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
    """Yield path and bytes of each of them, for the directory of a run which is, or will be, at `place`.

    `library` is where the shell library is, `lock_directory` where named locks are.
    """
    project = workflow.project
    if project_inside(CheckpointRoot(os.path.dirname(place)), project):
        # Relative, so that a project that is moved takes its runs along.
        project = os.path.relpath(os.path.realpath(project), os.path.realpath(place))
    yield layout.steps_sh, steps_program(workflow)
    program = resume_program(workflow, layout.run_id, project, order, fingerprints, lock_directory=lock_directory)
    yield layout.resume_sh, program
    for name in LIBRARY:
        with open(os.path.join(library, name), "rb") as file:
            yield f"{layout.lib}/{name}", file.read()


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
    """Write all of them, the programs durably; see `contents_of`. Raises NotRecordedError."""
    disk.make_directory(layout.lib)
    for path, content in contents_of(
        layout, workflow, order, fingerprints, place=place, library=library, lock_directory=lock_directory
    ):
        disk.write(path, content, sync=os.path.dirname(path) == layout.path)
