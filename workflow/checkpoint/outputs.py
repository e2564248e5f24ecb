"""The declared outputs of completed steps: where they lie, who answers for them, what they were."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from workflow.checkpoint.marker import Marker
from workflow.model import Step


def output_path(project: str, step: Step, name: str) -> str:
    """Return where a declared output lies; relative ones start from the step's working directory."""
    return os.path.normpath(os.path.join(project, step.working_directory, name))


def owned(project: str, steps: Iterable[Step], markers: Mapping[int, Marker]) -> dict[int, list[str]]:
    """Return the outputs that each completed step answers for, as declared: what several write is the last one's."""
    declaring = [step for step in steps if step.outputs and step.number in markers]
    declaring.sort(key=lambda step: (markers[step.number].completed_at, step.number))
    last = {output_path(project, step, name): step for step in declaring for name in step.outputs}
    return {
        step.number: [name for name in step.outputs if last[output_path(project, step, name)] is step]
        for step in declaring
    }


def recorded_digest(digests: Mapping[str, object], step: Step, name: str, path: str) -> str | None:
    """Return the digest recorded of an output, also where the project was moved since; None when there is none."""
    found = digests.get(path)
    if found is None:
        ending = os.sep + os.path.normpath(os.path.join(step.working_directory, name))
        same = [value for key, value in digests.items() if key.endswith(ending)]
        found = same[0] if len(same) == 1 else None
    return found if isinstance(found, str) else None


def digest_of(path: str) -> str | None:
    """Return `blake3:<hex>` of a file; None for a directory and for what cannot be read."""
    from blake3 import blake3

    if not os.path.isfile(path):
        return None
    try:
        return f"blake3:{blake3().update_mmap(path).hexdigest()}"
    except (OSError, ValueError):
        return None
