"""One long-lived worker shell: how it is started, told what to run, and heard.

Started with posix_spawn in a session of its own: no thread, no import, and the cost of the fork
does not grow with our memory (docs/design/worker.md has the figures and why not `sh` here).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import NamedTuple

from workflow.checkpoint.durable import not_recorded
from workflow.checkpoint.layout import RunLayout
from workflow.errors import WorkflowError
from workflow.execution.environment import find_program

LOCK_DESCRIPTOR = 9  # dash knows one-digit descriptors only
NAMED_LOCK_DESCRIPTOR = 8


class StepEnded(NamedTuple):
    """A worker answered. `exit_code` is None when it could not open the step's log.

    `phase` is `run` for an attempt, `if` or `until` for a test.
    """

    worker: int
    step: int
    epoch: int
    attempt: int
    exit_code: int | None
    phase: str = "run"


class WorkerGone(NamedTuple):
    """A worker ended without having been asked to."""

    worker: int


class Worker:
    """A worker shell. `number` names its files, `pid` is also its session and process group."""

    def __init__(
        self,
        number: int,
        layout: RunLayout,
        *,
        lib: str,
        project: str,
        lock_fd: int,
        environ: Mapping[str, str],
        umask: int,
        file_mode: int,
        ignored: frozenset[int],
        named_lock_fd: int | None = None,
    ) -> None:
        """Start it. Takes over `lock_fd`; `named_lock_fd` (above 9) is inherited and stays open here, too.

        `ignored` are the signals that steps are to ignore, as we were told to.

        `umask` is that of the steps, `file_mode` what logs and exit records may have at most.

        Raises WorkflowError when no shell can be started.
        """
        self.number = number
        self._partial = b""
        own_umask = umask | (0o777 & ~file_mode & ~0o111)
        self._has_umask_of_steps = umask == own_umask
        command_read, self._command = os.pipe()
        self.answer, answer_write = os.pipe()
        os.set_blocking(self.answer, False)
        shell = find_program("sh", environ.get("PATH")) or "/bin/sh"
        program = f"{lib}/step_execution.sh"
        stderr_log = f"{layout.logs_dir}/worker_{number}.log"
        back_to_default = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ} - ignored
        try:
            self.pid = os.posix_spawn(
                shell,
                [
                    "sh",
                    "-c",
                    '. "$0"; workflow_worker "$@"',
                    program,
                    str(number),
                    f"{umask:04o}",
                    f"{own_umask:04o}",
                ],
                {
                    **environ,
                    "WORKFLOW_RUN_ID": layout.run_id,
                    "WORKFLOW_RUN_DIR": layout.path,
                    "WORKFLOW_PROJECT": project,
                    "WORKFLOW_LIB": lib,
                },
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, command_read, 0),
                    (os.POSIX_SPAWN_DUP2, answer_write, 1),
                    (os.POSIX_SPAWN_OPEN, 2, stderr_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, file_mode & ~umask),
                    (os.POSIX_SPAWN_DUP2, lock_fd, LOCK_DESCRIPTOR),
                    # Last, and from a descriptor above 9: nothing above may be the one that it is put over.
                    *([(os.POSIX_SPAWN_DUP2, named_lock_fd, NAMED_LOCK_DESCRIPTOR)] if named_lock_fd else []),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=back_to_default,
            )
        except OSError as error:
            os.close(self._command)
            os.close(self.answer)
            if not os.path.isdir(os.path.dirname(stderr_log)):
                raise not_recorded(error, stderr_log) from error
            raise WorkflowError(f"cannot start a worker shell ({shell}): {error.strerror}") from error
        finally:
            os.close(command_read)
            os.close(answer_write)
            os.close(lock_fd)

    def run(
        self,
        step: int,
        epoch: int,
        attempt: int,
        *,
        is_resumed: bool,
        is_plain: bool = False,
        phase: str = "run",
        iteration: int = 0,
    ) -> None:
        """Tell the worker to run an attempt or a test. Raises BrokenPipeError when it is gone.

        `is_plain`: the step has no environment and no directory of its own. `iteration` 0: it is not repeated.
        """
        word = "plain" if is_plain and self._has_umask_of_steps else phase
        again = f" {iteration}" if iteration else ""
        os.write(self._command, f"{word} {step:02d} {epoch} {attempt} {is_resumed:d}{again}\n".encode("ascii"))

    def load_values(self, name: str) -> None:
        """Tell the worker to export the values in `state/NAME` for the steps to come."""
        os.write(self._command, f"values {name}\n".encode("ascii"))

    def heard(self) -> list[StepEnded | WorkerGone]:
        """Return what the worker said since last time, in order."""
        events: list[StepEnded | WorkerGone] = []
        try:
            data = os.read(self.answer, 65536)
        except BlockingIOError:
            return events
        if not data:
            return [WorkerGone(self.number)]
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            *test, step, epoch, attempt, code = line.split()
            exit_code = None if code == b"nolog" else int(code)
            phase = test[0].decode("ascii") if test else "run"
            events.append(StepEnded(self.number, int(step), int(epoch), int(attempt), exit_code, phase))
        return events

    def close(self, *, wait: bool) -> None:
        """Let the worker end after what it has in hand; with `wait`, collect it."""
        os.close(self._command)
        os.close(self.answer)
        if wait:
            try:
                os.waitpid(self.pid, 0)
            except ChildProcessError:  # collected already: the end of a child is told once
                return
