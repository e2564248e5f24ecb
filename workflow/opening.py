"""From options to a definition and the run it is held against: nothing is written here."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from workflow.checkpoint import durable, locks, packed, records, snapshots, store
from workflow.checkpoint.ahead import Ahead
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition import graph, loader
from workflow.definition.named_step import step_number
from workflow.errors import CheckpointError, UsageError, one_line
from workflow.events import Notice
from workflow.in_force import Flags, InForce, directory_in, in_force, policy_of, refuse_idle, refuse_unkept
from workflow.model import RunStatus, Workflow
from workflow.options import Options, about_what_is_kept, refuse_on_new, refuse_words
from workflow.planning.decision import Request
from workflow.rerunning import bounded, cut_off_run, is_complete, kept_bound

if TYPE_CHECKING:
    from workflow.definition.built import Built

DEFAULT_DIRECTORY = ".checkpoints"


class Opened(NamedTuple):
    """A definition and the run it will be held against.

    `layout` None means a new run; `stored` is then None too, else what its workflow.json says.
    `params` are those the run goes by: what was given now, and what was given when it started.
    `snapshot` is the one to go back to, if the run is to be carried on from there.
    `ahead` reads markers and states of a run to resume meanwhile; `lock` is that of the run, when it was asked for.
    Whoever opened closes both.
    """

    root: CheckpointRoot
    layout: RunLayout | None
    workflow: Workflow
    order: list[int]
    request: Request
    stored: records.Document | None
    notices: list[Notice]
    params: Mapping[str, str]
    ahead: Ahead | None = None
    lock: locks.RunLock | None = None
    snapshot: records.Document | None = None
    max_iterations: int | None = None
    built: Built | None = None


def checkpoint_root(
    project: str,
    chosen: str | None,
    environ: Mapping[str, str],
    definition: Workflow | None = None,
    *,
    source: str | None = None,
    policy: str | None = None,
) -> CheckpointRoot:
    """Return the checkpoint directory: flag, else environment, else policy, else definition, else `.checkpoints`.

    `source` and `policy` are where they are, if they have not been read. Raises DefinitionError, UsageError.
    """
    directory = chosen or directory_in(environ)
    if not directory:
        directory = definition.checkpoints.directory if definition is not None else _declared(project, source, policy)
    return CheckpointRoot(os.path.normpath(os.path.join(project, directory)))


def _declared(project: str, source: str | None, policy: str | None) -> str:
    """Return the checkpoint directory that is declared; what may declare one is read as a whole only where it does."""
    if policy is None or not _has_directory(os.path.join(project, policy)):
        try:
            path = loader.source_path(project, source)
        except UsageError:  # nothing to run: whoever needs it says so
            return DEFAULT_DIRECTORY
        if not _has_directory(path):
            return DEFAULT_DIRECTORY
    return loader.load(project, source, policy=policy).checkpoints.directory


def _has_directory(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return re.search(rb"\bdirectory\b", file.read()) is not None
    except OSError:  # a steps directory, or nothing that can be read: whoever needs it says so
        return False


def resume_command(root: CheckpointRoot, project: str, run_id: str) -> str:
    """Return what a person types in `project` to carry a run on."""
    where = os.path.relpath(root.path, project)
    if where == DEFAULT_DIRECTORY:
        return f"workflow resume {run_id}"
    if where.startswith(os.pardir):
        where = root.path
    return f"workflow resume {run_id} --checkpoint-dir {shlex.quote(where)}"


def open_run(options: Options, project: str, environ: Mapping[str, str], *, to_run: bool) -> Opened:
    """Choose the run, load its definition, and find the steps that were named.

    With `to_run` an old run is locked before anything of it is read that decides.
    Raises DefinitionError, UsageError, CheckpointError, RunBusyError.
    """
    if options.policy is not None:  # as it was typed: here, wherever the run that is resumed has its project
        options = options._replace(policy=os.path.abspath(os.path.join(project, options.policy)))
    refuse_words(options)
    notices: list[Notice] = []
    if options.resume is None or options.force:
        fresh = _new(options, project, environ, [])
        again = _cut_off(options, fresh)
        if again is None:
            if options.resume is None:
                refuse_on_new(options)
            return fresh
        notices = fresh.notices
        options = options._replace(resume=again, source=fresh.workflow.source)
    refuse_unkept(in_force(None, _flags(options), environ))
    root = checkpoint_root(project, options.checkpoint_dir, environ, source=options.source, policy=options.policy)
    # Only a run that is to go on needs its directory, should it be an archive.
    disk = durable.Disk(faults=durable.planned_faults(environ)) if to_run else None
    layout, told, stored = _choose(options, root, disk, project)
    notices += told
    if layout is None:
        return _new(options, project, environ, notices)
    lock = locks.acquire_run(layout) if to_run else None
    if disk is not None and lock is not None:
        try:
            packed.forget_archives(layout, disk)
            _refuse_untrusted(layout, options)
        except BaseException:
            lock.release()
            raise
    ahead = Ahead(layout, lock)
    try:
        opened = _resumed(options, project, root, layout, stored, notices, environ)
        return opened._replace(ahead=ahead, lock=lock, snapshot=_snapshot(options, root))
    except BaseException:
        ahead.close()
        if lock is not None:
            lock.release()
        raise


def _new(options: Options, project: str, environ: Mapping[str, str], notices: list[Notice]) -> Opened:
    workflow = loader.load(project, options.source, params=options.params, policy=options.policy, built=options.built)
    effective = in_force(workflow, _flags(options), environ)
    refuse_idle(effective, about_what_is_kept(options))
    if not options.force and options.resume is not None:
        refuse_unkept(effective)
    workflow = bounded(_as_in_force(workflow, effective, options), options.max_iterations)
    root = checkpoint_root(project, options.checkpoint_dir, environ, workflow)
    return _opened(options, root, workflow, notices)


def _cut_off(options: Options, fresh: Opened) -> str | None:
    """Return the run that is carried on instead of beginning a new one, where the settings say `resume: auto`."""
    settings = fresh.workflow.checkpoints
    if settings.resume != "auto" or not settings.enabled or options.force or options.resume is not None:
        return None
    run_id, notice = cut_off_run(fresh.root, fresh.workflow)
    if notice is not None:
        fresh.notices.append(notice)
    return run_id


def _as_in_force(workflow: Workflow, effective: InForce, options: Options) -> Workflow:
    """Return a definition with the settings that hold, wherever they came from."""
    keeps_files = workflow.git if options.git is None else workflow.git._replace(enabled=options.git)
    return dataclasses.replace(workflow, checkpoints=effective.settings, git=keeps_files)


def _flags(options: Options) -> Flags:
    return Flags(
        options.checkpoint_dir,
        options.is_recorded,
        options.checkpoint_every,
        options.checkpoint_interval_s,
        options.max_snapshots,
        options.metrics_interval,
        options.is_archiving,
        options.preset,
    )


def _refuse_untrusted(layout: RunLayout, options: Options) -> None:
    """Refuse to carry on a run that came from elsewhere until somebody said that they trust it."""
    if os.path.lexists(layout.imported) and not options.is_trusted:
        raise CheckpointError(
            f"{layout.run_id} was imported, and nobody said yet that what is in it may run here",
            help=f"look at it (workflow status {layout.run_id}), then: workflow resume {layout.run_id} --trust",
        )


def _resumed(
    options: Options,
    project: str,
    root: CheckpointRoot,
    layout: RunLayout,
    stored: records.Document | None,
    notices: list[Notice],
    environ: Mapping[str, str],
) -> Opened:
    stored = stored or store.read_definition(layout)
    project = project_of(layout, root, project, stored, notices)
    source = options.source if options.source is not None else _source_of(stored, project)
    if options.built is None and options.source is None:
        options = options._replace(built=loader.kept(stored.get("built")))
    if options.built is None and options.source is None and source is not None and not os.path.lexists(source):
        raise _definition_absent(layout, root, project, source)
    params = {**(stored.get("params") or {}), **options.params}
    policy = policy_of(options.policy, stored.get("policy_file"), project)
    workflow = loader.load(project, source, params=params, policy=policy, built=options.built)
    effective = in_force(workflow, _flags(options), environ)
    refuse_unkept(effective)
    most = options.max_iterations
    if most is None:
        most, told = kept_bound(workflow, stored.get("max_iterations"))
        notices += [] if told is None else [told]
    workflow = bounded(_as_in_force(workflow, effective, options), most)
    if options.validate:
        from workflow.planning.validity import MENDED_BY_REVALIDATE, refuse_invalid

        but = MENDED_BY_REVALIDATE if options.revalidate else ()
        refuse_invalid(layout, project, workflow.checkpoints, but=but)
    return _opened(options._replace(params=params, max_iterations=most), root, workflow, notices, layout, stored)


def _definition_absent(layout: RunLayout, root: CheckpointRoot, project: str, source: str) -> UsageError:
    """Return the error for a run whose files are there without those of its project, as after an import."""
    inside = os.path.relpath(source, project)
    shown = shlex.quote(one_line(source if inside.startswith(os.pardir) else inside))
    command = resume_command(root, project, layout.run_id)
    # What was imported is short of all files; of a run of this place one was renamed, or removed.
    if os.path.lexists(layout.imported):
        advice = f"put the files of its project here (from a git clone, say), then: {command} --trust"
    else:
        advice = f"put it back, then: {command}; if it has another name now: workflow run NAME --resume {layout.run_id}"
    return UsageError(f"the definition of {layout.run_id} is not here: there is no {shown}", help=advice)


def _opened(
    options: Options,
    root: CheckpointRoot,
    workflow: Workflow,
    notices: list[Notice],
    layout: RunLayout | None = None,
    stored: records.Document | None = None,
) -> Opened:
    request = Request(
        step_number(workflow, options.from_step) if options.from_step is not None else None,
        step_number(workflow, options.until) if options.until is not None else None,
        frozenset(step_number(workflow, name) for name in options.only),
        options.retry_failed,
        options.skip_failed,
        options.revalidate,
    )
    order = graph.order(workflow.steps)
    if (
        request.from_step is not None
        and request.until is not None
        and order.index(request.from_step) > order.index(request.until)
    ):
        raise UsageError(
            f"--from-step {one_line(options.from_step or '')} comes after --until {one_line(options.until or '')}",
            help="swap them",
        )
    return Opened(
        root,
        layout,
        workflow,
        order,
        request,
        stored,
        notices,
        options.params,
        max_iterations=options.max_iterations,
        built=options.built,
    )


def _choose(
    options: Options, root: CheckpointRoot, disk: durable.Disk | None, project: str
) -> tuple[RunLayout | None, list[Notice], records.Document | None]:
    """Return the run to resume (None: start a new one), what to tell of the choice, its workflow.json if read.

    `disk` puts back the directory of a run that is an archive; without it, such a run is only read.
    """
    if options.resume:
        if not snapshots.is_snapshot_name(options.resume):
            return store.find_run(root, options.resume, disk), [], None
        layout, _ = snapshots.find(root, options.resume)
        return layout if layout.archive is None else store.find_run(root, layout.run_id, disk), [], None
    notices: list[Notice] = []
    newest: RunLayout | None = None
    given_up = ""
    for run_id in reversed(store.run_ids(root)):
        layout = root.run(run_id)
        try:
            if (archive := packed.archive_of(layout)) is not None:
                # Its manifest says how it ended: nothing is unpacked for a run that is passed over.
                stands = packed.manifest_of(layout, archive).summary.get("status")
                if stands == RunStatus.ABANDONED.value:
                    notices.append(Notice(f"passed over {run_id}: it is abandoned", level="note"))
                    given_up = given_up or run_id
                    continue
                newest = newest or layout
                if stands == RunStatus.COMPLETED.value:
                    continue
                layout = store.find_run(root, run_id, disk)
            store.refuse_unsafe(layout)
            stored = store.read_definition(layout)
        except CheckpointError as error:
            # Who asks for a run that holds up does not mean an older one instead.
            if options.validate and (os.path.lexists(layout.definition) or packed.archive_of(layout)):
                raise
            if locks.is_held(layout):
                return layout, notices, None
            notices.append(Notice(f"passed over {run_id}: {error.message}"))
            continue
        if os.path.lexists(layout.abandoned) and not locks.is_held(layout):
            notices.append(Notice(f"passed over {run_id}: it is abandoned", level="note"))
            given_up = given_up or run_id
            continue
        newest = newest or layout
        if not is_complete(layout, stored) or locks.is_held(layout):
            notices.append(Notice(f"resuming {run_id}", level="note"))
            return layout, notices, stored
    if options.must_resume:
        if newest is None:
            raise _nothing_to_resume(root, project, notices, given_up)
        return store.find_run(root, newest.run_id, disk), notices, None
    notices.append(Notice("there is nothing to resume; starting a new run", level="note"))
    return None, notices, None


def _nothing_to_resume(root: CheckpointRoot, project: str, notices: list[Notice], given_up: str) -> CheckpointError:
    """Return the error where no run can be carried on unnamed; `given_up` is the newest abandoned one, if any."""
    passed_over = "".join(f"; {notice.message}" for notice in notices)
    again = f"to carry {given_up} on all the same: {resume_command(root, project, given_up)}; else " if given_up else ""
    return CheckpointError(
        f"there is nothing to resume in {one_line(root.path)}{passed_over}", help=f"{again}start with: workflow run"
    )


def _snapshot(options: Options, root: CheckpointRoot) -> records.Document | None:
    """Return the snapshot that was named, None when a run was. Raises CheckpointError."""
    if not options.resume or not snapshots.is_snapshot_name(options.resume):
        return None
    return snapshots.read(*snapshots.find(root, options.resume))


def project_of(
    layout: RunLayout, root: CheckpointRoot, project: str, stored: records.Document, notices: list[Notice]
) -> str:
    """Return where the steps of a run start from: here, when its checkpoints lie here; else where they did."""
    recorded = str(stored.get("definition", {}).get("project", project))
    # A link from here to a larger disk counts as here.
    if not (root.path.startswith(project + os.sep) or store.project_inside(root, project)):
        if os.path.isdir(recorded):
            return recorded
        raise CheckpointError(
            f"the project of {layout.run_id} is no longer at {one_line(recorded)}",
            help="cd to where it is now and resume from there",
        )
    if os.path.realpath(recorded) != os.path.realpath(project):
        notices.append(Notice(f"the project was moved from {one_line(recorded)}; carrying on here", level="note"))
    return project


def _source_of(stored: records.Document, project: str) -> str | None:
    definition = stored.get("definition", {})
    source, recorded = definition.get("source"), definition.get("project")
    if not isinstance(source, str) or not isinstance(recorded, str):
        return None
    inside = os.path.relpath(source, recorded)
    return source if inside.startswith(os.pardir) else os.path.join(project, inside)
