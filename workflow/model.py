"""What a workflow, a step, a run and a decision are: plain values, no I/O.

Paths are `str` as `os.fsdecode` gives them, so names that are not UTF-8 survive.
Durations are seconds as float (`_s`); instants are UTC seconds since the epoch (`_at`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

DEFAULT_SHELL = ("sh",)
TEXT_SHELL = ("sh", "-e")


class Source(NamedTuple):
    """Where a step was written down: `line` counts from 1, 0 means the file as a whole."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step, exactly one of `script` (a file, run as it is) and `text` (a `run:` or a cell).

    `interpreter` None means the kernel reads the script's own `#!` line.
    `script`, `working_directory` and `outputs` are relative to the project where they lie inside it.
    `needs` holds numbers of steps; None means plain order (every step with a smaller number).
    `content_digest` is `blake3:<hex>` of the script file or text at the time the definition was read.
    """

    number: int
    name: str
    source: Source
    script: str | None = None
    text: str | None = None
    interpreter: tuple[str, ...] | None = None
    content_digest: str = ""
    working_directory: str = "."
    env: tuple[tuple[str, str], ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    needs: tuple[int, ...] | None = None
    outputs: tuple[str, ...] = ()
    timeout_s: float | None = None
    interactive: bool = False
    on_interrupt: str = "rerun"

    @property
    def label(self) -> str:
        """The number as every file name shows it: two digits at least."""
        return f"{self.number:02d}"

    @property
    def title(self) -> str:
        """Number and name, as every message shows them."""
        return f"{self.number:02d} {self.name}"


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """The `checkpoints:` section. `directory` is relative to the project unless absolute."""

    directory: str = ".checkpoints"
    durability: str = "full"  # full: durable before told; process: renamed at once, durable behind the next step
    private: bool = False


@dataclass(frozen=True, slots=True)
class Workflow:
    """A definition as resolved: `steps` sorted by number, numbers and names unique.

    `project` is the absolute directory that relative paths and steps start from;
    `source` is the file or directory the definition was read from (absolute).
    """

    name: str
    project: str
    source: str
    steps: tuple[Step, ...]
    time_limit_s: float | None = None
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)


class Status(enum.Enum):
    """The life of a step. The values are what stands in the step state file."""

    PENDING = "pending"
    READY = "ready"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "completed"
    BYPASSED = "bypassed"
    REUSED = "reused"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


TERMINAL = frozenset(
    {Status.SUCCEEDED, Status.BYPASSED, Status.REUSED, Status.SKIPPED, Status.FAILED, Status.BLOCKED, Status.CANCELLED}
)

LEGAL_MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset(
        {Status.READY, Status.BYPASSED, Status.REUSED, Status.SKIPPED, Status.BLOCKED, Status.CANCELLED, Status.RUNNING}
    ),
    Status.READY: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED, Status.SKIPPED, Status.FAILED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.WAITING}),
    Status.WAITING: frozenset({Status.READY, Status.RUNNING, Status.FAILED, Status.CANCELLED}),
}


class RunStatus(enum.Enum):
    """What a run is, always worked out from markers and the lock."""

    CREATED = "created"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Reason(NamedTuple):
    """Why a decision was taken. `code` is one of `REASON_CODES`, `detail` a short phrase for people."""

    code: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


REASON_CODES = (
    "forced",
    "never-run",
    "marker-damaged",
    "script-changed",
    "input-changed",
    "input-missing",
    "input-new",
    "output-missing",
    "output-changed",
    "env-changed",
    "upstream-changed",
    "definition-changed",
    "condition-false",
    "completed",
    "no_relevant_changes",
    "not-selected",
)


class Choice(enum.Enum):
    """What will be done with a step. LEAVE: not part of what was asked for; it stays as it is."""

    RUN = "run"
    BYPASS = "bypass"
    REUSE = "reuse"
    SKIP = "skip"
    LEAVE = "leave"


class Decision(NamedTuple):
    """The choice for one step with all its reasons, most telling first (never empty)."""

    choice: Choice
    reasons: tuple[Reason, ...]


class Failure(NamedTuple):
    """Why an attempt failed.

    `kind` is one of `exit`, `signal`, `timeout`, `output_missing`, `output_malformed`, `worker_lost`,
    `not_started`, `interrupted`. `message` is one sentence for people.
    """

    kind: str
    message: str


class Attempt(NamedTuple):
    """One try at a step. `exit_code` is None while unknown, 128+n when signal n ended the step's shell."""

    number: int
    epoch: int
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    timed_out: bool = False
    log_offset_bytes: int = 0
    adopted: bool = False

    @property
    def signal(self) -> int | None:
        """Signal number as the shell reports it (POSIX 2.8.2: a status above 128), else None."""
        if self.exit_code is not None and 128 < self.exit_code < 193:
            return self.exit_code - 128
        return None
