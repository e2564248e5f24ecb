"""What a workflow, a step, a run and a decision are: plain values, no I/O.

Paths are `str` as `os.fsdecode` gives them, so names that are not UTF-8 survive.
Durations are seconds as float (`_s`); instants are UTC seconds since the epoch (`_at`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
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


class Input(NamedTuple):
    """Files a step depends on: a path, a directory (all below it) or a pattern, from its working directory.

    `empty` says what it means when it stands for nothing: `error`, `warn` or `ignore`.
    """

    pattern: str
    empty: str = "warn"


class Smart(NamedTuple):
    """Whether and how steps are reused whose world has not changed. `changes` is `content` or `git`, against `base`.

    `ignores_comments`: an edit of nothing but comments in a shell script does not count.
    """

    enabled: bool = False
    ignores_comments: bool = False
    changes: str = "content"
    base: str = "HEAD"


class Retries(NamedTuple):
    """When an attempt that failed is followed by another.

    `limit` counts the attempts after the first; 0 means none. The wait before retry k (from 1) is
    `delay_s * backoff ** (k - 1)`, at most `max_delay_s`, plus a random share of it up to `jitter` (0 to 1).
    `on_exit` holds exit codes as text and classes of failure (`RETRY_CLASSES`); empty means any failure.
    """

    limit: int = 0
    delay_s: float = 0.0
    backoff: float = 1.0
    max_delay_s: float | None = None
    jitter: float = 0.0
    on_exit: tuple[str, ...] = ()


RETRY_CLASSES = ("exit", "timeout", "oom", "signal", "no_space", "output_missing")


class Repeat(NamedTuple):
    """A step that runs again and again: until the shell test `until` holds (empty: never asked).

    `max_iterations` None means no bound. With a test, reaching the bound first is a failure; without, it is the end.
    """

    until: str = ""
    max_iterations: int | None = None


class Rules(NamedTuple):
    """How a step is scheduled: what hardly any step has, so most of them share one `NO_RULES`.

    `condition` is a shell test, or `always` or `failure`; empty means none. `lock` is the name of a mutex
    of this machine, empty for none. `cpus` 0 means one, `memory_bytes` 0 none that counts.
    `matrix` holds the values that made this step one of many; they are in its environment.
    `matrix_of` is the name that all steps of that matrix go by.
    `approval` is what a person is asked before the step starts; empty: nobody is asked.
    """

    condition: str = ""
    continue_on_error: bool = False
    retries: Retries = Retries()
    lock: str = ""
    cpus: float = 0.0
    memory_bytes: int = 0
    matrix: tuple[tuple[str, str], ...] = ()
    matrix_of: str = ""
    approval: str = ""
    repeat: Repeat | None = None

    @property
    def is_at_the_end(self) -> bool:
        """Whether it runs whatever became of the steps before it (`if: always`, `if: failure`)."""
        return self.condition in ("always", "failure")

    @property
    def test(self) -> str:
        """The shell test that decides whether the step runs; empty for none."""
        return "" if self.is_at_the_end else self.condition


NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step, exactly one of `script` (a file, run as it is) and `text` (a `run:` or a cell).

    `interpreter` None means the kernel reads the script's own `#!` line.
    `script`, `working_directory` and `outputs` are relative to the project where they lie inside it.
    `needs` holds numbers of steps; None means plain order (every step before its block). `group` is the
    name of the parallel group it is in; neighbours (by number) of one group are a block, any other step
    is one of its own.
    `content_digest` is `blake3:<hex>` of the script file or text at the time the definition was read.
    `archive` holds files, from its working directory, of which the run keeps copies.
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
    group: str | None = None
    rules: Rules = NO_RULES
    inputs: tuple[Input, ...] = ()
    side_effects: str = "none"
    archive: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The number as every file name shows it: two digits at least."""
        return f"{self.number:02d}"

    @property
    def title(self) -> str:
        """Number and name, as every message shows them."""
        return f"{self.number:02d} {self.name}"


class Retention(NamedTuple):
    """Which runs are kept at the end of a run and by `checkpoint clean`. None: no such limit.

    `keep_failed`: failed and paused runs stay whatever their age; `keep_completed` False: completed runs go at once.
    """

    max_age_days: float | None = 7.0
    max_count: int | None = 50
    keep_failed: bool = True
    keep_completed: bool = True


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """The `checkpoints:` section. `directory` is relative to the project unless absolute.

    `enabled` False: nothing of the run is kept. `interval_minutes` and `task_interval` say how often a snapshot is
    made (None: not by the clock, not by steps); at most `max_snapshots` of a run are kept. `validate_on_resume`: a
    resume looks whether declared outputs of completed steps are there; `strict_hash_check`: a validation compares
    their digests too. `compress`: a completed run becomes one archive. `max_size_mb` (10^6 bytes) bounds all runs
    together. `archive`: the run keeps copies of its sources. `metrics_interval` says after how many steps and
    iterations its metrics are written (None: not at all). `resume` `auto`: `workflow run` carries on what was cut off.
    """

    directory: str = ".checkpoints"
    durability: str = "full"  # full: durable before told; process: renamed at once, durable behind the next step
    private: bool = False
    enabled: bool = True
    interval_minutes: float | None = 5.0
    task_interval: int | None = None
    max_snapshots: int = 50
    validate_on_resume: bool = True
    strict_hash_check: bool = True
    compress: bool = False
    max_size_mb: float | None = None
    archive: bool = True
    metrics_interval: int | None = None
    resume: str = "manual"
    retention: Retention = field(default_factory=Retention)


HOOK_EVENTS = (
    "run_start",
    "step_start",
    "step_complete",
    "step_failed",
    "checkpoint",
    "run_complete",
    "run_failed",
    "run_paused",
)


class Hook(NamedTuple):
    """A shell command that runs when something happens; `event` is one of `HOOK_EVENTS`, `source` where it stands.

    `is_required`: the run stops when it fails; of any other only a warning tells. It is killed after `timeout_s`.
    """

    event: str
    command: str
    source: Source
    timeout_s: float = 60.0
    is_required: bool = False

    @property
    def title(self) -> str:
        """What messages call it. Not its text: that may hold what is nobody's business."""
        return f"{self.event} ({self.source})"


class Limits(NamedTuple):
    """What may run side by side: steps, and the sums of what they declare. None: what the machine has.

    `cost` and `tokens` bound what all steps and iterations of the run may spend together. None: no bound.
    """

    jobs: int | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    cost: float | None = None
    tokens: float | None = None


class GitSettings(NamedTuple):
    """The word `git`: whether the files of the work tree are committed with every snapshot, under refs of our own.

    `required`: a run does not start where that cannot be. Files beyond `max_file_mb` (10^6 bytes) are left out; of a
    work tree beyond `max_total_mb` or `max_files` nothing is kept. None: no such limit.
    """

    enabled: bool = False
    required: bool = False
    max_file_mb: float | None = 50.0
    max_total_mb: float | None = 2000.0
    max_files: int | None = 200_000


@dataclass(frozen=True, slots=True)
class Workflow:
    """A definition as resolved: `steps` sorted by number, numbers and names unique.

    `project` is the absolute directory that relative paths and steps start from;
    `source` is the file or directory the definition was read from (absolute).
    `time_limit_s` bounds the run as a whole, `limits` what runs side by side.
    `policy` is the file (absolute) that changed it, and `said_at` where each setting in `checkpoints` was written
    down, by its name (`retention.max_age_days`); those that are missing there are standard.
    `hooks` are no part of what is recorded: another hook makes no other plan, and no step run again.
    """

    name: str
    project: str
    source: str
    steps: tuple[Step, ...]
    time_limit_s: float | None = None
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    limits: Limits = field(default_factory=Limits)
    smart: Smart = field(default_factory=Smart)
    git: GitSettings = field(default_factory=GitSettings)
    policy: str | None = field(default=None, compare=False)
    said_at: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)
    hooks: tuple[Hook, ...] = field(default=(), compare=False)


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
        {
            Status.READY,
            Status.BYPASSED,
            Status.REUSED,
            Status.SKIPPED,
            Status.BLOCKED,
            Status.CANCELLED,
            Status.RUNNING,
            Status.WAITING,
        }
    ),
    Status.READY: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED, Status.SKIPPED, Status.FAILED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.WAITING, Status.SKIPPED}),
    Status.WAITING: frozenset({Status.READY, Status.RUNNING, Status.FAILED, Status.CANCELLED, Status.BLOCKED}),
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

    `kind` is one of `exit`, `signal`, `timeout`, `oom` (the kernel killed it for want of memory), `no_space`,
    `output_missing`, `output_malformed`, `worker_lost`, `not_started`, `interrupted`, `condition` (its `if` or
    `until` gave neither yes nor no), `repeat` (its bound came before its end), `rejected` (a person said no).
    `message` is one sentence for people.
    """

    kind: str
    message: str


class Attempt(NamedTuple):
    """One try at a step. `exit_code` is None while unknown, 128+n when signal n ended the step's shell.

    `retries` counts what `retries` of the step started so far, this attempt included; a person's run is none.
    """

    number: int
    epoch: int
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    timed_out: bool = False
    log_offset_bytes: int = 0
    adopted: bool = False
    retries: int = 0

    @property
    def signal(self) -> int | None:
        """Signal number as the shell reports it (POSIX 2.8.2: a status above 128), else None."""
        if self.exit_code is not None and 128 < self.exit_code < 193:
            return self.exit_code - 128
        return None
