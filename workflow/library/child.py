"""The process that runs a workflow for a program; its argument is the descriptor of the line to that."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence

from workflow import errors, session
from workflow.checkpoint import removal, snapshots, store, temporary
from workflow.checkpoint.durable import Disk, planned_faults
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition import graph
from workflow.errors import StoreError, WorkflowError, one_line
from workflow.events import Event, Observer, RunFinished, RunStarted, StepStarted, Tick
from workflow.inspection import definition_of
from workflow.library import saving, structure
from workflow.library.talking import Ended, Failed, Line, Order, Planned, Question, Restored, Told, exit_on_terminate
from workflow.options import Options
from workflow.planning.present import present
from workflow.planning.record import read_record

LOOKED_AT = "workflow-looked-at-"
NAME_S = 60.0  # a clock that is set back by more than that is not a clock


def main() -> None:
    """Do what the program orders, and tell it how that ended."""
    gc.disable()  # as in `cli.main`
    exit_on_terminate()
    line = Line(int(sys.argv[1]))
    last: object
    try:
        last = _plan(line.order) if line.order.verb == "plan" else _run(line, line.order)
    except WorkflowError as error:
        last = Failed(error)
    except KeyboardInterrupt:
        last = Ended(130, {})
    except Exception as error:  # noqa: BLE001 the door: whatever gets here is a bug of ours, and says so
        import traceback

        last = Failed(errors.InvariantError(f"{type(error).__name__}: {error}"), traceback.format_exc())
    line.close_with(last)


def _plan(order: Order) -> Planned:
    from workflow.inspection import plan_of

    if order.restored is None:
        return Planned(plan_of(order.options))
    # Beside everything else: to look at a run must not put anything where it lies.
    root = temporary.make_private_directory(session.environment().get("TMPDIR") or "/tmp", LOOKED_AT)
    disk = Disk(private=True)
    try:
        saving.restore(disk, root, order.restored.run_id, order.restored.state)
        return Planned(plan_of(order.options._replace(checkpoint_dir=root)))
    finally:
        disk.close()
        temporary.remove_private_directory(root)


def _run(line: Line, order: Order) -> Ended:
    passing = Passing(line, wants_ticks=order.wants_ticks)
    keeping = order.keeping
    if keeping is None:
        structure.refuse_missing(order.options, lenient=order.lenient)
        early: list[Observer] = [Before(passing)] if order.snapshots_before else []
        code = _go(line, order, order.options, [*early, passing])
        return Ended(code, passing.values)
    options = order.options._replace(checkpoint_dir=keeping.directory)
    disk = Disk(private=True, faults=planned_faults(session.environment()))
    try:
        disk.make_directories(keeping.directory)
        session.prepare_root(CheckpointRoot(keeping.directory), disk)
        _sweep_names(disk, keeping.directory)
        if order.restored is not None:
            _restore(order.restored, keeping.directory, disk)
        structure.refuse_missing(options, lenient=order.lenient)
        saver = saving.Saver(line, keeping, disk)
        code = _go(line, order, options, [saver, passing])
        left = "" if saver.layout is None else saver.layout.path
        # To a temporary directory of a program that died nobody would come back.
        if saver.layout is not None and (saver.is_saved or (line.is_cut and keeping.is_temporary)):
            _forget(saver.layout, disk)
            left = ""
        if line.is_cut and keeping.is_temporary and not store.run_ids(CheckpointRoot(keeping.directory)):
            temporary.remove_private_directory(keeping.directory)
    finally:
        disk.close()
    if saver.error is not None:
        where = left or keeping.directory
        raise StoreError(
            f"the state of the run could not be made: {saver.error}", help=f"look at its directory: {one_line(where)}"
        ) from saver.error
    return Ended(code, passing.values, left)


def _restore(restored: Restored, root: str, disk: Disk) -> None:
    """Put a state into the place of the run. What lies there is newer, unless another state was asked for."""
    layout = RunLayout(f"{root}/{restored.run_id}")
    disk.remove_empty_directory(layout.path)
    if os.path.lexists(layout.path):
        if not restored.is_older and os.path.exists(layout.definition):
            return  # what a kill left: it has all that the store has, and maybe more
        from workflow import upkeep

        upkeep.take_away(disk, layout, is_archive=False)
    saving.restore(disk, root, restored.run_id, restored.state)


def _forget(layout: RunLayout, disk: Disk) -> None:
    """Remove a run that the store has; its name stays in use as long as another run could get it."""
    removal.remove_run(disk, layout)
    disk.make_directory(layout.path)


def _sweep_names(disk: Disk, root: str) -> None:
    """Remove the names of runs that have gone, as far as no run of now could get them."""
    for run_id in store.run_ids(CheckpointRoot(root)):
        if run_id[:24] < time.strftime("workflow_%Y%m%d_%H%M%S", time.gmtime(time.time() - NAME_S)):
            disk.remove_empty_directory(f"{root}/{run_id}")


def _go(line: Line, order: Order, options: Options, observers: Sequence[Observer]) -> int:
    ask = _asker(line, is_approval=False) if order.can_ask else None
    return session.run(options, observers, ask, _asker(line, is_approval=True) if order.can_approve else None)


def _asker(line: Line, *, is_approval: bool) -> Callable[[str], bool]:
    return lambda text: line.ask(Question(text, is_approval)) is True


class Passing:
    """Passes events on to the program and waits until it has heard of them. `values` is what steps published."""

    def __init__(self, line: Line, *, wants_ticks: bool) -> None:
        self._line = line
        self._wants_ticks = wants_ticks
        self._layout: RunLayout | None = None
        self.values: dict[str, str] = {}

    def on_event(self, event: Event) -> None:
        if isinstance(event, Tick):
            if self._wants_ticks:
                self._line.tell(Told(event))
            return
        if isinstance(event, RunStarted):
            self._layout = RunLayout(event.run_dir)
        elif isinstance(event, RunFinished) and self._layout is not None:
            self.values = _published(self._layout)
        self._line.ask(Told(event))


def _published(layout: RunLayout) -> dict[str, str]:
    try:
        workflow, _ = definition_of(layout)
        return read_record(layout, workflow, graph.order(workflow.steps)).values
    except WorkflowError:  # it became an archive already, or was removed: the program asks for it when it wants it
        return {}


class Before:
    """Makes a snapshot at the start of each step; one that cannot be made is told of, and nothing rests on it."""

    def __init__(self, after: Passing) -> None:
        self._after = after
        self._layout: RunLayout | None = None

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._layout = RunLayout(event.run_dir)
        if not isinstance(event, StepStarted) or self._layout is None:
            return
        try:
            workflow, stored = definition_of(self._layout)
            order = graph.order(workflow.steps)
            document = present(self._layout, workflow, stored, order, user=session.user_name())
            disk = Disk(private=workflow.checkpoints.private)
            most = workflow.checkpoints.max_snapshots
            name = f"before {event.step.title}"
            try:
                snapshots.write(disk, self._layout, document, trigger="auto", name=name, most=most)
            finally:
                disk.close()
        except (WorkflowError, OSError) as error:
            self._after.on_event(saving.saved_in_vain(error))
