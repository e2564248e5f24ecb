"""What the crash tests share: a run that is made to die, and what must hold of the resume after it."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT, Project, clean_env, executions_of, runs_of
from workflow.checkpoint import store
from workflow.checkpoint.layout import TEMPORARY, CheckpointRoot

KILLED = -9
IS_LONG = os.environ.get("PROOF") == "long"

# The interpreter itself: a version manager's shim or a wrapper would make thousands of calls of its own.
PYTHON = os.path.realpath(sys.executable)


def program(*arguments: str) -> list[str]:
    """Return the command line of the program, for tracers and racers that start it themselves."""
    return [PYTHON, "-m", "workflow", *arguments]


def program_env(**extra: str) -> dict[str, str]:
    """Return a clean environment in which `program` finds what this interpreter finds."""
    paths = dict.fromkeys((str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    return clean_env({"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **extra})


def chooser() -> random.Random:
    """Return a seeded source of choices; the seed is printed, CRASH_SEED repeats it."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"repeat with CRASH_SEED={seed}")
    return random.Random(seed)


def sample(points: Sequence[int], most: int) -> list[int]:
    """Return at most that many of the points, sorted, chosen by the printed seed."""
    return sorted(chooser().sample(list(points), min(most, len(points))))


class Crashed(NamedTuple):
    """What a dead runner left. `run` None: it died before there was anything to resume."""

    run: Path | None
    done: frozenset[int]


def what_is_left(project: Project) -> Crashed:
    """Look at the newest run that can be resumed. Fails at a marker that is there and not whole."""
    for run in reversed(runs_of(project.path)):
        if (run / "workflow.json").exists():
            markers = store.read_markers(CheckpointRoot(str(run.parent)).run(run.name))
            assert not markers.damaged, f"a kill left a marker that is not whole: {markers.damaged}"
            return Crashed(run, frozenset(markers.whole))
    return Crashed(None, frozenset())


def resume(project: Project, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Carry on the newest run, or begin one where the first died before there was anything to resume."""
    words = ("resume",) if what_is_left(project).run else ("run", "--resume")
    return project.run(*words, *arguments, timeout=timeout)


def wait_for_orphans(project: Project, seconds: float = 10.0) -> None:
    """Wait until no worker of a dead runner lives any more: then nothing changes behind the test's back."""

    def are_gone() -> bool:
        for path in project.path.glob(".checkpoints/*/state/worker_*.lock"):
            with open(path, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
        return True

    wait_for(are_gone, seconds, "the end of the orphans")


def assert_recovers(project: Project, steps: int) -> None:
    """Resume, and check the promise: nothing lost, nothing that was complete run again, at most one step twice."""
    left = what_is_left(project)
    before = Counter(executions_of(project.path))
    result = resume(project)
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "Traceback" not in told, told
    assert "this is a bug" not in told, told
    now = what_is_left(project)
    assert now.run is not None
    assert left.run is None or now.run == left.run, "the resume began a new run instead"
    assert now.done == frozenset(range(steps)), told
    counts = Counter(executions_of(project.path))
    assert set(counts) == {f"{number:02d}" for number in range(steps)}, f"a step never ran: {counts}"
    assert max(counts.values()) <= 2, f"a step ran more than twice: {counts}"
    twice = {number for number, times in counts.items() if times == 2}
    assert len(twice) <= 1, f"more than one step ran twice: {counts}"
    again = [number for number in left.done if counts[f"{number:02d}"] != before[f"{number:02d}"]]
    assert not again, f"a completed step ran again: {again}\n{told}"
    assert leftovers(now.run) == []


def leftovers(run: Path) -> list[str]:
    """Return the temporary files in a run directory and all below it."""
    return [
        os.path.join(directory, name)
        for directory, _, names in os.walk(run)
        for name in names
        if name.startswith(TEMPORARY)
    ]


@contextmanager
def kept_for_reuse(project: Project, beside: Path) -> Iterator[Snapshot]:
    """Copy the project so that many kills can begin from the same state, at the same path."""
    copy = beside / "as-it-was"
    shutil.copytree(project.path, copy, symlinks=True)
    yield Snapshot(project, copy)
    shutil.rmtree(copy)


class Snapshot(NamedTuple):
    """A copy of a project that `restore` puts back in its place."""

    project: Project
    copy: Path

    def restore(self) -> None:
        shutil.rmtree(self.project.path)
        shutil.copytree(self.copy, self.project.path, symlinks=True)


def start_over(project: Project) -> None:
    """Remove every run and what the steps wrote."""
    shutil.rmtree(project.path / ".checkpoints", ignore_errors=True)
    for name in ("ran.txt", "stdout.txt", "stderr.txt"):
        (project.path / name).unlink(missing_ok=True)


def wait_for(condition: object, seconds: float = 10.0, what: str = "it") -> None:
    """Wait until `condition()` is true; the test fails when that takes longer than `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up_at, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
