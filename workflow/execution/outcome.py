"""What an ended attempt amounts to: exit code, declared outputs and published values, judged in one place.

The engine uses it for steps it saw end, adoption for those whose runner died.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from workflow.checkpoint import values
from workflow.checkpoint.layout import RunLayout
from workflow.errors import duration_text, listed, one_line
from workflow.model import Failure, Step

TAIL_LINES = 10
TAIL_BYTES = 16 * 1024


class Outcome(NamedTuple):
    """`failure` None means that the step did what it promised.

    `files` are the declared outputs that are there, as paths that open from anywhere;
    after a failure they are partial. `snapshots` are the names it gave step_checkpoint, in order.
    """

    failure: Failure | None
    outputs: dict[str, str]
    env: dict[str, str]
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()


class Said(NamedTuple):
    """What a step said through the functions of lib/step_execution.sh."""

    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    progress: tuple[int, int] | None = None


# What programs say for ENOSPC and EDQUOT (strerror of glibc and musl), in the language of the C locale.
NO_SPACE_SIGNS = ("No space left on device", "Disk quota exceeded", "Quota exceeded")
NOTHING: dict[str, str] = {}
NOTHING_SAID = Said()


def judge(
    layout: RunLayout,
    project: str,
    step: Step,
    exit_code: int | None,
    *,
    timed_out: bool = False,
    interrupted: bool = False,
    out_of_memory: bool = False,
    log_offset_bytes: int = 0,
) -> Outcome:
    """Return what an attempt that ended with `exit_code` amounts to (None: nobody knows how it ended).

    `out_of_memory`: the kernel killed something for want of memory meanwhile. `log_offset_bytes` is where
    the log of the attempt begins.
    """
    failure = _failure(step, exit_code, timed_out, interrupted)
    if failure is not None and failure.kind in ("exit", "signal"):
        failure = _of_resources(failure, layout.log(step.number), log_offset_bytes, exit_code, out_of_memory)
    outputs = env = NOTHING
    try:
        outputs, env = _published(layout.output(step.number)), _published(layout.env(step.number))
    except values.ValuesError as error:
        failure = failure or Failure("output_malformed", f"exit code 0, but what it published cannot be read: {error}")
    heard = said(layout, step.number)
    if not step.outputs:
        return Outcome(failure, outputs, env, (), *heard[:3])
    paths = [output_path(project, step, name) for name in step.outputs]
    there = tuple(path for path in paths if os.path.lexists(path))
    if failure is None and len(there) < len(paths):
        missing = [one_line(name) for name, path in zip(step.outputs, paths, strict=True) if path not in there]
        failure = Failure("output_missing", f"exit code 0, but it did not make {listed(missing)}")
    return Outcome(failure, outputs, env, there, *heard[:3])


def output_path(project: str, step: Step, name: str) -> str:
    """Return where a declared output lies; relative ones start from the step's working directory."""
    return os.path.normpath(os.path.join(project, step.working_directory, name))


def _failure(step: Step, exit_code: int | None, timed_out: bool, interrupted: bool) -> Failure | None:
    if timed_out:
        limit = f"{duration_text(step.timeout_s)}" if step.timeout_s else "the run's limit"
        return Failure("timeout", f"ran out of time (limit {limit})")
    if interrupted:
        return Failure("interrupted", "was interrupted")
    if exit_code is None:
        return Failure("worker_lost", "its shell was killed together with the worker that ran it")
    if exit_code == 0:
        return None
    if 128 < exit_code < 193:
        try:
            name = signal.Signals(exit_code - 128).name
        except ValueError:
            name = f"signal {exit_code - 128}"
        return Failure("signal", f"killed by {name} (exit code {exit_code})")
    if exit_code == 127:
        return Failure("exit", "exit code 127: a command was not found")
    if exit_code == 126:
        return Failure("exit", "exit code 126: a command could not be executed")
    return Failure("exit", f"exit code {exit_code}")


def _of_resources(
    failure: Failure, log: str, log_offset_bytes: int, exit_code: int | None, out_of_memory: bool
) -> Failure:
    """Return the failure as one of memory or space where that is what it was."""
    if out_of_memory and exit_code == 128 + signal.SIGKILL:
        return Failure("oom", "killed by the kernel for want of memory (exit code 137)")
    text = "\n".join(log_tail(log, log_offset_bytes))
    if any(sign in text for sign in NO_SPACE_SIGNS):
        return Failure("no_space", f"{failure.message}; the disk was full (see its log)")
    return failure


def _read(path: str) -> bytes | None:
    # Most steps publish nothing: a glance costs less than an exception.
    if not os.access(path, os.F_OK):
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(64 * 1024 * 1024)


def _published(path: str) -> dict[str, str]:
    data = _read(path)
    return values.decode(data) if data else NOTHING


def said(layout: RunLayout, number: int) -> Said:
    """Return what a step said so far; of its progress the last."""
    data = _read(layout.events(number))
    if not data:
        return NOTHING_SAID
    lines = data.decode("utf-8", "replace").split("\n")
    return Said(
        tuple(line[8:] for line in lines if line.startswith("warning ")),
        tuple(line[6:] for line in lines if line.startswith("error ")),
        tuple(line[11:] for line in lines[:-1] if line.startswith("checkpoint ")),
        next((found for line in reversed(lines) if (found := _progress(line)) is not None), None),
    )


def _progress(line: str) -> tuple[int, int] | None:
    words = line.split()
    is_progress = len(words) == 3 and words[0] == "progress" and words[1].isdigit() and words[2].isdigit()
    return (int(words[1]), int(words[2])) if is_progress else None


def log_tail(path: str, from_bytes: int = 0) -> tuple[str, ...]:
    """Return the last ten lines of a log (from an offset on), bytes that are no UTF-8 replaced."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(from_bytes, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError:
        return ()
    lines = data.decode("utf-8", "replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return tuple(line.rstrip("\r") for line in lines[-TAIL_LINES:])
