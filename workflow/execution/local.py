"""Making steps run on this machine: worker shells, replaced when they had to be killed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from workflow.checkpoint import commits, values
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import RunningNote
from workflow.errors import WorkflowError
from workflow.execution import processes
from workflow.execution.executor import Start
from workflow.execution.inbox import Inbox
from workflow.execution.interactive import Interactive
from workflow.execution.own_directories import OwnDirectories
from workflow.execution.pool import Pool
from workflow.execution.steps_program import is_plain
from workflow.model import Step

LOG_CAP_BYTES = 1 << 30
LOG_SLACK_BYTES = 256 << 20
LOG_LOOK_S = 1.0


class LocalExecutor:
    """Starts attempts; their ends come to the inbox as StepEnded or WorkerGone."""

    def __init__(
        self,
        layout: RunLayout,
        disk: Disk,
        inbox: Inbox,
        *,
        project: str,
        lib: str,
        environ: Mapping[str, str],
        is_resumed: bool,
        published: dict[str, str],
        ignored_signals: frozenset[int] = frozenset(),
    ) -> None:
        """`published` are the values that every step sees; it is kept up to date here."""
        self._layout = layout
        self._disk = disk
        self._inbox = inbox
        self._project = project
        self._lib = lib
        self._environ = environ
        self._is_resumed = is_resumed
        self._published = published
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._pool = Pool(
            layout,
            disk,
            inbox,
            project=project,
            lib=lib,
            environ=environ,
            umask=self._umask,
            published=published,
            ignored_signals=ignored_signals,
        )
        self._interactive: Interactive | None = None
        self._started_ticks: dict[int, int] = {}
        self._next_log_looks: dict[int, float] = {}
        self._own_directories = OwnDirectories(layout, disk)

    # ------------------------------------------------------------------ one attempt

    def prepare(self, step: Step, *, is_first: bool, goes_on: bool = False) -> int:
        """Make room for an attempt; return the offset in its log where it will begin.

        A step that is to run again loses its marker first, then what its last attempt published
        (an iteration that goes on keeps that). Raises NotRecordedError.
        """
        number = step.number
        self._own_directories.give(number)
        files = (self._layout.output(number), self._layout.env(number), self._layout.events(number))
        if is_first:
            self._keep_narrow(step)
            return 0
        self._disk.remove(self._layout.marker(number))
        for path in () if goes_on else files:
            self._disk.remove(path, sync=False)
        if not goes_on:
            self._keep_narrow(step)
        try:
            return os.stat(self._layout.log(number)).st_size
        except OSError:
            return 0

    def _keep_narrow(self, step: Step) -> None:
        # The step makes these files itself, under the umask of the user. Where that would make them
        # wider than ours may be, they are there before.
        if 0o666 & ~self._umask & ~self._disk.file_mode:
            layout, number = self._layout, step.number
            for path in (layout.output(number), layout.env(number), layout.events(number), layout.summary(number)):
                self._disk.write(path, b"", sync=False)
            if step.text is not None:
                self._disk.write(layout.script(number), b"", sync=False)

    def release(self, step: Step) -> None:
        """Take back what a step that ended did not use."""
        self._own_directories.take_back(step.number)

    def forget_iterations(self, step: Step) -> None:
        """Let a repeated step that was complete begin anew. Raises NotRecordedError.

        The marker goes last: without it, rounds that are left would pass for those of a loop that was killed.
        """
        commits.forget_iterations(self._disk, self._layout, step.number, step.name)
        self._disk.remove(self._layout.marker(step.number))

    def assign(self, lock_fd: int | None) -> int:
        """Return the number of a worker that is free, for one step alone until `free`. Raises WorkflowError."""
        return self._pool.assign(lock_fd)

    def free(self, worker: int) -> None:
        """Say that what a worker had in hand has ended."""
        self._pool.free(worker)

    def note(self, worker: int, notes: tuple[RunningNote, ...]) -> None:
        """Say which attempts are in hand, so that a resume can adopt what becomes of them. Raises NotRecordedError."""
        self._pool.note(worker, notes)

    def is_recorded(self, worker: int) -> None:
        """Take the note of a worker back that has nothing in hand any more."""
        self._pool.clear_note(worker)

    def start(self, worker: int, start: Start) -> int:
        """Start an attempt or a test; return the worker that has it in the end. Raises WorkflowError."""
        step = start.step
        self._started_ticks[step.number] = processes.now_ticks()
        is_given = self._give(start)
        if step.interactive and start.phase == "run":
            self._interactive = Interactive(
                step,
                worker=worker,
                epoch=start.epoch,
                attempt=start.attempt,
                lib=self._lib,
                environ={**self._step_environ(), **(start.given or {}), **_iteration(start)},
                umask=self._umask,
                is_resumed=self._is_resumed,
                put=self._inbox.put,
            )
            return worker
        try:
            self._tell(worker, start, is_plain=not is_given and is_plain(step))
        except BrokenPipeError:
            # It died between two steps (somebody's kill, out of memory): replaced once.
            self._pool.lose(worker)
            worker = self._pool.assign(start.lock_fd)
            try:
                self._tell(worker, start, is_plain=not is_given and is_plain(step))
            except BrokenPipeError as error:
                raise WorkflowError(
                    "the worker shell ends as soon as it is started",
                    help=f"look at {self._layout.logs_dir}/worker_{worker}.log",
                ) from error
        return worker

    def _tell(self, worker: int, start: Start, *, is_plain: bool) -> None:
        member = self._pool.get(worker)
        if member is None:
            raise WorkflowError("no worker shell could be started")
        self._pool.bring_up_to_date(member)
        member.shell.run(
            start.step.number,
            start.epoch,
            start.attempt,
            is_resumed=self._is_resumed,
            is_plain=is_plain and start.phase == "run" and not start.iteration,
            phase=start.phase,
            iteration=start.iteration,
        )

    def _give(self, start: Start) -> bool:
        """Put the values that this step alone sees where its shell finds them; return whether there are any."""
        if start.given is None:
            return False
        path = self._layout.given(start.step.number)
        if start.given:
            self._disk.write(path, values.encode(dict(start.given)), sync=False)
        elif self._is_resumed or start.attempt > 1:
            self._disk.remove(path, sync=False)
        return bool(start.given)

    def signal(self, worker: int, step: Step, number: int) -> None:
        """Send a signal to the process group of the step in hand."""
        if self._interactive is not None and step.interactive:
            processes.signal_group(self._interactive.pid, number)
            return
        member = self._pool.get(worker)
        if member is not None:
            processes.signal_group(member.shell.pid, number)

    def end_leftovers(self, worker: int, step: Step, *, whole_session: bool, is_alone: bool) -> None:
        """End what is left of a step that did not end well; `whole_session` also what lost its mark.

        Beside other steps, an orphan without a mark may be theirs, and is left to the last of them.
        """
        member = self._pool.get(worker)
        pid = member.shell.pid if member is not None else None
        since = self._started_ticks.get(step.number) if whole_session and is_alone and self._pool.is_subreaper else None
        processes.end_step_processes(
            self._layout.path,
            step.label,
            worker=pid if whole_session else None,
            spare=self._pool.pids,
            since_ticks=since,
        )

    def restore(self, step: Step, outputs: Mapping[str, str], env: Mapping[str, str]) -> None:
        """Put back what a reused step published, as if it had just done so. Raises NotRecordedError."""
        for path, published in ((self._layout.output(step.number), outputs), (self._layout.env(step.number), env)):
            if published:
                self._disk.write(path, values.encode(published), sync=False)

    def publish(self, number: int, published: Mapping[str, str]) -> None:
        """Give values of a finished step to all steps to come."""
        paths = (self._layout.output(number), self._layout.env(number))
        self._pool.publish([os.path.basename(path) for path in paths if os.path.exists(path)], published)

    def keep_log_small(self, step: Step) -> None:
        """Cut a log that grew past its cap; the step writes on undisturbed (it appends)."""
        now = time.monotonic()
        if now < self._next_log_looks.get(step.number, 0.0):
            return
        self._next_log_looks[step.number] = now + LOG_LOOK_S
        path = self._layout.log(step.number)
        try:
            if os.stat(path).st_size > LOG_CAP_BYTES + LOG_SLACK_BYTES:
                closing = f"\n--- workflow cut this log at {LOG_CAP_BYTES >> 20} MiB; what came next is lost ---\n"
                self._disk.cut(path, LOG_CAP_BYTES, closing.encode())
        except OSError:  # no log yet, or none any more
            return

    # ------------------------------------------------------------------ the workers

    def warm_up(self) -> None:
        """Start a worker before there is a step for it."""
        try:
            self._pool.warm_up()
        except WorkflowError:  # the first step will meet the same, and says so
            return

    def lose_worker(self, number: int) -> None:
        """Forget a worker that ended; the next attempt gets a new one."""
        self._pool.lose(number)

    def _step_environ(self) -> dict[str, str]:
        return {
            **self._environ,
            **self._published,
            "WORKFLOW_RUN_ID": self._layout.run_id,
            "WORKFLOW_RUN_DIR": self._layout.path,
            "WORKFLOW_PROJECT": self._project,
            "WORKFLOW_LIB": self._lib,
        }

    def reap(self) -> None:
        """Collect ended strangers that became our children."""
        own = self._pool.pids
        if self._interactive is not None:
            own.add(self._interactive.pid)
        processes.reap_strangers(own)

    def close(self, uncommitted: Mapping[int, tuple[RunningNote, ...]]) -> None:
        """Let the workers go; nothing is in hand any more but what ended well and could not be recorded."""
        self._own_directories.close()
        self._pool.close(uncommitted)


def _iteration(start: Start) -> dict[str, str]:
    return {"WORKFLOW_ITERATION": str(start.iteration)} if start.iteration else {}
