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
from workflow.checkpoint import durable, history, locks, packed, records, store
from workflow.checkpoint.audit import RunAudit
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.master import MasterFacts, MasterWriter
from workflow.checkpoint.seal import why_broken
from workflow.definition import resolved
from workflow.definition.files import shown_path
from workflow.errors import NotRecordedError, WorkflowError
from workflow.events import Event, Notice, Observer, RunFinished, RunStarted, StepFinished
from workflow.model import Choice, Decision, RunStatus, Status, Workflow
from workflow.opening import DEFAULT_DIRECTORY, Opened, resume_command
from workflow.options import Options
from workflow.planning.decision import decide
from workflow.planning.held_outputs import hold_outputs
from workflow.planning.outcome import is_left_failed, run_status, with_past
from workflow.planning.record import Recorded, nothing_recorded
from workflow.recovery import go_back, mind_interrupted, recover, warn_of_changes, warn_of_missing
from workflow.removed_by_hand import refuse_lost_markers, write_again
from workflow.rerunning import asked_for
from workflow.reusing import candidates, forget_unseen
from workflow.tree_forgetting import KeptTrees

if TYPE_CHECKING:
    from workflow.checkpoint.git import Repository
    from workflow.companions import Companions
    from workflow.execution.board import Board
    from workflow.execution.committer import Committer
    from workflow.execution.reuse import Reuse
    from workflow.execution.snapshotting import Snapshotting
    from workflow.execution.tree_keeping import TreeKeeper
    from workflow.planning.world import World


class Surroundings(NamedTuple):
    """What an invocation finds: the environment, who we are, where the shell library and named locks are."""

    environ: Mapping[str, str]
    user: str
    library: str
    locks_directory: str
    project_directory: str


class _Parts(NamedTuple):
    """What a run is made of besides its engine, to be brought to an end."""

    board: Board
    committer: Committer
    master: MasterWriter
    snapshotting: Snapshotting
    reuse: Reuse | None
    companions: Companions


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
        repository: Repository | None = None,
    ) -> None:
        """`world`: what steps are held against before they run; None: none is reused. `repository`: where the files
        of the work tree are kept; None: they are not."""
        self.options = options
        self.around = around
        self.world = world
        self.repository = repository
        self.opened = opened
        self.workflow = opened.workflow
        self.layout = layout
        self.disk = disk
        self.durations = history.Durations()
        self.observers = [*observers, self.durations]
        self.audit: RunAudit | None = None
        if opened.workflow.checkpoints.enabled:
            went_back_to = None if opened.snapshot is None else str(opened.snapshot.get("checkpoint_id"))
            self.audit = RunAudit(opened.root, disk, around.user, went_back_to=went_back_to)
            self.observers.append(self.audit)
        self.is_linear = all(step.needs is None and step.group is None for step in self.workflow.steps)
        self.jobs = 1 if self.is_linear else _jobs(options, opened.workflow)
        self.is_unwanted = False
        self.about: records.Document = {}
        self.adopted: list[StepFinished] = []
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

    def trees(self, put: Callable[[object], None]) -> TreeKeeper | None:
        """Return what keeps the files of the work tree; None where they are not kept."""
        if self.repository is None:
            return None
        from workflow.tree_checkpoints import keeper

        return keeper(self.repository, self.workflow, self.opened.root, self.layout, self.disk, put)

    def tell(self, event: Event) -> None:
        for observer in self.observers:
            observer.on_event(event)

    def recover(self) -> Recorded:
        if self.opened.stored is None:
            return nothing_recorded(self.workflow)
        return recover(self.opened, self.layout, self.disk, self._tell_early, end_running=self.options.end_running)

    def _tell_early(self, event: Event) -> None:
        """Tell of what comes before RunStarted; hooks hear of it after that."""
        if isinstance(event, StepFinished):
            self.adopted.append(event)
        self.tell(event)

    def begin(self, recorded: Recorded) -> str:
        """Write what a resume needs before anything runs; return the hash of the plan."""
        from workflow.execution import shell_files

        layout, disk, workflow, stored = self.layout, self.disk, self.workflow, self.opened.stored
        # Where the run lies is no part of what it does.
        checkpoints = dataclasses.replace(workflow.checkpoints, directory=DEFAULT_DIRECTORY)
        definition = resolved.resolved(dataclasses.replace(workflow, checkpoints=checkpoints))
        policy_file = None if workflow.policy is None else shown_path(workflow.project, workflow.policy)
        about_same = {"definition": definition, "policy_file": policy_file, "asked": None}
        # What a program built is kept as it was built, so that a resume can do without the program.
        built: dict[str, Any] = {} if self.opened.built is None else {"built": self.opened.built.document()}
        if name := self.options.run_name or (stored or {}).get("run_name"):
            built["run_name"] = name
        if asked := asked_for(self.opened.request, self.opened.order):
            built["asked"] = asked
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
            self.about = stored
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
        self.about = {
            "plan_hash": plan_hash,
            "started_at": records.utc_text(self.started_at),
            "started": round(self.started_at, 3),
            "epoch": self.epoch,
            "command": self.options.command,
            "params": dict(self.opened.params),
            **({} if self.opened.max_iterations is None else {"max_iterations": self.opened.max_iterations}),
            "policy_file": policy_file,
            "definition": definition,
            **built,
        }
        store.write_definition(disk, layout, self.about)
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
        from workflow.companions import Companions
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
            # Run by a hook of another run, our steps are no part of that hook.
            environ={
                **{name: value for name, value in self.around.environ.items() if name != "WORKFLOW_HOOK"},
                **self.options.extra_environment,
            },
            is_resumed=self.epoch > 1,
            # Where not every step sees the same, each is given its own.
            published=values if self.is_linear else {},
            ignored_signals=frozenset(
                it for it in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(it) is signal.SIG_IGN
            ),
        )
        companions = Companions(self.workflow, self.layout, self.disk, self.observers, self.tell, epoch=self.epoch)
        committer = Committer(self.disk, self.layout, self.epoch, self.workflow.checkpoints.durability, inbox.put)
        snapshotting = Snapshotting(
            *(self.layout, self.disk, self.workflow, recorded, master),
            epoch=self.epoch,
            now=inbox.now(),
            trees=self.trees(inbox.put),
        )
        companions.meter(self.started_at, lambda: committer.busy_s + snapshotting.busy_s)
        reuse = self.reuse(decisions, inbox.put, values)
        companions.hook_up(inbox, self.around.environ, self._resume_command())
        named_locks = NamedLocks(self.around.locks_directory, self.disk, self.layout.path)
        inbox.catch_signals()
        try:
            if any(decision.choice is Choice.RUN for decision in decisions.values()):
                executor.warm_up()
            self.tell(self._started(decisions))
            companions.hear_late(self.adopted)
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
                budget=companions.budget,
                keep=companions.keep,
                reuse=reuse,
                hooks=companions.hooks,
                keep_going=self.options.keep_going,
            )
            exit_code = engine.run()
            executor.close(engine.board.uncommitted)
            parts = _Parts(engine.board, committer, master, snapshotting, reuse, companions)
            return self.end(parts, exit_code, started, with_past(engine.board.statuses, recorded), decisions)
        finally:
            companions.cut()
            inbox.close()

    def end(
        self,
        parts: _Parts,
        exit_code: int,
        started: float,
        statuses: dict[int, Status],
        decisions: dict[int, Decision],
    ) -> int:
        """Bring everything to its end once no step runs any more; return the exit code of the run."""
        status = run_status(statuses, self.workflow)
        error = self._settle(parts, statuses, status)
        if error is not None:
            exit_code = error.exit_code
            self.tell(Notice(error.message, self._help_of(error), "error"))
        elif exit_code == errors.EXIT_OK and is_left_failed(statuses, decisions, skip_failed=self.options.skip_failed):
            exit_code = errors.EXIT_STEP_FAILED
        ending = parts.snapshotting.finish(statuses, status) if error is None else []
        for notice in (*ending, *parts.snapshotting.close()):
            self.tell(notice)
        parts.companions.close(status)
        self._finish(error)
        failed = parts.companions.run_last_hooks(status, exit_code, started)
        if failed is not None:
            self.tell(Notice(failed.message, self._help_of(failed), "error"))
            error, exit_code = error or failed, exit_code or failed.exit_code
        if error is None and self.workflow.checkpoints.enabled:
            self._look_after(status, exit_code)
        self._tell_end(status, exit_code, time.monotonic() - started, parts.board.statuses)
        return exit_code

    def _settle(self, parts: _Parts, statuses: dict[int, Status], status: RunStatus) -> WorkflowError | None:
        """Wait until all is durable; return what stands against the run besides its steps."""
        error, late = parts.board.error, None
        try:
            parts.committer.close()
            write_again(self.layout, self.disk, self.about, self.tell)
            if error is None:
                refuse_lost_markers(self.layout, parts.board.statuses)
            parts.master.write(statuses, (), status)
        except NotRecordedError as unsettled:
            late = unsettled
        # Last: a success is known to later runs when what it made is durable.
        for text in parts.reuse.close(is_kept=late is None) if parts.reuse is not None else ():
            self.tell(Notice(text))
        return error or late

    def _tell_end(self, status: RunStatus, exit_code: int, duration_s: float, statuses: Mapping[int, Status]) -> None:
        if self.audit is not None and self.audit.objection:
            self.tell(Notice(f"the audit log misses a line: {self.audit.objection}"))
        counts: dict[Status, int] = {}
        for it in statuses.values():
            counts[it] = counts.get(it, 0) + 1
        run_id, resume = self.layout.run_id, self._resume_command()
        self.tell(RunFinished(run_id, status, exit_code, duration_s, counts, resume))

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
            *(self.opened.root, self.disk, self.layout, settings, self.tell, is_completed),
            forget=KeptTrees(self.workflow.project, self.around.environ).forget,
        )
        if is_completed and settings.compress and not self.is_unwanted:
            from workflow.packing import pack_at_end

            pack_at_end(self.opened.root, self.layout, self.workflow, self.disk, self.tell, user=self.around.user)

    def _help_of(self, error: WorkflowError) -> str:
        if self.workflow.checkpoints.enabled:
            return error.help
        from workflow.unkept import help_of

        return help_of(error.help)

    def _resume_command(self) -> str:
        """Return how to go on; empty where nothing is kept, or left, that one could go on with."""
        is_left = os.path.isdir(self.layout.path) or packed.archive_of(self.layout) is not None
        if not self.workflow.checkpoints.enabled or not is_left:
            return ""
        return resume_command(self.opened.root, self.around.project_directory, self.layout.run_id)


def _jobs(options: Options, workflow: Workflow) -> int:
    """Return how many steps may run at once: -j, else the definition, else as many as there are processors."""
    from workflow.execution.slots import processors

    if options.is_parallel is False:
        return 1
    declared = workflow.limits.jobs
    if options.is_parallel and declared == 1:
        declared = None
    return options.jobs or declared or processors()
