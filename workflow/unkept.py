"""A run of which nothing is kept: its files lie in a private temporary directory, which goes with it.

Workers and logs need a place while the run goes on; the project is not it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from workflow.checkpoint.layout import CheckpointRoot
from workflow.checkpoint.temporary import make_private_directory, remove_private_directory
from workflow.errors import NotRecordedError, one_line

STANDARD_PLACE = "/tmp"
PREFIX = "workflow-unkept-"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def temporary_root(place: str | None) -> Iterator[CheckpointRoot]:
    """Give a checkpoint directory that only we may read, and remove it at the end, whatever that is.

    `place` is what TMPDIR says. Only a death that nobody can catch (SIGKILL, power) leaves the directory behind.
    Raises NotRecordedError when it cannot be made, or not be removed.
    """
    parent = os.path.abspath(place or STANDARD_PLACE)
    # Between the signals that the engine catches and the end of the process, too.
    before = _exit_on_signals()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        path = _make(parent)
        try:
            # From here on whatever comes finds the directory where it will be removed.
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            yield CheckpointRoot(path)
        except NotRecordedError as error:
            error.help = help_of(error.help)
            raise
        finally:
            for number in before:  # a second Ctrl-C is not to leave half of it behind
                signal.signal(number, signal.SIG_IGN)
            remove_private_directory(path)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for number, handler in before.items():
            signal.signal(number, handler)


def _make(parent: str) -> str:
    try:
        return make_private_directory(parent, PREFIX)
    except NotRecordedError as error:
        reason = error.message.rpartition(": ")[2]
        raise NotRecordedError(
            f"a run of which nothing is kept needs a place for its logs, and {one_line(parent)} is none: {reason}",
            help="set TMPDIR to a directory that can be written: TMPDIR=DIR workflow run --no-checkpoint",
        ) from error


def help_of(advice: str) -> str:
    """Return a help line as it is right where there is nothing that could be resumed."""
    return advice.replace("carry on with: workflow resume", "start again: workflow run").replace(
        "choose another with --checkpoint-dir DIR", "set TMPDIR to another"
    )


def _exit_on_signals() -> dict[int, signal._HANDLER]:
    """Make signals that would end us at once unwind the stack instead; return the handlers there were."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, signal._HANDLER] = {}
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _exit)
    return before


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
