"""A SOURCE as the command line knows it -> Workflow, or every error at once."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from workflow.definition import files, steps_directory
from workflow.definition.build import build
from workflow.definition.raw import RawWorkflow
from workflow.definition.steps_directory import ignored_files
from workflow.errors import DefinitionError, InvariantError, Problem, UsageError, one_line
from workflow.model import Workflow

if TYPE_CHECKING:
    from workflow.definition.built import Built

__all__ = ["ignored_files", "load", "source_path"]

STANDARD_SOURCES = ("workflow.yaml", "workflow.yml", "steps")
_MAPPING_ENDINGS = (".yaml", ".yml", ".json")
_SOURCES_HELP = "a source is a directory of numbered steps, a YAML or JSON file, or a script with `# %%` cells"
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


def load(
    project: str,
    source: str | None,
    *,
    params: Mapping[str, str] = _NO_PARAMS,
    policy: str | None = None,
    built: Built | None = None,
) -> Workflow:
    """Read a definition, and the policy that changes it; `built` is one out of a program, and has no source.

    `project` is a directory; `source` a steps directory, a YAML or JSON file or a script with cells, absolute or
    from the project, None for the standard one (`source_path`). `params` gives other values to parameters that
    steps declare; `policy` is a file, absolute or from the project. Nothing is written and nothing is run.
    Raises DefinitionError with every problem found, sorted by file and line; UsageError for a source or a policy that
    does not exist and for a parameter that no step declares.
    """
    project = os.path.abspath(project)
    if built is not None:
        from workflow.definition import built as building

        return building.load(built, project, params=params, policy=policy)
    path = source_path(project, source)
    problems: list[Problem] = []
    mode = _mode(path, project)
    if stat.S_ISDIR(mode):
        raw = RawWorkflow(steps_directory.read(path, project, problems))
    elif not stat.S_ISREG(mode):
        raise UsageError(f"{_shown(project, path)} is {files.kind_of(mode)}", help=_SOURCES_HELP)
    elif path.endswith(_MAPPING_ENDINGS):
        from workflow.definition import yaml_file

        raw = yaml_file.read(path, project, problems)
    else:
        from workflow.definition import cell_script

        raw = cell_script.read(path, project, problems)
    changes = None
    if policy is not None:
        from workflow.definition import policy as policies

        changes = policies.read(files.absolute_path(project, policy), project, problems)
    workflow = build(raw, project, path, params, problems, changes)
    if workflow is None:
        raise DefinitionError(sorted(set(problems), key=lambda problem: problem[1:4]))
    if not workflow.steps:
        raise InvariantError(f"{path} gave neither steps nor problems")
    return workflow


def kept(document: object) -> Built | None:
    """Return the definition that workflow.json of a run keeps as a program built it; None where there is none.

    Raises CheckpointError when it is damaged.
    """
    if document is None:
        return None
    from workflow.definition import built as building

    return building.from_document(document)


def source_path(project: str, source: str | None) -> str:
    """Return the absolute path of the definition: `source`, else the first of workflow.yaml, workflow.yml and steps/.

    Raises UsageError when `source` is None and there is none of them.
    """
    if source is not None:
        return files.absolute_path(project, source)
    for name in STANDARD_SOURCES:
        path = os.path.join(project, name)
        # A dangling link is somebody's workflow.yaml: to fall through to another definition would run the wrong thing.
        if os.path.lexists(path):
            return path
    raise UsageError(
        f"there is nothing to run in {one_line(project)}: no workflow.yaml and no directory `steps`",
        help="make a first step: mkdir -p steps && echo 'echo hello' > steps/step_00_hello.sh && workflow run",
    )


def _mode(path: str, project: str) -> int:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            target = shlex.quote(one_line(os.readlink(path)))
            raise UsageError(f"{_shown(project, path)} is a symbolic link to {target}, which does not exist") from None
        near = files.near_help(path)
        raise UsageError(f"there is no {_shown(project, path)}", help=near or _SOURCES_HELP) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{_shown(project, path)} cannot be looked at: {reason}") from None


def _shown(project: str, path: str) -> str:
    return shlex.quote(one_line(files.shown_path(project, path)))
