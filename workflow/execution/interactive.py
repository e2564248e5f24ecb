"""Steps that talk with a person: they get the terminal instead of a log.

They run in the foreground of the runner's own session, through the very same functions of
lib/step_execution.sh, so the exit record is written the same way.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from workflow.errors import UsageError
from workflow.execution.worker import StepEnded
from workflow.model import Step


class Interactive:
    """One interactive attempt. `pid` is the shell that has the terminal, and its process group."""

    def __init__(
        self,
        step: Step,
        *,
        worker: int,
        epoch: int,
        attempt: int,
        lib: str,
        environ: Mapping[str, str],
        umask: int,
        is_resumed: bool,
        put: Callable[[object], None],
    ) -> None:
        """Start it; `put` gets a StepEnded when it ends. Raises UsageError without a terminal."""
        import sh

        if not has_terminal():
            raise UsageError(
                f"step {step.title} is interactive and there is no terminal",
                help="start the run in a terminal, or mark the step by hand: workflow mark RUN STEP --done",
            )
        self._terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        self._runner_group = os.getpgrp()
        arguments = (str(worker), f"{umask:04o}", step.label, str(epoch), str(attempt), str(int(is_resumed)))
        done = threading.Event()

        def ended(_command: object, _success: bool, exit_code: int) -> None:
            done.wait(10.0)
            self._take_terminal_back()
            # sh tells a signal as a negative number; a shell would say 128+n.
            code = 128 - exit_code if exit_code < 0 else exit_code
            put(StepEnded(worker, step.number, epoch, attempt, code))

        def in_child() -> None:
            import signal

            # The step gets the terminal as a job of its own, so that Ctrl-C is for it alone.
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(self._terminal, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)

        options: dict[str, Any] = {
            "_bg": True,
            "_bg_exc": False,
            "_in": self._terminal,
            "_out": self._terminal,
            "_err": self._terminal,
            "_env": dict(environ),
            "_preexec_fn": in_child,
            "_ok_code": list(range(-64, 256)),
            "_done": ended,
        }
        command = sh.Command("sh")(
            "-c",
            '. "$0"; workflow_foreground "$@"',
            f"{lib}/step_execution.sh",
            *arguments,
            **options,
        )
        self.pid: int = command.pid
        done.set()

    def _take_terminal_back(self) -> None:
        import signal

        # tcsetpgrp from the background would stop us; blocking the signal is per thread, ignoring
        # it needs the main one.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            os.tcsetpgrp(self._terminal, self._runner_group)
        except OSError:  # the terminal went away
            return
        finally:
            os.close(self._terminal)


def has_terminal() -> bool:
    """Return whether a person can be talked to: stdin is a terminal and there is a controlling one."""
    if not sys.stdin.isatty():
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
