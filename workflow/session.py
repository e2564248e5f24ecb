"""The composition root: options become objects, objects become a run.

Here the environment is read, the run opened and locked, and the engine wired up. The command line
and the library call this; nothing below knows of either.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from workflow import expiry
from workflow.checkpoint import durable, locks, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.errors import UsageError, WorkflowError, printable
from workflow.events import Observer
from workflow.invocation import Invocation, Surroundings
from workflow.opening import Opened, checkpoint_root, open_run
from workflow.options import NEWEST, Options
from workflow.reusing import is_smart, world_of
from workflow.tree_forgetting import KeptTrees

if TYPE_CHECKING:
    from workflow.checkpoint.git import Repository
    from workflow.plugins import Aside

__all__ = [
    "NEWEST",
    "Options",
    "environment",
    "library_directory",
    "open_disk",
    "open_root",
    "project_directory",
    "run",
    "user_name",
]


def project_directory() -> str:
    """Return the directory that steps start from and checkpoints lie in: where we were called."""
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the current directory was removed", help="cd into the project and try again") from error


def environment() -> Mapping[str, str]:
    """Return the environment we were started in."""
    return os.environ


def open_root(checkpoint_dir: str | None) -> CheckpointRoot:
    """Return the checkpoint directory that commands which only look at runs use."""
    return checkpoint_root(project_directory(), checkpoint_dir, os.environ)


def open_disk(layout: RunLayout | None = None) -> durable.Disk:
    """Return the writer for commands that change runs without running them, as private as the run; close it."""
    is_private = layout is not None and not os.stat(layout.path).st_mode & 0o077
    return durable.Disk(private=is_private, faults=durable.planned_faults(os.environ))


def user_name() -> str:
    """Return who we are, for people."""
    known = os.environ.get("USER") or os.environ.get("LOGNAME")
    if known:
        return known
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def library_directory() -> str:
    """Return where the shell library is: in the wheel, or beside the package in a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    for directory in (os.path.join(package, "lib"), os.path.join(os.path.dirname(package), "lib")):
        if os.path.isfile(os.path.join(directory, "step_execution.sh")):
            return directory
    raise WorkflowError(
        "the shell library of workflow is missing", help="install it again: pip install --force-reinstall workflow"
    )


def run(
    options: Options,
    observers: Sequence[Observer],
    ask: Callable[[str], bool] | None = None,
    approve: Callable[[str], bool] | None = None,
) -> int:
    """Run or resume; return the exit code.

    `ask` puts a yes-or-no question about the run itself, `approve` that of a step with `approval`: only a person
    may answer the latter. None: there is nobody.

    Raises WorkflowError for what keeps it from starting; once a step may have run, observers
    hear of everything and RunFinished comes last.
    """
    beside = _observers_named(os.environ.get("WORKFLOW_OBSERVERS", ""))
    opened = open_run(options, project_directory(), os.environ, to_run=True)
    try:
        return _run(options, opened, [*observers, *beside], ask, approve)
    finally:
        if opened.ahead is not None:
            opened.ahead.close()
        for said in filter(None, [it.close() for it in beside]):
            print(f"warning: {printable(said)}", file=sys.stderr)


def _observers_named(names: str) -> list[Aside]:
    if not names:
        return []
    from workflow import plugins

    return plugins.observers(names)


def _run(
    options: Options,
    opened: Opened,
    observers: Sequence[Observer],
    ask: Callable[[str], bool] | None,
    approve: Callable[[str], bool] | None,
) -> int:
    settings = opened.workflow.checkpoints
    disk = durable.Disk(private=settings.private, faults=durable.planned_faults(os.environ))
    try:
        if settings.enabled:
            return _go(options, opened, disk, observers, ask, approve)
        from workflow import unkept

        with unkept.temporary_root(os.environ.get("TMPDIR")) as root:
            return _go(options, opened._replace(root=root), disk, observers, ask, approve)
    finally:
        disk.close()


def _go(
    options: Options,
    opened: Opened,
    disk: durable.Disk,
    observers: Sequence[Observer],
    ask: Callable[[str], bool] | None,
    approve: Callable[[str], bool] | None,
) -> int:
    now_at = time.time()
    # Before anything is made: git may have something to say against it.
    world = world_of(options, opened, os.environ) if is_smart(options, opened.workflow) else None
    repository = _repository(options, opened)
    layout = opened.layout or _create(opened, disk, now_at)
    lock = opened.lock or locks.acquire_run(layout)
    try:
        around = Surroundings(os.environ, user_name(), library_directory(), locks_directory(), project_directory())
        this = Invocation(options, opened, layout, disk, observers, now_at, around, world, repository)
        exit_code = this.go(ask, approve)
        if this.is_unwanted:
            expiry.remove_own(disk, layout, KeptTrees(opened.workflow.project, os.environ).forget)
        return exit_code
    except FileNotFoundError as error:
        if os.path.isdir(layout.path):
            raise
        raise durable.not_recorded(error, layout.master) from error
    finally:
        lock.release()


def _repository(options: Options, opened: Opened) -> Repository | None:
    """Return where the files of the work tree are kept; None where they are not. Raises UsageError."""
    settings = opened.workflow.git
    if not settings.enabled or not opened.workflow.checkpoints.enabled:
        return None
    from workflow.tree_checkpoints import repository_for

    return repository_for(opened.workflow, os.environ, opened.notices, must=bool(options.git or settings.required))


def _create(opened: Opened, disk: durable.Disk, now_at: float) -> RunLayout:
    if opened.workflow.checkpoints.enabled:
        prepare_root(opened.root, disk)
    return store.create_run(opened.root, disk, now_at)


def prepare_root(root: CheckpointRoot, disk: durable.Disk) -> None:
    """Make the checkpoint directory and what explains it, where they are missing. Raises NotRecordedError."""
    with open(_checkpoint_readme(), "rb") as file:
        readme = file.read()
    store.prepare_root(root, disk, readme)


def locks_directory() -> str:
    """Return where the named locks of this user are: the same for all projects on this machine."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    if not os.path.isabs(state):  # no home at all, as in some containers
        state = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"workflow-{os.getuid()}")
    return os.path.join(state, "workflow", "locks")


def _checkpoint_readme() -> str:
    package = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(package, "lib", "checkpoints-README.md")
    return inside if os.path.exists(inside) else os.path.join(os.path.dirname(package), ".checkpoints", "README.md")
