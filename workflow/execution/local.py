"""Making steps run on this machine: one worker shell, replaced when it had to be killed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from workflow.checkpoint import locks, values
from workflow.checkpoint.durable import Disk, Note
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import RunningNote, encode_running
from workflow.errors import NotRecordedError, WorkflowError
from workflow.execution import processes
from workflow.execution.inbox import Inbox
from workflow.execution.interactive import Interactive
from workflow.execution.own_directories import OwnDirectories
from workflow.execution.steps_program import is_plain
from workflow.execution.worker import Worker
from workflow.model import Step

LOG_CAP_BYTES = 1 << 30
LOG_SLACK_BYTES = 256 << 20
LOG_LOOK_S = 1.0
MOST_WORKERS = 1000


class LocalExecutor:
    """Starts attempts, one at a time; their ends come to the inbox as StepEnded or WorkerGone."""

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
        """`published` are the values of steps that are complete; it is kept up to date here."""
        self._layout = layout
        self._disk = disk
        self._inbox = inbox
        self._project = project
        self._lib = lib
        self._environ = environ
        self._is_resumed = is_resumed
        self._published = published
        self._ignored = ignored_signals
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._worker: Worker | None = None
        self._interactive: Interactive | None = None
        self._note: Note | None = None
        self._is_subreaper = False
        self._started_ticks = 0
        self._next_log_look = 0.0
        self._own_directories = OwnDirectories(layout, disk)
        self.worker_number = 0

    # ------------------------------------------------------------------ one attempt

    def prepare(self, step: Step, *, is_first: bool) -> int:
        """Make room for an attempt; return the offset in its log where it will begin.

        A step that is to run again loses its marker first, then what its last attempt published.
        Raises NotRecordedError.
        """
        number = step.number
        self._own_directories.give(number)
        files = (self._layout.output(number), self._layout.env(number), self._layout.events(number))
        if is_first:
            self._keep_narrow(step)
            return 0
        self._disk.remove(self._layout.marker(number))
        for path in files:
            self._disk.remove(path, sync=False)
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

    def note(self, notes: tuple[RunningNote, ...]) -> None:
        """Say which attempts are in hand, so that a resume can adopt what becomes of them. Raises NotRecordedError."""
        if self._worker is None:
            self._start_worker()
        if self._note is None:
            raise NotRecordedError("there is no worker")
        self._note.put(encode_running(notes))

    def start(self, step: Step, epoch: int, attempt: int) -> None:
        """Start an attempt. Raises WorkflowError."""
        self._started_ticks = processes.now_ticks()
        if step.interactive:
            self._interactive = Interactive(
                step,
                worker=self.worker_number,
                epoch=epoch,
                attempt=attempt,
                lib=self._lib,
                environ=self._step_environ(),
                umask=self._umask,
                is_resumed=self._is_resumed,
                put=self._inbox.put,
            )
            return
        if self._worker is None:
            self._start_worker()
        for again in (True, False):
            worker = self._worker
            if worker is None:
                raise WorkflowError("no worker shell could be started")
            try:
                worker.run(step.number, epoch, attempt, is_resumed=self._is_resumed, is_plain=is_plain(step))
                break
            except BrokenPipeError as error:
                # It died between two steps (somebody's kill, out of memory): replaced once.
                if not again:
                    raise WorkflowError(
                        "the worker shell ends as soon as it is started",
                        help=f"look at {self._layout.logs_dir}/worker_{self.worker_number}.log",
                    ) from error
                self.lose_worker(worker.number)
                self._start_worker()

    def signal(self, step: Step, number: int) -> None:
        """Send a signal to the process group of the step in hand."""
        if step.interactive and self._interactive is not None:
            processes.signal_group(self._interactive.pid, number)
        elif self._worker is not None:
            processes.signal_group(self._worker.pid, number)

    def end_leftovers(self, step: Step, *, whole_session: bool) -> None:
        """End what is left of a step that did not end well; `whole_session` also what lost its mark."""
        worker = self._worker.pid if self._worker is not None else None
        processes.end_step_processes(
            self._layout.path,
            step.label,
            worker=worker if whole_session else None,
            spare={worker} if worker else set(),
            since_ticks=self._started_ticks if whole_session and self._is_subreaper else None,
        )

    def publish(self, number: int, published: Mapping[str, str]) -> None:
        """Give values of a finished step to the steps to come."""
        self._published.update(published)
        if self._worker is None:
            return
        for path in (self._layout.output(number), self._layout.env(number)):
            if os.path.exists(path):
                try:
                    self._worker.load_values(os.path.basename(path))
                except BrokenPipeError:  # its successor loads them all
                    return

    def keep_log_small(self, step: Step) -> None:
        """Cut a log that grew past its cap; the step writes on undisturbed (it appends)."""
        now = time.monotonic()
        if now < self._next_log_look:
            return
        self._next_log_look = now + LOG_LOOK_S
        path = self._layout.log(step.number)
        try:
            if os.stat(path).st_size > LOG_CAP_BYTES + LOG_SLACK_BYTES:
                closing = f"\n--- workflow cut this log at {LOG_CAP_BYTES >> 20} MiB; what came next is lost ---\n"
                self._disk.cut(path, LOG_CAP_BYTES, closing.encode())
        except OSError:  # no log yet, or none any more
            return

    # ------------------------------------------------------------------ the worker

    def warm_up(self) -> None:
        """Start the worker before there is a step for it: its shell reads steps.sh while we get ready."""
        try:
            self._start_worker()
        except WorkflowError:  # the first step will meet the same, and says so
            return

    def _start_worker(self) -> None:
        number, lock_fd = self._free_number()
        self._note = Note(self._layout.worker_running(number), self._disk.file_mode)
        if self._published:
            self._disk.write(self._layout.values, values.encode(self._published), sync=False)
        self._worker = Worker(
            number,
            self._layout,
            lib=self._lib,
            project=self._project,
            lock_fd=lock_fd,
            environ=self._environ,
            umask=self._umask,
            file_mode=self._disk.file_mode,
            ignored=self._ignored,
        )
        if not self._is_subreaper:
            # Before the first step can leave orphans; the shell of the worker comes up meanwhile.
            processes.become_subreaper()
            self._is_subreaper = True
        self.worker_number = number
        self._inbox.watch(self._worker.answer, self._worker.heard)
        if self._published:
            self._worker.load_values("values")

    def _free_number(self) -> tuple[int, int]:
        # A number whose lock is still held belongs to an orphan: a process that a finished step
        # left behind, as resume has waited for steps that still ran.
        for number in range(1, MOST_WORKERS):
            fd = locks.lock_worker(self._disk, self._layout, number)
            if fd is not None:
                return number, fd
        raise WorkflowError(
            f"{MOST_WORKERS} workers of this run are still alive", help=f"look for them: pgrep -f {self._layout.run_id}"
        )

    def lose_worker(self, number: int) -> None:
        """Forget a worker that ended; the next attempt gets a new one."""
        worker = self._worker
        if worker is None or worker.number != number:
            return
        self._inbox.unwatch(worker.answer)
        worker.close(wait=True)
        self._worker = None
        if self._note is not None:
            self._note.close()
            self._note = None

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
        processes.reap_strangers({it.pid for it in (self._worker, self._interactive) if it is not None})

    def close(self, uncommitted: tuple[RunningNote, ...] = ()) -> None:
        """Let the worker go; nothing is in hand any more but what ended well and could not be recorded."""
        self._own_directories.close()
        if self._worker is None:
            return
        if self._note is not None:
            try:
                self._note.put(encode_running(uncommitted))
            except NotRecordedError:  # what stands there still makes the next resume look twice, no more
                pass
        self.lose_worker(self._worker.number)
