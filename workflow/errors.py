"""One class per thing a caller can tell apart, each with its exit code; and the kit messages are made with.

Every message is `error: ` + what + where + one `help: ` line. Rendering is here so that the
command line, the library and the tests say the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

EXIT_OK = 0
EXIT_STEP_FAILED = 1
EXIT_USAGE = 2
EXIT_CHECKPOINT = 3
EXIT_WAITING = 4
EXIT_WORK_TO_DO = 10
EXIT_BUG = 70
EXIT_BUSY = 75
EXIT_TIMED_OUT = 124
EXIT_NOT_RECORDED = 125


class Problem(NamedTuple):
    """One thing wrong with a definition. `line` and `column` count from 1; 0 means unknown."""

    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    length: int = 1
    source_line: str = ""
    help: str = ""


class WorkflowError(Exception):
    """Anything this package raises on purpose. `help` is the next command or the nearest right name."""

    exit_code = EXIT_STEP_FAILED

    def __init__(self, message: str, *, help: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.where = where

    def __reduce__(self) -> tuple[object, ...]:
        # Told from one process to another as it is, whatever its kind wants to be made from.
        return _again, (type(self), self.args, dict(self.__dict__))

    def render(self) -> str:
        """Return the whole message, without a trailing newline."""
        lines = [f"error: {printable(self.message)}"]
        if self.where:
            lines.append(f"  --> {printable(self.where)}")
        if self.help:
            lines.append(f"help: {printable(self.help)}")
        return "\n".join(lines)


def _again(kind: type[WorkflowError], arguments: tuple[object, ...], facts: dict[str, object]) -> WorkflowError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(facts)
    return error


class UsageError(WorkflowError):
    """The command line asks for something that cannot be."""

    exit_code = EXIT_USAGE


class DefinitionError(WorkflowError):
    """The definition is wrong; `problems` holds every error found, in order of file and line (never empty)."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems[0].message)
        self.problems = tuple(problems)

    def render(self) -> str:
        blocks = [render_problem(problem) for problem in self.problems]
        if len(blocks) > 1:
            blocks.append(f"error: {count(len(self.problems), 'problem')} in the definition; nothing was run")
        return "\n\n".join(blocks)


class CheckpointError(WorkflowError):
    """A checkpoint is missing, damaged or of a newer version."""

    exit_code = EXIT_CHECKPOINT


class CheckpointNotFoundError(CheckpointError):
    """There is no checkpoint, or run, of that name in this place."""


class StepNotFoundError(CheckpointError):
    """A step that a checkpoint tells of is not in the workflow that is to carry it on."""


class NoCheckpointerError(UsageError):
    """A checkpoint was asked for of a workflow that keeps none."""


class RunBusyError(WorkflowError):
    """Another runner holds the run; the message says who."""

    exit_code = EXIT_BUSY


class NotRecordedError(WorkflowError):
    """What happened could not be recorded (full disk, I/O error): the run stops, earlier markers stay true."""

    exit_code = EXIT_NOT_RECORDED


class StoreError(NotRecordedError):
    """A store of checkpoints failed; `__cause__` is what it raised, where that was in this process."""


class InterruptedStepError(WorkflowError):
    """A step that was cut short must not run again by itself."""


class InvariantError(WorkflowError):
    """A broken promise inside workflow itself."""

    exit_code = EXIT_BUG

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message} (this is a bug in workflow)", help="run again with --debug and report the traceback"
        )


def render_problem(problem: Problem) -> str:
    """Return one problem as message, place, source line with caret, and help."""
    lines = [f"error: {printable(problem.message)}"]
    if problem.path:
        place = printable(problem.path)
        if problem.line:
            place += f":{problem.line}"
            if problem.column:
                place += f":{problem.column}"
        lines.append(f"  --> {place}")
    if problem.line and problem.source_line:
        gutter = str(problem.line)
        text = printable(problem.source_line.rstrip("\n").replace("\t", " "))
        lines.append(f"   {gutter} | {text}")
        if problem.column:
            caret = "^" * max(1, min(problem.length, len(text) - problem.column + 1))
            lines.append(f"   {' ' * len(gutter)} | {' ' * (problem.column - 1)}{caret}")
    if problem.help:
        lines.append(f"help: {printable(problem.help)}")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return `text` safe for a terminal and for UTF-8: control characters and stray bytes are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char == "\n"
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        if not 0xDC80 <= ord(char) <= 0xDCFF
        else f"\\x{ord(char) - 0xDC00:02x}"
        for char in text
    )


def one_line(text: str) -> str:
    """Return `text` as `printable` does, newlines escaped too: for names inside a sentence."""
    return printable(text).replace("\n", "\\n")


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 step`, `2 steps`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return `a, b and c`; beyond `most` names the rest is counted."""
    known = list(names)
    if len(known) > most:
        return f"{', '.join(known[:most])} and {len(known) - most:,} more"
    if len(known) < 2:
        return "".join(known)
    return f"{', '.join(known[:-1])} and {known[-1]}"


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known word most like `word`, or None when none is near: 1 wants the same word, 0 takes any."""
    from difflib import get_close_matches

    candidates = list(known)
    matches = get_close_matches(word, candidates, n=1, cutoff=cutoff)
    if not matches:
        matches = get_close_matches(word.lower(), candidates, n=1, cutoff=cutoff)
    return matches[0] if matches else None


def duration_text(seconds: float) -> str:
    """Return a duration as people say it: `0.4s`, `12s`, `3m05s`, `2h07m`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def size_text(size_bytes: int) -> str:
    """Return a size as people say it: `812 bytes`, `4.1 kB`, `37 MB`, `1.2 GB` (powers of 1000)."""
    if size_bytes < 1000:
        return count(size_bytes, "byte")
    amount = float(size_bytes)
    units = iter(("kB", "MB", "GB", "TB"))
    unit = "bytes"
    while amount >= 999.5 and unit != "TB":
        amount, unit = amount / 1000, next(units)
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"
