"""Every name and path of the checkpoint directory, once."""

from __future__ import annotations

import os
import re

FORMAT_VERSION = "3.0.0"

RUN_ID = re.compile(r"workflow_\d{8}_\d{6}(?:_\d+)?\Z")

MASTER = "checkpoint.json"
DEFINITION = "workflow.json"
STEPS_SH = "steps.sh"
RESUME_SH = "resume.sh"
STATE_DIR = "state"
LOGS_DIR = "logs"
LIB_DIR = "lib"
SNAPSHOTS_DIR = "snapshots"
COPIES_DIR = "archive"
METRICS_DIR = "metrics"
PINNED = "pinned"
ABANDONED = "abandoned"
IMPORTED = "imported"
TRASH = ".trash-"  # a run that is being removed, under the lock of nobody: swept by the next cleaner
ARCHIVE_ENDINGS = (".tar.gz", ".tar.zst")
SNAPSHOT_ID = re.compile(r"(workflow_\d{8}_\d{6}(?:_\d+)?)@(\d+)\Z")
CACHE_DIR = "cache"
AUDIT = "audit.jsonl"
DAMAGED = ".damaged"
TEMPORARY = ".tmp-"

# The shell programs that resume.sh needs beside it, in the order in which it reads them.
LIBRARY = ("step_execution.sh", "run_locks.sh", "step_records.sh", "step_rules.sh", "workflow_optimization.sh")


def label(number: int) -> str:
    """Return the number as file names show it: two digits at least."""
    return f"{number:02d}"


class CheckpointRoot:
    """The checkpoint directory of a project (`.checkpoints`)."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, run_id: str) -> RunLayout:
        return RunLayout(os.path.join(self.path, run_id))

    @property
    def readme(self) -> str:
        return os.path.join(self.path, "README.md")

    @property
    def gitignore(self) -> str:
        return os.path.join(self.path, ".gitignore")

    @property
    def cache(self) -> str:
        return os.path.join(self.path, CACHE_DIR)

    @property
    def audit(self) -> str:
        """Who did what to the runs here, one JSON object a line; only ever added to."""
        return os.path.join(self.path, AUDIT)

    @property
    def history(self) -> str:
        return os.path.join(self.path, CACHE_DIR, "history.jsonl")


class RunLayout:
    """The directory of one run. `path` is absolute.

    `archive` is set where the directory is only a copy for reading of what an archive holds: the path of that.
    """

    __slots__ = ("archive", "path", "run_id")

    def __init__(self, path: str, archive: str | None = None) -> None:
        self.path = path
        self.archive = archive
        self.run_id = os.path.basename(path)

    def __fspath__(self) -> str:
        return self.path

    @property
    def master(self) -> str:
        return f"{self.path}/{MASTER}"

    @property
    def definition(self) -> str:
        return f"{self.path}/{DEFINITION}"

    @property
    def steps_sh(self) -> str:
        return f"{self.path}/{STEPS_SH}"

    @property
    def resume_sh(self) -> str:
        return f"{self.path}/{RESUME_SH}"

    @property
    def lib(self) -> str:
        return f"{self.path}/{LIB_DIR}"

    @property
    def state_dir(self) -> str:
        return f"{self.path}/{STATE_DIR}"

    @property
    def logs_dir(self) -> str:
        return f"{self.path}/{LOGS_DIR}"

    @property
    def programs(self) -> tuple[str, ...]:
        """DERIVED: what shells read of the run, each sealed."""
        return (self.steps_sh, self.resume_sh, *(f"{self.lib}/{name}" for name in LIBRARY))

    @property
    def snapshots_dir(self) -> str:
        return f"{self.path}/{SNAPSHOTS_DIR}"

    def snapshot(self, number: int, trigger: str) -> str:
        """HISTORY: the state of the run at one moment; `trigger` is manual, auto, error or completion."""
        return f"{self.path}/{SNAPSHOTS_DIR}/{number:04d}_{trigger}.json"

    @property
    def copies_dir(self) -> str:
        """HISTORY: copies of the definition, of step sources and of the files that steps name with `archive`."""
        return f"{self.path}/{COPIES_DIR}"

    @property
    def copies_index(self) -> str:
        """Beside the copies: which file each of them is of, a line each."""
        return f"{self.path}/{COPIES_DIR}/index.jsonl"

    @property
    def metrics_dir(self) -> str:
        """HISTORY: the state and the metrics of the run at moments, for people and for monitors."""
        return f"{self.path}/{METRICS_DIR}"

    @property
    def spending(self) -> str:
        """TRUTH: what attempts of steps cost, a line each; durable before the step counts as done."""
        return f"{self.path}/{STATE_DIR}/spending"

    @property
    def pinned(self) -> str:
        """A person's word that the run is to be kept: nothing that cleans removes it."""
        return f"{self.path}/{PINNED}"

    @property
    def abandoned(self) -> str:
        """A person's word, or the retention's, that nobody will carry the run on."""
        return f"{self.path}/{ABANDONED}"

    @property
    def imported(self) -> str:
        """Where an imported run came from; it is carried on only by who says that they trust it."""
        return f"{self.path}/{STATE_DIR}/{IMPORTED}"

    @property
    def trusted(self) -> str:
        """What `imported` is called once somebody said that they trust it."""
        return f"{self.path}/{STATE_DIR}/{IMPORTED}.trusted"

    @property
    def archives(self) -> tuple[str, ...]:
        """Where the archives of the run are, if it has any; where the directory is there too, that counts."""
        return tuple(self.path + ending for ending in ARCHIVE_ENDINGS)

    def marker(self, number: int) -> str:
        return f"{self.path}/step_{number:02d}.complete"

    def state(self, number: int) -> str:
        return f"{self.path}/{STATE_DIR}/step_{number:02d}_state.json"

    def log(self, number: int) -> str:
        return f"{self.path}/{LOGS_DIR}/step_{number:02d}.log"

    def output(self, number: int) -> str:
        """What the step appended to WORKFLOW_OUTPUT in its last attempt."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.output"

    def env(self, number: int) -> str:
        """What the step appended to WORKFLOW_ENV in its last attempt."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.env"

    def summary(self, number: int) -> str:
        """What the step appended to WORKFLOW_SUMMARY."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.summary.md"

    def events(self, number: int) -> str:
        """Warnings, errors and progress the step reported through the functions of lib/step_execution.sh."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.events"

    def script(self, number: int) -> str:
        """The text of a step that is no file of its own, as its interpreter reads it."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.script"

    def given(self, number: int) -> str:
        """DERIVED: the values a step gets from the steps it waits for, where not every step gets the same."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.values"

    def approval(self, number: int) -> str:
        """TRUTH: what a person answered when the step asked for approval, and who, and when."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.approval"

    def iteration(self, number: int, iteration: int) -> str:
        """TRUTH: the marker of one iteration (from 1) of a step with `repeat`."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.iteration_{iteration:02d}.complete"

    def own_dir(self, number: int) -> str:
        """WORKFLOW_STATE: the step's own directory, kept across attempts and resumes."""
        return f"{self.path}/{STATE_DIR}/step_{number:02d}.d"

    @property
    def values(self) -> str:
        """DERIVED: every published value so far, as the workers load them."""
        return f"{self.path}/{STATE_DIR}/values"

    @property
    def epoch(self) -> str:
        """TRUTH: how often the run has been started or resumed, one number."""
        return f"{self.path}/{STATE_DIR}/epoch"

    @property
    def lock(self) -> str:
        return f"{self.path}/{STATE_DIR}/run.lock"

    @property
    def holder(self) -> str:
        """Beside the lock: who holds it, for people."""
        return f"{self.path}/{STATE_DIR}/run.holder"

    def worker_lock(self, worker: int) -> str:
        return f"{self.path}/{STATE_DIR}/worker_{worker}.lock"

    def worker_running(self, worker: int) -> str:
        """Which attempts a worker has in hand and are not committed yet."""
        return f"{self.path}/{STATE_DIR}/worker_{worker}.running"

    def exits(self, worker: int) -> str:
        return f"{self.path}/{STATE_DIR}/worker_{worker}.exits"
