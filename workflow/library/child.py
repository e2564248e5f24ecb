"""The process that runs a workflow for a program: `python -m workflow.library.child DESCRIPTOR`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from workflow import errors, session
from workflow.checkpoint import removal, snapshots, store, temporary
from workflow.checkpoint.durable import Disk, planned_faults
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.definition import graph
from workflow.errors import StoreError, WorkflowError
from workflow.events import Event, Observer, RunFinished, RunStarted, StepStarted, Tick
from workflow.inspection import definition_of
from workflow.library import saving, structure
from workflow.library.talking import Ended, Failed, Keeping, Line, Order, Planned, Question, Told, exit_on_terminate
from workflow.opening import Options
from workflow.planning.present import present
from workflow.planning.record import read_record

TEMPORARY = "workflow-kept-"


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
    with _place(Keeping(False, False, None, is_automatic=False)) as (root, disk, is_to_go):
        saving.restore(disk, root, order.restored.run_id, order.restored.state)
        is_to_go.append(root)
        return Planned(plan_of(order.options._replace(checkpoint_dir=root)))


def _run(line: Line, order: Order) -> Ended:
    passing = Passing(line, wants_ticks=order.wants_ticks)
    if order.keeping is None:
        options = order.options
        structure.refuse_missing(options, lenient=order.lenient)
        early: list[Observer] = [Before(passing)] if order.snapshots_before else []
        code = _go(line, order, options, [*early, passing])
        return Ended(code, passing.values)
    with _place(order.keeping) as (root, disk, is_to_go):
        options = order.options._replace(checkpoint_dir=root)
        if order.restored is not None:
            _restore(order, root, disk)
        structure.refuse_missing(options, lenient=order.lenient)
        saver = saving.Saver(line, order.keeping, disk, options.run_name)
        code = _go(line, order, options, [saver, passing])
        # Of a program that died nobody would come back for a temporary directory.
        if saver.layout is None or saver.is_saved or (line.is_cut and not order.keeping.directory):
            is_to_go.append(root if saver.layout is None or not order.keeping.directory else saver.layout.path)
        left = "" if is_to_go or saver.layout is None else saver.layout.path
        if saver.error is not None:
            raise StoreError(
                f"the state of the run could not be made: {saver.error}", help=f"look at its directory: {left or root}"
            ) from saver.error
        return Ended(code, passing.values, left)


def _restore(order: Order, root: str, disk: Disk) -> None:
    """Put a state into the place of the run. What lies there is newer, unless another state was asked for."""
    restored = order.restored
    assert restored is not None
    layout = RunLayout(f"{root}/{restored.run_id}")
    if os.path.lexists(layout.path):
        if not restored.is_older and os.path.exists(layout.definition):
            return  # what a kill left: it has all that the store has, and maybe more
        from workflow import upkeep

        upkeep.take_away(disk, layout, is_archive=False)
    saving.restore(disk, root, restored.run_id, restored.state)


@contextmanager
def _place(keeping: Keeping) -> Iterator[tuple[str, Disk, list[str]]]:
    """Give the directory in which the run lies meanwhile; what is put into the list is removed at the end."""
    disk = Disk(private=True, faults=planned_faults(session.environment()))
    is_to_go: list[str] = []
    try:
        if keeping.directory:
            disk.make_directories(keeping.directory)
            root = keeping.directory
        else:
            root = temporary.make_private_directory(session.environment().get("TMPDIR") or "/tmp", TEMPORARY)
        session.prepare_root(CheckpointRoot(root), disk)
        try:
            yield root, disk, is_to_go
        except BaseException:
            if not keeping.directory and not store.run_ids(CheckpointRoot(root)):
                is_to_go.append(root)
            raise
        finally:
            for path in is_to_go:
                if path == root and not keeping.directory:
                    temporary.remove_private_directory(root)
                elif path != root and os.path.lexists(path):
                    removal.remove_run(disk, RunLayout(path))
    finally:
        disk.close()


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


if __name__ == "__main__":
    main()
