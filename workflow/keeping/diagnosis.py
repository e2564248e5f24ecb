"""What `workflow doctor` looks at: the settings in force, and what this machine has and lacks. Writes nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from workflow import __version__
from workflow.checkpoint import store
from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.temporary import why_not_writable
from workflow.definition.files import shown_path
from workflow.errors import DefinitionError, UsageError, one_line
from workflow.execution.environment import find_program
from workflow.in_force import Flags, InForce, in_force, settings_in_force, value_of
from workflow.model import Workflow
from workflow.opening import checkpoint_root
from workflow.session import environment, locks_directory, project_directory
from workflow.unkept import STANDARD_PLACE

if TYPE_CHECKING:
    from workflow.plugins import Plugin

OK, NOTE, WRONG = "ok", "note", "wrong"
LITTLE_SPACE_BYTES = 200 * 10**6
FEW_FILES = 1000
OLDEST_NOW_AT = 1577836800.0  # 2020: a clock that shows less has never been set
A_DAY_S = 86400.0
# File systems that are, or may be, on another machine (type in /proc/self/mountinfo, proc(5)).
NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ncpfs"}
)


class Check(NamedTuple):
    """One thing that was looked at. `status` is ok, note (worth knowing) or wrong (a run needs it)."""

    name: str
    status: str
    detail: str
    help: str = ""


def diagnosis(checkpoint_dir: str | None, policy: str | None) -> dict[str, Any]:
    """Return the document of `workflow doctor`. Raises UsageError for a variable that makes no sense, and what is
    wrong with a policy that was given."""
    project, environ = project_directory(), environment()
    effective, workflow, about = _settings(project, environ, checkpoint_dir, policy)
    if workflow is None:
        directory = os.path.join(project, effective.settings.directory)
        root = CheckpointRoot(os.path.normpath(directory))
    else:
        root = checkpoint_root(project, checkpoint_dir, environ, workflow)
    checks = [about, *_programs(environ), *_places(root, environ, is_kept=effective.settings.enabled), _clock(root)]
    checks.append(_observers(environ.get("WORKFLOW_OBSERVERS", "")))
    settings = [
        {
            "key": key,
            "value": value_of(effective.settings, key),
            "from": origin.kind,
            "where": origin.where or None,
        }
        for key, origin in effective.origins.items()
    ]
    return {
        "version": __version__,
        "project_path": project,
        "plan_file": None if workflow is None else workflow.source,
        "policy_file": None if workflow is None else workflow.policy,
        "checkpoint_dir": root.path,
        "settings": settings,
        "checks": [check._asdict() for check in checks],
        "is_ready": all(check.status != WRONG for check in checks),
    }


def _settings(
    project: str, environ: Mapping[str, str], checkpoint_dir: str | None, policy: str | None
) -> tuple[InForce, Workflow | None, Check]:
    flags = Flags(directory=checkpoint_dir)
    try:
        effective, workflow = settings_in_force(project, environ, checkpoint_dir=checkpoint_dir, policy=policy)
    except DefinitionError as error:
        if policy is not None:
            raise
        first = error.problems[0]
        place = f" ({first.path}:{first.line})" if first.line else f" ({first.path})" if first.path else ""
        told = f"{one_line(first.message)}{place}; the settings below are without it"
        return in_force(None, flags, environ), None, Check("definition", WRONG, told, "workflow lint")
    if workflow is None:
        told = "there is none here: no workflow.yaml and no directory `steps`"
        return effective, None, Check("definition", NOTE, told, "cd into the project, or make a first step in steps/")
    shown = shown_path(project, workflow.source)
    return effective, workflow, Check("definition", OK, f"{one_line(shown)}, {len(workflow.steps):,} steps")


def _observers(named: str) -> Check:
    """Return which observers of other packages there are, and whether those that are named can be had."""
    from workflow import plugins

    there = _named(plugins.installed())
    stores = _named(plugins.installed(plugins.STORES))
    try:
        used = plugins.observers(named)
    except UsageError as error:
        return Check("observers", WRONG, error.message, error.help)
    told = f"installed: {there}" if there else "none is installed beside our own"
    told += f"; in use: {one_line(named)}" if used else ""
    return Check("observers", OK, f"{told}; stores for programs: {stores}" if stores else told)


def _named(found: Iterable[Plugin]) -> str:
    return ", ".join(f"{one_line(it.name)} ({one_line(it.package)})" for it in found)


def _programs(environ: Mapping[str, str]) -> Iterator[Check]:
    path = environ.get("PATH")
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", OK, f"{version} ({one_line(sys.executable)})")
    shell = find_program("sh", path)
    if shell is None:
        yield Check(
            "sh", WRONG, "there is no `sh` in PATH: steps cannot run", "put the directory of sh (/bin) into PATH"
        )
    else:
        yield Check("sh", OK, shell)
    for name, use in (("bash", "only steps with `#!/bin/bash` or `shell: bash` need it"), ("git", "nothing needs it")):
        found = find_program(name, path)
        yield Check(name, OK, found) if found else Check(name, NOTE, f"there is no `{name}` in PATH; {use}")


def _places(root: CheckpointRoot, environ: Mapping[str, str], *, is_kept: bool) -> Iterator[Check]:
    temporary = os.path.abspath(environ.get("TMPDIR") or STANDARD_PLACE)
    if is_kept:
        yield from _kept(root)
    else:
        yield Check("checkpoints", NOTE, "are switched off: nothing of a run is kept, and none can be resumed")
    reason = why_not_writable(temporary) if os.path.isdir(temporary) else "there is no such directory"
    if reason:
        status = NOTE if is_kept else WRONG
        told = f"{one_line(temporary)}: {reason}; runs of which nothing is kept need it"
        yield Check("temporary directory", status, told, "set TMPDIR to a directory that can be written")
    else:
        yield Check("temporary directory", OK, one_line(temporary))
    named = _existing(locks_directory())
    if reason := why_not_writable(named):
        told = f"{one_line(named)}: {reason}; steps with `lock:` need it"
        yield Check("named locks", NOTE, told, "set XDG_STATE_HOME to a directory that can be written")
    else:
        yield Check("named locks", OK, one_line(locks_directory()))


def _kept(root: CheckpointRoot) -> Iterator[Check]:
    """Yield what the checkpoint directory, or the nearest one above it that is there, can do."""
    place = _existing(root.path)
    shown = one_line(root.path) + ("" if place == root.path else f" (not there yet; looked at {one_line(place)})")
    elsewhere = "keep the checkpoints elsewhere: --checkpoint-dir DIR, or CHECKPOINT_DIR=DIR"
    in_the_way = next((path for path in _upwards(root.path) if os.path.lexists(path)), place)
    if not os.path.isdir(in_the_way):
        told = f"{one_line(in_the_way)} is no directory"
        yield Check("checkpoint directory", WRONG, told, f"move it away, or {elsewhere}")
        return
    reason = why_not_writable(place)
    if reason:
        yield Check("checkpoint directory", WRONG, f"{shown}: {reason}", f"make it writable, or {elsewhere}")
    else:
        yield Check("checkpoint directory", OK, shown)
    reason = _why_no_lock(place)
    if reason:
        yield Check("locks", WRONG, f"{one_line(place)} cannot be locked: {reason}", elsewhere)
    else:
        yield Check("locks", OK, "flock works there, and shuts a second one out")
    kind = _file_system(place)
    if kind in NETWORK_TYPES or kind.startswith("fuse."):
        told = f"{kind}: its locks may hold on each machine alone, and a power cut may cost more"
        yield Check("file system", NOTE, told, f"run on one machine at a time; or {elsewhere}")
    elif kind:
        yield Check("file system", OK, kind)
    yield _space(place)


def _existing(path: str) -> str:
    """Return a directory, or the nearest one above it that is there."""
    return next(filter(os.path.isdir, _upwards(path)), "/")


def _upwards(path: str) -> Iterator[str]:
    yield path
    while (above := os.path.dirname(path)) != path:
        path = above
        yield path


def _why_no_lock(directory: str) -> str:
    """Try whether a kernel lock on a directory shuts a second one out; return why not, empty when it does."""
    try:
        first = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        second = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return str(error.strerror)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Whoever holds it, the first of ours or somebody else: it holds.
        return "" if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else str(error.strerror)
    finally:
        os.close(first)
        os.close(second)
    return "two could hold it at once"


def _file_system(path: str) -> str:
    """Return the type of the file system a path is on, empty where the system does not tell (proc(5))."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.split()
                if words[2] == wanted and "-" in words:
                    return words[words.index("-") + 1]
    except OSError:
        pass
    return ""


def _space(place: str) -> Check:
    numbers = os.statvfs(place)
    free = numbers.f_bavail * numbers.f_frsize
    told = f"{free / 10**9:,.1f} GB" if free >= 10**9 else f"{free / 10**6:,.0f} MB"
    advice = "free some, or lower what is kept: `retention` and `max_size_mb` of `checkpoints`"
    if free < LITTLE_SPACE_BYTES:
        return Check("free space", NOTE if free else WRONG, f"only {told}", advice)
    if numbers.f_files and numbers.f_favail < FEW_FILES:
        return Check("free space", NOTE, f"{told}, but room for only {numbers.f_favail:,} more files", advice)
    return Check("free space", OK, told)


def _clock(root: CheckpointRoot) -> Check:
    now_at = time.time()
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_at))
    known = store.run_ids(root)
    latest = time.strftime("workflow_%Y%m%d_%H%M%S", time.gmtime(now_at + A_DAY_S))
    if now_at < OLDEST_NOW_AT:
        return Check("clock", NOTE, f"it shows {told}: ages of runs will be wrong", "set the clock")
    if known and known[-1][:24] > latest:
        told = f"it shows {told}, and {known[-1]} began later: ages of runs are wrong"
        return Check("clock", NOTE, told, "look at the clock of this machine, and of the one the run came from")
    return Check("clock", OK, told)
