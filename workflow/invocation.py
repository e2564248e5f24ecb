"""One run or resume, from the lock to the last event: what is recorded, decided, made ready, run and told.

What it stands in (environment, user, places) is handed in by the session, which alone reads it.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from workflow import errors, expiry
from workflow.checkpoint import durable, history, locks, records, store
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.master import MasterFacts, MasterWriter
from workflow.checkpoint.seal import why_broken
from workflow.definition import resolved
from workflow.definition.files import shown_path
from workflow.errors import NotRecordedError, WorkflowError
from workflow.events import Event, LogsMoving, Notice, Observer, RunFinished, RunStarted, StepFinished
from workflow.model import Choice, Decision, RunStatus, Status, Workflow
from workflow.opening import DEFAULT_DIRECTORY, Opened, Options, resume_command
from workflow.planning.decision import decide
from workflow.planning.held_outputs import hold_outputs
from workflow.planning.outcome import is_left_failed, run_status, with_past
from workflow.planning.record import Recorded, nothing_recorded
from workflow.recovery import go_back, mind_interrupted, recover, warn_of_changes, warn_of_missing
from workflow.reusing import candidates, forget_unseen

if TYPE_CHECKING:
    from workflow.execution.reuse import Reuse
    from workflow.planning.world import World


class Surroundings(NamedTuple):
    """What an invocation finds: the environment, who we are, where the shell library and named locks are."""

    environ: Mapping[str, str]
    user: str
    library: str
    locks_directory: str
    project_directory: str


class Invocation:
    """One invocation under the lock of its run. `is_unwanted`: it is over, and the retention wants it gone."""

    def __init__(
        self,
        options: Options,
        opened: Opened,
        layout: RunLayout,
        disk: durable.Disk,
        observers: Sequence[Observer],
        now_at: float,
        around: Surroundings,
        world: World | None,
    ) -> None:
        """`world`: what steps are held against before they run; None: none is reused."""
        self.options = options
        self.around = around
        self.world = world
        self.opened = opened
        self.workflow = opened.workflow
        self.layout = layout
        self.disk = disk
        self.durations = _Durations()
        self.observers = [*observers, self.durations]
        self.is_linear = all(step.needs is None and step.group is None for step in self.workflow.steps)
        self.jobs = 1 if self.is_linear else _jobs(options, opened.workflow)
        self.is_unwanted = False
        self.epoch = 1 if opened.stored is None else store.read_epoch(layout) + 1
        self.started_at = float((opened.stored or {}).get("started") or now_at)

    def go(self, ask: Callable[[str], bool] | None, approve: Callable[[str], bool] | None) -> int:
        from workflow.execution.environment import Probe

        probe = Probe(self.around.environ)
        for notice in self.opened.notices:
            self.tell(notice)
        recorded = self.recover()
        go_back(self.opened, self.layout, self.disk, recorded, self.tell, user=self.around.user)
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
            user=self.around.user,
            is_auto=self.options.is_auto,
            variables=dict(pair for step in self.workflow.steps for pair in step.params),
            values=values,
            is_parallel=self.jobs > 1,
            is_smart=self.world is not None,
            order=self.opened.order,
        )
        return self.drive(recorded, decisions, MasterWriter(self.disk, self.layout, facts), values, approve)

    def reuse(
        self, decisions: dict[int, Decision], put: Callable[[object], None], values: Mapping[str, str]
    ) -> Reuse | None:
        """Return what looks at steps before they run; None where none is to be reused."""
        forget_unseen(decisions, self.workflow, self.opened.root, self.world, self.disk)
        if self.world is None:
            return None
        from workflow.execution.reuse import Reuse

        return Reuse(self.world, self.disk, self.layout.run_id, candidates(decisions), put, values)

    def tell(self, event: Event) -> None:
        for observer in self.observers:
            observer.on_event(event)

    def recover(self) -> Recorded:
        if self.opened.stored is None:
            return nothing_recorded(self.workflow)
        return recover(self.opened, self.layout, self.disk, self.tell, end_running=self.options.end_running)

    def begin(self, recorded: Recorded) -> str:
        """Write what a resume needs before anything runs; return the hash of the plan."""
        from workflow.execution import shell_files

        layout, disk, workflow, stored = self.layout, self.disk, self.workflow, self.opened.stored
        # Where the run lies is no part of what it does.
        checkpoints = dataclasses.replace(workflow.checkpoints, directory=DEFAULT_DIRECTORY)
        definition = resolved.resolved(dataclasses.replace(workflow, checkpoints=checkpoints))
        policy_file = None if workflow.policy is None else shown_path(workflow.project, workflow.policy)
        about_same = {"definition": definition, "policy_file": policy_file}
        # What a program built is kept as it was built, so that a resume can do without the program.
        built: dict[str, Any] = {} if self.opened.built is None else {"built": self.opened.built.document()}
        if name := self.options.run_name or (stored or {}).get("run_name"):
            built["run_name"] = name
        about_same |= built
        is_same = stored is not None and all(stored.get(key) == value for key, value in about_same.items())
        # The workers run what stands there: what is damaged is made again.
        is_same = is_same and not any(map(why_broken, layout.programs))
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
        plan_hash = records.plan_hash(definition)
        # What shells read comes first: a run that has its workflow.json has everything.
        fingerprints = {number: identity.fingerprint for number, identity in recorded.identities.items()}
        shell_files.write_all(
            *(disk, layout, workflow, self.opened.order, fingerprints),
            place=layout.path,
            library=self.around.library,
            lock_directory=self.around.locks_directory,
        )
        about = {
            "plan_hash": plan_hash,
            "started_at": records.utc_text(self.started_at),
            "started": round(self.started_at, 3),
            "epoch": self.epoch,
            "command": self.options.command,
            "params": dict(self.opened.params),
            "policy_file": policy_file,
            "definition": definition,
            **built,
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
            lib=self.around.library,
            environ={**self.around.environ, **self.options.extra_environment},
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
        reuse = self.reuse(decisions, inbox.put, values)
        named_locks = NamedLocks(self.around.locks_directory, self.disk, self.layout.path)
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
                approvals=Approvals(self.layout, self.disk, approve, self.around.user),
                snapshotting=snapshotting,
                reuse=reuse,
                keep_going=self.options.keep_going,
            )
            exit_code = engine.run()
            board = engine.board
            executor.close(board.uncommitted)
            for text in reuse.close() if reuse is not None else ():
                self.tell(Notice(text))
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
                self.tell(Notice(error.message, self._help_of(error), "error"))
            elif exit_code == errors.EXIT_OK and is_left_failed(
                statuses, decisions, skip_failed=self.options.skip_failed
            ):
                exit_code = errors.EXIT_STEP_FAILED
            for notice in snapshotting.finish(statuses, status) if error is None else ():
                self.tell(notice)
            self._finish(error)
            if error is None and self.workflow.checkpoints.enabled:
                self._look_after(status, exit_code)
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

    def _finish(self, error: WorkflowError | None) -> None:
        if error is not None:
            return
        history.remember(self.opened.root, self.disk, self.workflow.name, self.durations.seconds)
        try:
            self.disk.remove(self.layout.holder, sync=False)
        except NotRecordedError:  # it is for people only, and the lock says who lives
            return

    def _look_after(self, status: RunStatus, exit_code: int) -> None:
        """Apply the retention; then, the last thing that happens to a completed run, pack it where that is wanted."""
        settings = self.workflow.checkpoints
        is_completed = status is RunStatus.COMPLETED and exit_code == errors.EXIT_OK
        self.is_unwanted = expiry.apply_at_end(
            self.opened.root, self.disk, self.layout, settings, self.tell, is_completed
        )
        if is_completed and settings.compress and not self.is_unwanted:
            from workflow.packing import pack_finished

            self.tell(LogsMoving())
            notice = pack_finished(self.layout, self.workflow, self.disk)
            if notice is not None:
                self.tell(notice)

    def _help_of(self, error: WorkflowError) -> str:
        if self.workflow.checkpoints.enabled:
            return error.help
        from workflow.unkept import help_of

        return help_of(error.help)

    def _resume_command(self) -> str:
        """Return how to go on; empty where nothing is kept that one could go on with."""
        if not self.workflow.checkpoints.enabled:
            return ""
        return resume_command(self.opened.root, self.around.project_directory, self.layout.run_id)


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
