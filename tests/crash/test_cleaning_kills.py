"""Cleaners killed at any operation, two at once, and one beside a live run: each run is whole or gone."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import hanging_step, start_until, tree
from tests.conftest import Project
from tests.crash.recovering import program, program_env
from tests.crash.test_fault_points import COUNT
from tests.crash.test_strace_kills import _why_not
from tests.crash.traced_calls import calls_made
from tests.keeping.old_runs import completed, copied, failed, may_fail

VERBS = {
    "clean": ("checkpoint", "clean", "--older-than", "7d", "--yes"),
    "delete": ("checkpoint", "delete", "OLDEST", "OLDER", "--yes"),
    "prune": ("checkpoint", "prune", "--force"),
    "retention": ("checkpoint", "clean", "--force"),
}
KILLED = -9
# All that a cleaner does to change something, as the kernel sees it.
CALLS = ("rename", "unlinkat", "fsync", "write")


class Many:
    """Four runs, each of which can be put back as it was."""

    def __init__(self, path: Path) -> None:
        self.project = Project(path)
        may_fail(self.project)
        done = completed(self.project, 1)
        bad = failed(self.project, 0)
        self.oldest, self.older = copied(done, 20).name, copied(bad, 10).name
        self.kept = Path(f"{path}-kept")
        shutil.copytree(path / ".checkpoints", self.kept, symlinks=True)
        self.whole = {it.name: files_of(it) for it in self.project.runs}

    def restore(self) -> None:
        shutil.rmtree(self.project.path / ".checkpoints")
        # With the times: what is old must stay old.
        shutil.copytree(self.kept, self.project.path / ".checkpoints", symlinks=True)

    def words(self, verb: str) -> list[str]:
        return [it.replace("OLDEST", self.oldest).replace("OLDER", self.older) for it in VERBS[verb]]

    def assert_whole_or_gone(self, what: str) -> None:
        for run in self.project.runs:
            files = files_of(run)
            files.pop("abandoned", None)
            assert files == self.whole[run.name], f"{what}: {run.name} is half gone"

    def left(self) -> set[str]:
        return {it.name for it in self.project.runs}


def files_of(run: Path) -> dict[str, object]:
    return {name: facts[-1] for name, facts in tree(run).items() if not name.startswith(".tmp-")}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    path = tmp_path_factory.mktemp("many") / "project"
    path.mkdir()
    return Many(path)


def operations_of(many: Many, verb: str) -> list[str]:
    many.restore()
    counted = subprocess.run(
        [sys.executable, "-c", COUNT, *many.words(verb)],
        cwd=many.project.path,
        env={**os.environ, "WORKFLOW_FAULT": "count", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, seen = json.loads(counted.stderr.splitlines()[-1])
    assert code == 0, counted.stderr
    return list(seen)


def kill_and_clean_again(many: Many, verb: str, plan: str) -> bool:
    """Let the verb die at the fault point; look; let the next cleaner end it. Return whether it died there."""
    many.restore()
    died = many.project.run(*many.words(verb), env={"WORKFLOW_FAULT": plan})
    assert died.returncode in (KILLED, 0), died.stderr
    many.assert_whole_or_gone(f"{verb} with WORKFLOW_FAULT={plan}")
    status = many.project.run("status")
    assert status.returncode in (0, 3)
    assert "Traceback" not in status.stderr
    again = many.project.run(*many.words("clean" if verb == "delete" else verb))
    assert again.returncode == 0, again.stderr
    root = many.project.path / ".checkpoints"
    assert [it for it in os.listdir(root) if it.startswith(".trash-")] == []
    expected = {"clean": 2, "delete": 2, "prune": 0, "retention": 3}[verb]
    assert len(many.left()) == expected
    return died.returncode == KILLED


@pytest.mark.parametrize("verb", VERBS)
def test_a_cleaner_killed_at_some_operation_leaves_runs_whole_or_gone(many: Many, verb: str) -> None:
    operations = operations_of(many, verb)
    assert {"rename", "fsync", "unlink", "rmdir"} <= set(operations)
    chosen = random.Random(verb)
    first = {operations.index(name) + 1 for name in ("rename", "fsync", "unlink", "rmdir")}
    points = sorted(first | set(chosen.sample(range(1, len(operations) + 1), 2)))
    died = sum(
        kill_and_clean_again(many, verb, f"any:{at}:die:{('before', 'after')[number % 2]}")
        for number, at in enumerate(points)
    )
    assert died == len(points)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_cleaner_killed_at_every_operation(many: Many, verb: str, moment: str) -> None:
    operations = operations_of(many, verb)
    died = sum(kill_and_clean_again(many, verb, f"any:{at}:die:{moment}") for at in range(1, len(operations) + 1))
    print(f"{verb}: {died} of {len(operations)} operations were the last, {moment}")
    assert died == len(operations)


def strace_kill(many: Many, verb: str, call: str, at: int) -> bool:
    many.restore()
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={at}"]
    killed = subprocess.run(
        ["strace", "-qq", "-f", "-o", os.devnull, *inject, *program(*many.words(verb))],
        cwd=many.project.path,
        env=program_env(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    many.assert_whole_or_gone(f"{verb} killed at {call} {at}")
    again = many.project.run(*many.words(verb))
    assert again.returncode == 0, again.stderr
    assert [it for it in os.listdir(many.project.path / ".checkpoints") if it.startswith(".trash-")] == []
    return killed.returncode != 0


@pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "strace works")
@pytest.mark.parametrize(("call", "points"), [("rename", (1, 2)), ("unlinkat", (1, 9)), ("fsync", (1,))])
def test_a_cleaner_killed_by_the_kernel(many: Many, call: str, points: tuple[int, ...]) -> None:
    """The same from outside: what the fault points do not pass cannot have been forgotten."""
    for at in points:
        assert strace_kill(many, "prune", call, at)


@pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "strace works")
@pytest.mark.parametrize("verb", ["clean", "prune"])
def test_a_cleaner_changes_nothing_in_another_way(many: Many, verb: str, tmp_path: Path) -> None:
    """What the long form below kills at is all that the command does."""
    many.restore()
    assert set(calls_made(many.words(verb), many.project.path, tmp_path / "trace.txt")) == set(CALLS)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "strace works")
@pytest.mark.parametrize("verb", ["clean", "prune"])
@pytest.mark.parametrize("call", CALLS)
def test_a_cleaner_killed_by_the_kernel_at_every_call(many: Many, call: str, verb: str, tmp_path: Path) -> None:
    many.restore()
    made = calls_made(many.words(verb), many.project.path, tmp_path / "trace.txt")[call]
    assert made > 0, f"{verb} makes no {call}"
    assert [at for at in range(1, made + 1) if not strace_kill(many, verb, call, at)] == []
    assert not strace_kill(many, verb, call, made + 1)


def test_cleaners_at_once_share_the_work(many: Many) -> None:
    many.restore()
    project = many.project
    root = project.path / ".checkpoints"
    for number in range(60):
        copied(root / many.oldest, 30, number + 1)
    words = [sys.executable, "-m", "workflow", "checkpoint", "prune", "--force", "--json"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    cleaners = [
        subprocess.Popen(words, cwd=project.path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [cleaner.communicate(timeout=60) for cleaner in cleaners]
    assert [cleaner.returncode for cleaner in cleaners] == [0, 0, 0], told
    removed = [it["run_id"] for out, _ in told for it in json.loads(out)["removed"]]
    assert len(removed) == len(set(removed)), "two of them say that they removed the same run"
    if project.runs:  # what one held while the other looked
        assert project.run("checkpoint", "prune", "--force").returncode == 0
    assert sorted(os.listdir(root)) == [".gitignore", "README.md", "audit.jsonl", "cache"]


def test_a_run_lives_through_cleaners_beside_it(project: Project) -> None:
    project.steps(2)
    project.run("-q")
    (project.path / "ran.txt").unlink()
    hanging_step(project, 2)
    runner = start_until(project, "here_02", "run")
    live = project.newest_run.name
    for _ in range(3):
        for words in (("prune", "--force"), ("clean", "--keep", "0", "--yes"), ("clean", "--older-than", "0", "--yes")):
            assert project.run("checkpoint", *words).returncode == 0
    assert [run.name for run in project.runs] == [live]
    (project.path / "go").touch()
    assert runner.wait(20) == 0
    assert project.executions == ["00", "01", "02"]
    assert project.markers == [0, 1, 2]


def test_starting_runs_live_through_cleaners(project: Project) -> None:
    """Between making its directory and taking its lock a run is held by nobody."""
    project.steps(1)
    loop = "n=0; while [ ! -e stop ] && [ $n -lt 200 ]; do"
    clean = "-m workflow checkpoint clean --older-than 0 --yes >>cleaned 2>&1"
    cleaner = subprocess.Popen(
        ["sh", "-c", f'{loop} "{sys.executable}" {clean}; n=$((n + 1)); done'],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    try:
        for _ in range(8):
            ended = project.run()
            assert ended.returncode == 0, ended.stderr
    finally:
        (project.path / "stop").touch()
        cleaner.wait(30)
    cleaned = (project.path / "cleaned").read_text()
    assert "removed 1 run" in cleaned
    assert "Traceback" not in cleaned
    assert project.executions == ["00"] * 8


def test_a_resume_of_a_run_that_is_being_removed_is_told(project: Project) -> None:
    """Whoever comes second is told, whether it has waited for the lock or found nothing."""
    may_fail(project)
    (project.path / "bad").touch()
    assert project.run("-q").returncode == 1
    run_id = project.newest_run.name
    # The cleaner dies where the run has just lost its name.
    assert (
        project.run("checkpoint", "prune", "--force", env={"WORKFLOW_FAULT": "rename:1:die:after"}).returncode == KILLED
    )
    gone = project.run("resume", run_id)
    assert gone.returncode == 3
    assert f"error: there is no run {run_id}" in gone.stderr
    assert project.run("checkpoint", "clean").returncode == 0
    assert [it for it in os.listdir(project.path / ".checkpoints") if it.startswith(".trash-")] == []
