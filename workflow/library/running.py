"""Running a workflow in a process of its own, and hearing from it until it is over.

The program that calls keeps its signals, its children and its directory; several runs at once know nothing of each
other. Observers and stores are called in a thread that each run has for itself.
"""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any, NamedTuple

from workflow.errors import NotRecordedError, StoreError, UsageError, WorkflowError, one_line
from workflow.events import Event, Notice, Observer, Tick
from workflow.in_force import VARIABLES
from workflow.library import functions
from workflow.library.results import Collector, Result
from workflow.library.talking import Ended, Failed, Order, Planned, Question, Save, Told
from workflow.session import environment

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Ask = Callable[[str], bool]
# The very package that we are, and no module that happens to lie in the project under the name of one we need.
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CHILD = f"import sys; sys.path[0] = {_ROOT!r}; from workflow.library.child import main; main()"


class Surroundings(NamedTuple):
    """Where a run happens and who is asked. `keep` takes a state for the store; None: there is no store."""

    project: str
    environ: Mapping[str, str]
    observers: tuple[Observer, ...] = ()
    keep: Callable[[Save], None] | None = None
    ask: Ask | None = None
    approve: Ask | None = None


def environment_of(env: Mapping[str, str], *, is_kept_elsewhere: bool) -> dict[str, str]:
    """Return the environment of a run: ours, and what was given.

    With a checkpointer, which says where and whether runs are kept, what the environment says of that is left out.
    """
    environ = {**environment(), **{str(key): str(value) for key, value in env.items()}}
    if os.path.basename(_ROOT) not in ("site-packages", "dist-packages"):
        # Not installed where every Python finds it: the processes of functions need it, too.
        known = environ.get("PYTHONPATH", "").split(os.pathsep)
        environ["PYTHONPATH"] = os.pathsep.join([_ROOT, *(it for it in known if it and it != _ROOT)])
    return {key: value for key, value in environ.items() if not (is_kept_elsewhere and key in VARIABLES)}


class Running:
    """One run (or plan) that goes on; `interrupt` may be called from any thread, all else from one."""

    def __init__(self, order: Order, around: Surroundings) -> None:
        """Start it. Raises UsageError inside the loading of a step's function."""
        if functions.loading:
            raise UsageError(
                f"{one_line(functions.loading)} runs a workflow as soon as it is loaded, "
                "and a step only wants one of its functions",
                help='put what runs below: if __name__ == "__main__":',
            )
        self._around = around
        self._collector = Collector()
        self._observers: list[Observer] = list(around.observers)
        self._failure: BaseException | None = None
        ours, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno())],
                cwd=around.project,
                env=dict(around.environ),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # A group of its own: Ctrl-C at a terminal is for us, and we hand it on, once.
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise UsageError(
                f"no run can be started in {one_line(around.project)}: {error.strerror}", help="does it exist?"
            ) from error
        finally:
            theirs.close()
        self._line: Connection = ours
        self._send(order)

    def interrupt(self, number: int = signal.SIGTERM) -> None:
        """Bring the run to an orderly end: its steps are ended, what is complete stays complete."""
        self._process.send_signal(number)  # to nobody where it has ended

    def wait(self) -> Result:
        """Wait until the run is over. Raises WorkflowError for what kept it from starting, StoreError.

        A KeyboardInterrupt is handed on to the run as Ctrl-C, and raised when it has ended; the next ones insist.
        """
        result: Result = self._waited_for(self.hear)
        return result

    def plan(self) -> dict[str, Any]:
        """Return the plan document that was ordered. Raises WorkflowError."""
        document: dict[str, Any] = self._waited_for(self._hear_plan)
        return document

    def hear(self) -> Result:
        """Hear from the run until it is over, in this thread, which nothing may interrupt. Raises as `wait` does."""
        try:
            return self._result(self._last_word())
        finally:
            self._close()

    def _waited_for(self, hear: Callable[[], Any]) -> Any:
        """Hear in a thread: between a question and its answer Ctrl-C would leave the run waiting for ever."""
        done = threading.Event()
        ended: list[tuple[Any, BaseException | None]] = []

        def listen() -> None:
            try:
                ended.append((hear(), None))
            except BaseException as error:  # noqa: BLE001 raised by who waits
                ended.append((None, error))
            finally:
                done.set()

        thread = threading.Thread(target=contextvars.copy_context().run, args=(listen,), name="workflow", daemon=True)
        interrupted: KeyboardInterrupt | None = None
        while not done.is_set():
            try:
                if thread.ident is None:
                    thread.start()
                done.wait()
            except KeyboardInterrupt as error:
                interrupted = error
                self.interrupt(signal.SIGINT)
        result, failure = ended[0]
        if interrupted is not None:
            raise interrupted
        if failure is not None:
            raise failure
        return result

    def _hear_plan(self) -> dict[str, Any]:
        try:
            said = self._last_word()
        finally:
            self._close()
        if not isinstance(said, Planned):
            raise self._died()
        return said.document

    def _close(self) -> None:
        self._line.close()  # where we leave early the run hears of it, and ends
        self._process.wait()

    # ------------------------------------------------------------------ hearing

    def _result(self, said: object) -> Result:
        values: Mapping[str, str] = {}
        exit_code, left = 130, ""
        if isinstance(said, Ended):
            exit_code, values, left = said.exit_code, said.values, said.left
        if self._failure is not None:
            if left and isinstance(self._failure, WorkflowError):
                self._failure.help = f"{self._failure.help}; its directory is left: {one_line(left)}"
            raise self._failure
        if not isinstance(said, Ended):
            raise self._died()
        return self._collector.result(exit_code, values, self._died)

    def _died(self) -> WorkflowError:
        return NotRecordedError(
            "the process that ran the workflow ended before it was over",
            help="what is complete stays complete: resume() carries on",
        )

    def _last_word(self) -> object:
        """Return the last thing that the run says; None where it ended without a word."""
        while True:
            try:
                message = self._line.recv()
            except (EOFError, OSError):
                return None
            if isinstance(message, Told):
                self._tell(message.event)
                if not isinstance(message.event, Tick):
                    self._send(True)
            elif isinstance(message, Save):
                self._send(self._keep(message))
            elif isinstance(message, Question):
                self._send(self._answer(message))
            elif isinstance(message, Failed):
                error = message.error
                raise error if not message.traceback else _with_traceback(error, message.traceback)
            else:
                return message

    def _send(self, message: object) -> None:
        try:
            self._line.send(message)
        except OSError:  # it ended: what it said before is still to be heard
            return

    def _tell(self, event: Event) -> None:
        self._collector.on_event(event)
        for observer in tuple(self._observers):
            try:
                observer.on_event(event)
            except Exception as error:  # noqa: BLE001 observers may be anybody's
                self._observers.remove(observer)
                self._tell(Notice(f"{type(observer).__name__} stopped reporting: {error!r}"))

    def _keep(self, save: Save) -> str | None:
        if self._around.keep is None:
            return "there is no store"
        began = time.monotonic()
        try:
            self._around.keep(save)
        except StoreError as error:
            self._failure = self._failure or error
            return error.message
        self._collector.saves.append((len(save.state), time.monotonic() - began))
        return None

    def _answer(self, question: Question) -> bool:
        asked = self._around.approve if question.is_approval else self._around.ask
        try:
            return asked is not None and asked(question.text) is True
        except Exception as error:  # noqa: BLE001 it is the caller's; nobody answered
            self._failure = self._failure or error
            self.interrupt()
            return False


def _with_traceback(error: WorkflowError, text: str) -> WorkflowError:
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(text)
    return error


def observers_of(given: Iterable[Observer], *, show: bool) -> tuple[Observer, ...]:
    """Return who hears of a run; with `show` also who prints it as the command line does."""
    if not show:
        return tuple(given)
    from workflow.reporting.observers import make_observer
    from workflow.reporting.terminal import style

    shown = make_observer(
        stdout=sys.stdout, stderr=sys.stderr, style=style(isatty=sys.stdout.isatty(), environ=environment())
    )
    return (*given, shown)


def project_of(project: str | os.PathLike[str] | None) -> str:
    """Return the directory that steps start from: what was given, else where we are. Raises UsageError."""
    from workflow.session import project_directory

    return project_directory() if project is None else os.path.abspath(os.fspath(project))
