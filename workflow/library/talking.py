"""What the program and the process that runs its workflow say to each other.

The run has a process of its own: it takes over signals and orphans, which a program with other things to do cannot
have taken from it. Both ends are ours, and the socket between them has no name: what is pickled here is never stored.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from workflow.errors import WorkflowError
from workflow.events import Event
from workflow.options import Options


class Restored(NamedTuple):
    """A state that is to be put where the run will be; `is_older`: what lies there already goes first."""

    run_id: str
    state: bytes
    is_older: bool


class Keeping(NamedTuple):
    """When the state of a run goes to a store. `directory` is where the run lies meanwhile, of this program alone where
    it `is_temporary`."""

    after_step: bool
    before_step: bool
    interval_s: float | None
    is_automatic: bool
    directory: str
    is_temporary: bool = False


class Order(NamedTuple):
    """What is to be done: `run` or `plan`. `keeping` None: the run stays in its directory.

    `snapshots_before`: a snapshot before each step. `lenient`: steps that a checkpoint knows may be gone.
    """

    verb: str
    options: Options
    keeping: Keeping | None = None
    restored: Restored | None = None
    snapshots_before: bool = False
    lenient: bool = False
    wants_ticks: bool = False
    can_ask: bool = False
    can_approve: bool = False


class Told(NamedTuple):
    event: Event


class Save(NamedTuple):
    """A state to be kept; the answer is None, or why it was not."""

    run_id: str
    facts: dict[str, Any]
    state: bytes


class Question(NamedTuple):
    """`is_approval`: of a step, for a person; else of the run. The answer is a bool."""

    text: str
    is_approval: bool


class Ended(NamedTuple):
    """The run is over. `values` is what its steps published; `left` a directory with what could not be kept."""

    exit_code: int
    values: dict[str, str]
    left: str = ""


class Planned(NamedTuple):
    document: dict[str, Any]


class Failed(NamedTuple):
    """It could not be started, or is a bug of ours (`traceback` not empty)."""

    error: WorkflowError
    traceback: str = ""


class Line:
    """The end of the process that runs the workflow. Says nothing any more once the program is gone."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # it is for us, and not for workers
        self._connection = Connection(descriptor)
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.is_cut = False
        self._is_over = False
        self.order: Order = self._connection.recv()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self._answers.put(self._connection.recv())
            except (EOFError, OSError):
                if self._is_over:
                    return
                # The program died, or does not want us any more: as if our terminal had gone away.
                self.is_cut = True
                self._answers.put(None)
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def tell(self, message: object) -> None:
        """Say something that wants no answer."""
        if self.is_cut:
            return
        try:
            self._connection.send(message)
        except OSError:
            self.is_cut = True

    def close_with(self, message: object) -> None:
        """Say the last thing; that the program goes away then means nothing any more."""
        self._is_over = True
        self.tell(message)

    def ask(self, message: object) -> Any:
        """Say something and wait for the answer; None when there is nobody to give one."""
        self.tell(message)
        return None if self.is_cut else self._answers.get()


def exit_on_terminate() -> None:
    """Let TERM unwind the stack until the engine minds it, so that nothing temporary is left."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
