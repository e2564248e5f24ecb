"""Runners that die while a step lives on, and runners that meet: never two of them, never a step twice at once."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import IS_LONG, program, program_env, wait_for, wait_for_orphans, what_is_left
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import RunningNote
from workflow.execution import adoption

BUSY = 75
# Says when it begins and ends, so that two of them alive at once show; waits until it may end.
SLOW = "echo begin >>alive.txt\nuntil [ -e go ]; do sleep 0.02; done\necho 01 >>ran.txt\necho end >>alive.txt"


@pytest.fixture
def orphaned(project: Project) -> Iterator[Project]:
    """A project whose runner was killed while step 01 runs; it ends when the file `go` is there."""
    project.step(0)
    project.step(1, SLOW)
    project.step(2)
    kill_runner_in_step(project)
    yield project
    (project.path / "go").touch()
    wait_for_orphans(project)


def kill_runner_in_step(project: Project) -> None:
    runner = project.start("run")
    wait_for((project.path / "alive.txt").exists, what="step 01")
    wait_for((project.newest_run / "step_00.complete").exists, what="the marker of step 00")
    runner.kill()
    runner.wait()


class Waiting:
    """A resume that has said it waits for a step; `end` lets that step end and returns what the resume said."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.told = project.path.parent / "told.txt"
        with open(self.told, "wb") as file:
            self.process = subprocess.Popen(
                program("resume"),
                cwd=project.path,
                env=program_env(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: "still runs" in self.told.read_text() or self.process.poll() is not None, 20)

    def end(self) -> str:
        was_waiting = self.process.poll() is None
        (self.project.path / "go").touch()
        self.process.wait(timeout=20)
        wait_for_orphans(self.project)
        text = self.told.read_text()
        assert was_waiting, f"the resume did not wait:\n{text}"
        assert self.process.returncode == 0, text
        return text


def started(project: Project, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program(*words),
        cwd=project.path,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def begun(project: Project) -> int:
    return (project.path / "alive.txt").read_text().split().count("begin")


def assert_never_two_at_once(project: Project) -> None:
    alive = 0
    for word in (project.path / "alive.txt").read_text().split():
        alive += 1 if word == "begin" else -1
        assert alive <= 1, "two copies of a step were alive at once"


def test_a_step_that_ended_without_its_runner_is_adopted(orphaned: Project) -> None:
    """Case 1: its exit record is there; it does not run again, and the resume says so."""
    (orphaned.path / "go").touch()
    wait_for_orphans(orphaned)
    assert what_is_left(orphaned).done == {0}
    result = orphaned.run("resume")
    assert result.returncode == 0, result.stderr
    assert re.search(r"01 s1 completed after its runner had died; that outcome is taken over", result.stderr)
    assert orphaned.executions == ["00", "01", "02"]
    state = (orphaned.newest_run / "state/step_01_state.json").read_text()
    assert '"adopted": true' in state


def test_a_resume_waits_for_a_step_that_still_runs(orphaned: Project) -> None:
    """Case 1: it says whom it waits for and how to end it; the step runs once."""
    told = Waiting(orphaned).end()
    assert "step 01 s1 still runs" in told
    assert "--end-running" in told
    assert orphaned.executions == ["00", "01", "02"]
    assert_never_two_at_once(orphaned)


def test_a_step_that_still_runs_is_ended_on_request(orphaned: Project) -> None:
    """Case 1: --end-running ends it, and it runs again afterwards."""
    (orphaned.path / "steps/step_01_s1.sh").write_text("#!/bin/sh\necho 01 >>ran.txt\n")
    result = orphaned.run("resume", "--end-running")
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "ending step 01 s1" in told
    assert orphaned.executions == ["00", "01", "02"]
    assert begun(orphaned) == 1


def test_a_step_killed_together_with_its_runner_runs_again(orphaned: Project) -> None:
    """Case 1: no exit record, nobody alive."""
    end_everything_of(orphaned.newest_run)
    (orphaned.path / "go").touch()
    result = orphaned.run("resume")
    assert result.returncode == 0, result.stderr
    assert "taken over" not in result.stderr
    assert orphaned.executions == ["00", "01", "02"]
    assert begun(orphaned) == 2


def processes_of(run: Path) -> list[int]:
    """Return the processes that carry the mark of a run; its directory, as other tests have runs of this second."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"WORKFLOW_RUN_DIR={run}".encode() in environment:
                found.append(int(name))
    return found


def signal_if_there(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def end_everything_of(run: Path) -> None:
    for _ in range(100):
        pids = processes_of(run)
        if not pids:
            return
        for pid in pids:
            signal_if_there(pid, signal.SIGKILL)
        time.sleep(0.01)
    raise AssertionError("some processes of the run cannot be ended")


def change_boot(run: Path) -> None:
    """Make the note beside the lock one of an earlier boot of this machine."""
    holder = run / "state/run.holder"
    text = re.sub(r"BOOT_ID=.*", "BOOT_ID=00000000-0000-0000-0000-000000000000", holder.read_text())
    holder.write_text(text)


def test_an_exit_record_from_before_a_reboot_is_not_trusted(orphaned: Project) -> None:
    """A power cut: the record may have outlived the outputs it vouches for, so the step runs again."""
    (orphaned.path / "go").touch()
    wait_for_orphans(orphaned)
    change_boot(orphaned.newest_run)
    result = orphaned.run("resume")
    assert result.returncode == 0, result.stderr
    assert "taken over" not in result.stderr
    assert orphaned.executions == ["00", "01", "01", "02"]


@pytest.mark.parametrize("plan", ["fsync:1:die", "fsync:2:die", "open:3:die", "mkdir:1:die"])
def test_an_exit_record_from_before_a_reboot_is_not_trusted_by_the_second_resume_either(
    orphaned: Project, plan: str
) -> None:
    """Case 3: the first resume after the reboot dies before it has run anything."""
    (orphaned.path / "go").touch()
    wait_for_orphans(orphaned)
    change_boot(orphaned.newest_run)
    orphaned.run("resume", env={"WORKFLOW_FAULT": plan})
    result = orphaned.run("resume")
    assert result.returncode == 0, result.stderr
    assert orphaned.executions.count("01") == 2, result.stderr
    assert "taken over" not in result.stderr


def test_a_worker_that_has_not_begun_its_step_yet_is_waited_for(project: Project, tmp_path: Path) -> None:
    """The runner died after it gave the order and before the worker took it: two copies must never run at once."""
    project.step(0, "echo begin >>alive.txt; echo 00 >>ran.txt; sleep 0.1; echo end >>alive.txt")
    slow_shell = tmp_path / "bin/sh"
    slow_shell.parent.mkdir()
    slow_shell.write_text('#!/bin/sh\nkill -STOP $$\nexec /bin/sh "$@"\n')
    slow_shell.chmod(0o755)
    runner = project.start("run", env={"PATH": f"{slow_shell.parent}:{os.environ['PATH']}"})
    wait_for(lambda: list(project.path.glob(".checkpoints/*/state/worker_1.running")), what="the order")
    wait_for(lambda: next(project.path.glob(".checkpoints/*/state/worker_1.running")).read_text(), what="the order")
    run = project.newest_run
    wait_for(lambda: is_stopped(processes_of(run)), what="the stop of the worker")
    time.sleep(0.1)
    runner.kill()
    runner.wait()
    try:
        resume = Waiting(project)
    finally:
        for pid in processes_of(run):
            signal_if_there(pid, signal.SIGCONT)
    told = resume.end()
    assert project.executions == ["00"], told
    assert_never_two_at_once(project)


def is_stopped(pids: list[int]) -> bool:
    states = [Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] for pid in pids]
    return b"T" in states


def test_a_background_process_of_an_earlier_step_is_not_waited_for(project: Project) -> None:
    """It holds the worker's lock, which its step inherited; the step that the dead runner had in hand is over."""
    project.step(0, "sleep 30 & echo $! >pid.txt; echo 00 >>ran.txt")
    project.step(1, SLOW)
    kill_runner_in_step(project)
    background = int((project.path / "pid.txt").read_text())
    try:
        for pid in processes_of(project.newest_run):
            if pid != background:
                signal_if_there(pid, signal.SIGKILL)
        (project.path / "go").touch()
        result = project.run("resume", timeout=15)
        assert result.returncode == 0, result.stderr
        assert project.executions == ["00", "01"]
    finally:
        os.kill(background, signal.SIGKILL)


def test_an_orphan_is_waited_for_although_every_lock_file_was_deleted(orphaned: Project) -> None:
    """Case 30: the worker's lock file is gone, and the step is seen all the same."""
    for path in (orphaned.newest_run / "state").glob("*.lock"):
        path.unlink()
    Waiting(orphaned).end()
    assert orphaned.executions == ["00", "01", "02"]


def test_a_lock_whose_holder_cannot_be_seen_counts_as_a_living_step(project: Project) -> None:
    """A step in another container: its lock tells of it, no process does. What is in sight is judged by its marks."""
    state = project.path / "workflow_20261120_171500/state"
    state.mkdir(parents=True)
    layout, disk = RunLayout(str(state.parent)), Disk()
    orphan = adoption.Orphan(1, RunningNote(1, 1, 1, 0.0), None)
    assert not adoption.is_alive(disk, layout, orphan)
    with open(layout.worker_lock(1), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Ours, and we do not count as a stranger in sight.
        assert adoption.is_alive(disk, layout, orphan)
        keeper = subprocess.Popen(["sh", "-c", 'exec 9<"$0"; exec sleep 30', layout.worker_lock(1)])
        try:
            wait_for(lambda: not adoption.is_alive(disk, layout, orphan), what="a holder in sight")
        finally:
            keeper.kill()
            keeper.wait()


# ---------------------------------------------------------------- two runners


@pytest.fixture
def running(project: Project) -> Iterator[tuple[Project, subprocess.Popen[bytes]]]:
    """A project whose runner is in step 01."""
    project.step(0)
    project.step(1, SLOW)
    project.step(2)
    runner = project.start("run")
    wait_for((project.path / "alive.txt").exists, what="step 01")
    yield project, runner
    (project.path / "go").touch()
    runner.send_signal(signal.SIGCONT)
    assert runner.wait(timeout=20) == 0
    assert project.executions == ["00", "01", "02"]
    assert_never_two_at_once(project)


def assert_turned_away(project: Project, runner: subprocess.Popen[bytes]) -> None:
    took_s = []
    for _ in range(3):
        began = time.monotonic()
        result = project.run("resume")
        took_s.append(time.monotonic() - began)
    assert result.returncode == BUSY, result.stdout + result.stderr
    assert f"process {runner.pid} " in result.stderr
    assert os.uname().nodename in result.stderr
    assert "help: " in result.stderr
    # The best of three: the start of an interpreter alone can take a second on a busy machine.
    assert min(took_s) < 1.0


def test_a_second_runner_is_turned_away_and_told_by_whom(running: tuple[Project, subprocess.Popen[bytes]]) -> None:
    """Case 22: at once, with the holder's process, machine and command."""
    assert_turned_away(*running)


def test_a_run_stays_locked_when_every_lock_file_is_deleted(
    running: tuple[Project, subprocess.Popen[bytes]],
) -> None:
    """Case 30: the lock is on the run's directory."""
    project, runner = running
    for path in [*(project.newest_run / "state").glob("*.lock"), *(project.newest_run / "state").glob("*lock*")]:
        path.unlink(missing_ok=True)
    assert_turned_away(project, runner)
    (project.newest_run / "state/run.holder").unlink()
    assert project.run("resume").returncode == BUSY


def test_a_stopped_runner_keeps_its_lock(running: tuple[Project, subprocess.Popen[bytes]]) -> None:
    """Case 31: SIGSTOP is no death."""
    project, runner = running
    runner.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    assert_turned_away(project, runner)
    assert_turned_away(project, runner)


def test_reading_needs_no_lock(running: tuple[Project, subprocess.Popen[bytes]]) -> None:
    """Case 29: also while the runner is stopped."""
    project, runner = running
    runner.send_signal(signal.SIGSTOP)
    for words in (("status",), ("status", "--json"), ("logs",), ("plan", "--resume")):
        assert project.run(*words, timeout=10).returncode == 0, words
    assert runner.poll() is None


def race(project: Project, racers: int) -> list[int]:
    """Start that many resumes at once; return their exit codes."""
    processes = [started(project, "resume") for _ in range(racers)]
    wait_for(lambda: sum(it.poll() is not None for it in processes) == racers - 1, 60, "the answer of every loser")
    # The winner's step waits for this file, so that nobody can win after it.
    (project.path / "go").touch()
    codes = []
    for process in processes:
        told, _ = process.communicate(timeout=30)
        assert "Traceback" not in told
        if process.returncode == BUSY:
            assert re.search(r"is being run by (process \d+|another runner)", told), told
        codes.append(process.returncode)
    return codes


@pytest.mark.parametrize("racers", [2, 16])
def test_of_many_resumes_at_once_exactly_one_wins(project: Project, racers: int) -> None:
    """Cases 22, 23: the others answer 75 and run nothing."""
    project.step(0, "[ -e well ] || exit 1\n" + SLOW)
    project.step(1, "echo 02 >>ran.txt")
    assert project.run().returncode == 1
    (project.path / "well").touch()
    assert sorted(race(project, racers)) == [0] + [BUSY] * (racers - 1)
    assert project.executions == ["01", "02"]
    assert_never_two_at_once(project)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_of_16_resumes_exactly_one_wins_every_time(project: Project) -> None:
    """Case 23, the long form."""
    rounds = 100 if IS_LONG else 20
    for number in range(rounds):
        project.step(0, "[ -e well ] || exit 1\n" + SLOW)
        for name in ("go", "well", "ran.txt", "alive.txt"):
            (project.path / name).unlink(missing_ok=True)
        assert project.run("--force").returncode == 1
        (project.path / "well").touch()
        assert sorted(race(project, 16)) == [0] + [BUSY] * 15, f"round {number}"
        assert project.executions == ["01"]


def test_two_runs_begun_in_the_same_second_have_directories_of_their_own(project: Project) -> None:
    """Case 20."""
    project.steps(1)
    processes = [started(project, "run") for _ in range(4)]
    for process in processes:
        told, _ = process.communicate(timeout=30)
        assert process.returncode == 0, told
    assert len(project.runs) == 4
    assert project.executions == ["00"] * 4


def test_a_lock_is_taken_over_from_the_dead_without_help(project: Project) -> None:
    """Case 24: also while the note of the dead holder still stands beside it."""
    project.steps(2)
    project.run(env={"WORKFLOW_FAULT": "rename:15:die"})
    wait_for_orphans(project)
    assert (project.newest_run / "state/run.holder").exists()
    assert project.run("resume").returncode == 0


def test_a_run_last_held_on_another_machine_is_refused(project: Project) -> None:
    """Case 26: our kernel cannot know; the message says what to remove when one is certain."""
    project.step(0, "[ -e well ] && echo 00 >>ran.txt")
    project.run(env={"WORKFLOW_FAULT": "rename:13:die"})
    wait_for_orphans(project)
    change_boot(project.newest_run)
    holder = project.newest_run / "state/run.holder"
    holder.write_text(re.sub(r"HOST=.*", "HOST=elsewhere", holder.read_text()))
    (project.path / "well").touch()
    result = project.run("resume")
    assert result.returncode == BUSY
    assert "elsewhere" in result.stderr
    assert "run.holder" in result.stderr
    holder.unlink()
    assert project.run("resume").returncode == 0


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EBADF"])
def test_a_file_system_that_cannot_lock_is_refused(project: Project, code: str) -> None:
    """Case 27: no run without a lock."""
    project.steps(1)
    script = (
        "import errno, fcntl, os\n"
        f"def refuse(*given): raise OSError(errno.{code}, os.strerror(errno.{code}))\n"
        "fcntl.flock = refuse\n"
        "from workflow.cli.main import main\n"
        "main(['run'])\n"
    )
    result = subprocess.run(
        [program()[0], "-c", script], cwd=project.path, env=program_env(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 125, result.stdout + result.stderr
    assert "cannot lock" in result.stderr
    assert "--checkpoint-dir" in result.stderr
    assert project.executions == []
