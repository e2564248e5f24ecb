"""The composition root: options become objects, objects become a run.

Here the environment is read, the run opened and locked, and the engine wired up. The command line
and the library call this; nothing below knows of either.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from workflow import errors
from workflow.checkpoint import durable, history, locks, records, store
from workflow.checkpoint.layout import CheckpointRoot, RunLayout
from workflow.checkpoint.master import MasterFacts, MasterWriter
from workflow.definition import resolved
from workflow.errors import NotRecordedError, UsageError, WorkflowError
from workflow.events import Event, Notice, Observer, RunFinished, RunStarted, StepFinished
from workflow.model import Choice, Decision, RunStatus, Status, Workflow
from workflow.opening import NEWEST, Opened, Options, checkpoint_root, open_run, resume_command
from workflow.planning.decision import decide
from workflow.planning.held_outputs import hold_outputs
from workflow.planning.outcome import is_left_failed, run_status, with_past
from workflow.planning.record import Recorded, nothing_recorded
from workflow.recovery import go_back, mind_interrupted, recover, warn_of_changes, warn_of_missing

__all__ = [
    "NEWEST",
    "Options",
    "environment",
    "library_directory",
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
    opened = open_run(options, project_directory(), os.environ, to_run=True)
    try:
        return _run(options, opened, observers, ask, approve)
    finally:
        if opened.ahead is not None:
            opened.ahead.close()


def _run(
    options: Options,
    opened: Opened,
    observers: Sequence[Observer],
    ask: Callable[[str], bool] | None,
    approve: Callable[[str], bool] | None,
) -> int:
    disk = durable.Disk(private=opened.workflow.checkpoints.private, faults=_faults())
    now_at = time.time()
    layout = opened.layout or _create(opened, disk, now_at)
    lock = opened.lock or locks.acquire_run(layout)
    try:
        return _Run(options, opened, layout, disk, observers, now_at).go(ask, approve)
    finally:
        lock.release()
        disk.close()


def _create(opened: Opened, disk: durable.Disk, now_at: float) -> RunLayout:
    prepare_root(opened.root, disk)
    return store.create_run(opened.root, disk, now_at)


def prepare_root(root: CheckpointRoot, disk: durable.Disk) -> None:
    """Make the checkpoint directory and what explains it, where they are missing. Raises NotRecordedError."""
    with open(_checkpoint_readme(), "rb") as file:
        readme = file.read()
    store.prepare_root(root, disk, readme)


class _Run:
    """One invocation under the lock of its run."""

    def __init__(
        self,
        options: Options,
        opened: Opened,
        layout: RunLayout,
        disk: durable.Disk,
        observers: Sequence[Observer],
        now_at: float,
    ) -> None:
        self.options = options
        self.opened = opened
        self.workflow = opened.workflow
        self.layout = layout
        self.disk = disk
        self.durations = _Durations()
        self.observers = [*observers, self.durations]
        self.is_linear = all(step.needs is None and step.group is None for step in self.workflow.steps)
        self.jobs = 1 if self.is_linear else _jobs(options, opened.workflow)
        self.epoch = 1 if opened.stored is None else store.read_epoch(layout) + 1
        self.started_at = float((opened.stored or {}).get("started") or now_at)

    def go(self, ask: Callable[[str], bool] | None, approve: Callable[[str], bool] | None) -> int:
        from workflow.execution.environment import Probe

        probe = Probe(os.environ)
        for notice in self.opened.notices:
            self.tell(notice)
        recorded = self.recover()
        go_back(self.opened, self.layout, self.disk, recorded, self.tell, user=user_name())
        if self.opened.request.revalidate:
            hold_outputs(self.layout, self.workflow, recorded)
        decisions = decide(
            self.workflow.steps, self.opened.order, recorded.facts, self.opened.request, recorded.markers
        )
        warn_of_changes(decisions, recorded, self.tell)
        if self.opened.stored is not None and self.workflow.checkpoints.validate_on_resume:
            warn_of_missing(self.workflow, decisions, recorded, self.layout.run_id, self.tell)
        mind_interrupted(self.opened, decisions, recorded, ask)
        for number, fact in recorded.facts.items():
            # A complete step that is to run again goes on counting its attempts.
            if fact.is_done and decisions[number].choice is Choice.RUN:
                recorded.past[number] = store.attempts_of(self.layout, number)
                recorded.restarted.add(number)
                recorded.published.pop(number, None)
        plan_hash = self.begin(recorded)
        values = recorded.values
        facts = MasterFacts(
            self.layout,
            self.workflow,
            epoch=self.epoch,
            plan_hash=plan_hash,
            started_at=self.started_at,
            environment=probe.describe(),
            user=user_name(),
            is_auto=self.options.is_auto,
            variables=dict(pair for step in self.workflow.steps for pair in step.params),
            values=values,
            is_parallel=self.jobs > 1,
        )
        return self.drive(recorded, decisions, MasterWriter(self.disk, self.layout, facts), values, approve)

    def tell(self, event: Event) -> None:
        for observer in self.observers:
            observer.on_event(event)

    def recover(self) -> Recorded:
        if self.opened.stored is None:
            return nothing_recorded(self.workflow)
        return recover(self.opened, self.layout, self.disk, self.tell, end_running=self.options.end_running)

    def begin(self, recorded: Recorded) -> str:
        """Write what a resume needs before anything runs; return the hash of the plan."""
        from workflow import programs

        layout, disk, workflow, stored = self.layout, self.disk, self.workflow, self.opened.stored
        definition = resolved.resolved(workflow)
        is_whole = all(map(os.path.exists, programs.paths_of(layout)))
        is_same = stored is not None and stored.get("definition") == definition and is_whole
        if os.path.lexists(layout.imported):
            # Whoever opened it asked for `--trust`; said once, it holds.
            disk.rename(layout.imported, layout.trusted)
        locks.write_holder(disk, layout, self.options.command, records.utc_text(time.time()) or "")
        store.write_epoch(disk, layout, self.epoch)
        # Whoever carries a run on takes back the word that nobody will.
        if os.path.lexists(layout.abandoned):
            disk.remove(layout.abandoned)
        if stored is not None and is_same:
            return str(stored["plan_hash"])
        plan_hash = records.digest(records.encode_document(definition))
        # What shells read comes first: a run that has its workflow.json has everything.
        fingerprints = {number: identity.fingerprint for number, identity in recorded.identities.items()}
        programs.write_programs(
            disk,
            layout,
            workflow,
            self.opened.order,
            fingerprints,
            place=layout.path,
            library=library_directory(),
            lock_directory=locks_directory(),
        )
        about = {
            "plan_hash": plan_hash,
            "started_at": records.utc_text(self.started_at),
            "started": round(self.started_at, 3),
            "epoch": self.epoch,
            "command": self.options.command,
            "params": dict(self.opened.params),
            "definition": definition,
        }
        store.write_definition(disk, layout, about)
        return plan_hash

    def drive(
        self,
        recorded: Recorded,
        decisions: dict[int, Decision],
        master: MasterWriter,
        values: dict[str, str],
        approve: Callable[[str], bool] | None,
    ) -> int:
        """Run the engine between RunStarted and RunFinished."""
        from workflow.checkpoint.named_locks import NamedLocks
        from workflow.execution.approvals import Approvals
        from workflow.execution.committer import Committer
        from workflow.execution.engine import Engine
        from workflow.execution.inbox import Inbox
        from workflow.execution.local import LocalExecutor
        from workflow.execution.slots import Slots
        from workflow.execution.snapshotting import Snapshotting

        started = time.monotonic()
        # What was read so far stays for the whole run: the collector need not walk it ever again.
        gc.freeze()
        gc.enable()
        inbox = Inbox()
        executor = LocalExecutor(
            self.layout,
            self.disk,
            inbox,
            project=self.workflow.project,
            lib=library_directory(),
            environ={**os.environ, **self.options.extra_environment},
            is_resumed=self.epoch > 1,
            # Where not every step sees the same, each is given its own.
            published=values if self.is_linear else {},
            ignored_signals=frozenset(
                it for it in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(it) is signal.SIG_IGN
            ),
        )
        committer = Committer(self.disk, self.layout, self.epoch, self.workflow.checkpoints.durability, inbox.put)
        snapshotting = Snapshotting(
            self.layout, self.disk, self.workflow, recorded, master, epoch=self.epoch, now=inbox.now()
        )
        named_locks = NamedLocks(locks_directory(), self.disk, self.layout.path)
        inbox.catch_signals()
        try:
            if any(decision.choice is Choice.RUN for decision in decisions.values()):
                executor.warm_up()
            self.tell(self._started(decisions))
            engine = Engine(
                self.workflow,
                self.layout,
                epoch=self.epoch,
                decisions=decisions,
                recorded=recorded,
                inbox=inbox,
                executor=executor,
                committer=committer,
                observers=self.observers,
                master=master,
                slots=Slots(self.jobs, self.workflow.limits, named_locks),
                approvals=Approvals(self.layout, self.disk, approve, user_name()),
                snapshotting=snapshotting,
                keep_going=self.options.keep_going,
            )
            exit_code = engine.run()
            board = engine.board
            executor.close(board.uncommitted)
            error = board.error
            statuses = with_past(board.statuses, recorded)
            status = run_status(statuses, self.workflow)
            try:
                committer.close()
                master.write(statuses, (), status)
            except NotRecordedError as late:
                error = error or late
            if error is not None:
                exit_code = error.exit_code
                self.tell(Notice(error.message, error.help, "error"))
            elif exit_code == errors.EXIT_OK and is_left_failed(
                statuses, decisions, skip_failed=self.options.skip_failed
            ):
                exit_code = errors.EXIT_STEP_FAILED
            for notice in snapshotting.finish(statuses, status) if error is None else ():
                self.tell(notice)
            self._finish(error, is_completed=status is RunStatus.COMPLETED)
            counts: dict[Status, int] = {}
            for it in board.statuses.values():
                counts[it] = counts.get(it, 0) + 1
            self.tell(
                RunFinished(
                    self.layout.run_id, status, exit_code, time.monotonic() - started, counts, self._resume_command()
                )
            )
            return exit_code
        finally:
            inbox.close()

    def _started(self, decisions: dict[int, Decision]) -> RunStarted:
        choices = [decision.choice for decision in decisions.values()]
        to_run = [step for step in self.workflow.steps if decisions[step.number].choice is Choice.RUN]
        expected = history.expected_s(self.opened.root, self.workflow.name, {step.name for step in to_run})
        expected_s = {step.number: expected[step.name] for step in to_run if step.name in expected}
        run_id, path = self.layout.run_id, self.layout.path
        return RunStarted(
            run_id,
            path,
            self.workflow,
            self.epoch,
            decisions,
            choices.count(Choice.RUN),
            choices.count(Choice.BYPASS),
            expected_s,
            self._resume_command(),
        )

    def _finish(self, error: WorkflowError | None, *, is_completed: bool) -> None:
        if error is not None:
            return
        history.remember(self.opened.root, self.disk, self.workflow.name, self.durations.seconds)
        try:
            self.disk.remove(self.layout.holder, sync=False)
        except NotRecordedError:  # it is for people only, and the lock says who lives
            return
        if is_completed and self.workflow.checkpoints.compress:
            from workflow.packing import pack_finished

            # The last thing that happens to the run: whatever else is done at its end comes before this.
            notice = pack_finished(self.layout, self.workflow, self.disk)
            if notice is not None:
                self.tell(notice)

    def _resume_command(self) -> str:
        return resume_command(self.opened.root, project_directory(), self.layout.run_id)


class _Durations:
    """Collects how long completed steps took, for what the next run may expect."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is Status.SUCCEEDED:
            self.seconds[event.step.name] = event.duration_s


def _jobs(options: Options, workflow: Workflow) -> int:
    """Return how many steps may run at once: -j, else the definition, else as many as there are processors."""
    from workflow.execution.slots import processors

    if options.is_parallel is False:
        return 1
    declared = workflow.limits.jobs
    if options.is_parallel and declared == 1:
        declared = None
    return options.jobs or declared or processors()


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


def _faults() -> durable.Faults | None:
    return durable.planned_faults(os.environ)
