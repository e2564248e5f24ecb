"""The declared outputs of a completed step, held against what its state says of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from workflow.checkpoint.records import Document
from workflow.model import Step


class Held(NamedTuple):
    """What became of the outputs of a step since it completed: paths as declared. `looked_at` counts all of them."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    looked_at: int


def output_path(project: str, step: Step, name: str) -> str:
    """Return where a declared output lies; relative ones start from the step's working directory."""
    return os.path.normpath(os.path.join(project, step.working_directory, name))


def missing_of(project: str, step: Step) -> tuple[str, ...]:
    """Return the declared outputs that are not there, as declared."""
    return tuple(name for name in step.outputs if not os.path.lexists(output_path(project, step, name)))


def held(project: str, step: Step, state: Document | None, *, with_digests: bool) -> Held:
    """Hold the outputs of a step against its state; without a state only whether they are there.

    Directories, and outputs that were no files when the step completed, have no digest. Reads whole files.
    """
    missing = missing_of(project, step)
    digests = (state or {}).get("output_digests")
    changed = []
    if with_digests and isinstance(digests, dict) and digests:
        for name in step.outputs:
            path = output_path(project, step, name)
            expected = recorded_digest(digests, step, name, path)
            if expected is not None and name not in missing and digest_of(path) != expected:
                changed.append(name)
    return Held(missing, tuple(changed), len(step.outputs))


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
