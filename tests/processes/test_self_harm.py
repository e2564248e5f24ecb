"""Steps that kill: themselves, a child, the shell that runs them, their whole group, the runner."""

from __future__ import annotations

import pytest

from tests.cli.support import document, events
from tests.conftest import Project
from tests.processes.support import marked

KILLS = {
    "itself": ("kill -KILL $$", "killed by SIGKILL", 137),
    "itself politely": ("kill -TERM $$", "killed by SIGTERM", 143),
    "itself by INT": ("kill -INT $$", "killed by SIGINT", 130),
    "its parent": ("kill -KILL $PPID; sleep 0.2", "killed together with the worker", None),
    "its group": ("kill -KILL 0", "killed together with the worker", None),
    "its group by TERM": ("kill -TERM 0; sleep 5", "SIGTERM", 143),
}


@pytest.mark.parametrize("whom", KILLS)
def test_a_step_that_kills_is_recorded_as_failed(project: Project, whom: str) -> None:
    """RELIABILITY 42, 44: exit 1, the truth about the exit, and the run carries on."""
    body, words, code = KILLS[whom]
    project.step(0)
    project.step(1, f"[ -e ok ] || {{ {body}; }}\necho 01 >>ran.txt")
    project.step(2)
    result = project.run()
    assert result.returncode == 1, result.stderr
    assert words in result.stderr
    assert project.markers == [0]
    steps = document(project.run("status", "--json"))["steps"]
    assert steps[1]["status"] == "failed"
    assert steps[1]["exit_code"] == code
    project.file("ok", "")
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions[-2:] == ["01", "02"]


def test_a_child_that_is_killed_is_the_business_of_its_shell(project: Project) -> None:
    """RELIABILITY 42: the shell's own status counts, never the child's."""
    project.step(0, "sh -c 'kill -KILL $$'\necho child $? >>ran.txt")
    project.step(1, "sh -c 'kill -KILL $$' || exit 9")
    result = project.run("--json")
    ends = [event for event in events(result) if event["event"] == "step_finished"]
    assert [end["status"] for end in ends] == ["completed", "failed"]
    assert [end["attempt"]["exit_code"] for end in ends] == [0, 9]
    assert project.executions == ["child", "137"]


def test_a_step_that_kills_the_runner_is_taken_over_by_the_resume(project: Project) -> None:
    """The step lives on, finishes, and is adopted: it does not run twice."""
    project.step(
        0, 'kill -KILL "$(sed -n s/^PID=//p "$WORKFLOW_RUN_DIR/state/run.holder")"\nsleep 0.2\necho 00 >>ran.txt'
    )
    project.step(1)
    assert project.run("-q").returncode == -9
    assert project.run("--resume", "-q").returncode == 0
    assert project.executions == ["00", "01"]


def test_a_step_reads_an_empty_input(project: Project) -> None:
    """RELIABILITY 43: end of file at once, also for children, also where the runner has input."""
    project.step(0, "cat >got.txt\nread x && exit 9\necho 00 >>ran.txt")
    result = project.run(input="not for steps\n")
    assert result.returncode == 0, result.stderr
    assert (project.path / "got.txt").read_text() == ""


def test_steps_inherit_no_descriptor_but_the_lock_of_their_worker(project: Project) -> None:
    """What leaks keeps pipes and locks alive long after the run."""
    project.step(0, "ls -l /proc/self/fd >fds.txt")
    assert project.run("-q").returncode == 0
    lines = [line.split() for line in (project.path / "fds.txt").read_text().splitlines()[1:]]
    held = {int(words[8]): words[10] for words in lines if words[10:]}
    extra = {fd: to for fd, to in held.items() if fd > 2 and not to.startswith("/proc/")}
    assert set(extra) == {9}, extra
    assert extra[9].endswith("worker_1.lock")


def test_signals_are_at_their_defaults_in_a_step(project: Project) -> None:
    """A pipe whose reader is gone ends its writer quietly, as in any shell."""
    project.step(0, "grep -E 'Sig(Blk|Ign)' /proc/self/status >signals.txt\nyes | head -1 >/dev/null")
    assert project.run("-q").returncode == 0
    masks = [int(line.split()[1], 16) for line in (project.path / "signals.txt").read_text().splitlines()]
    # 32 and 33 belong to the C library, which ignores them in what it spawns
    assert [mask & ~(0b11 << 31) for mask in masks] == [0, 0]


def test_a_runner_that_ends_leaves_no_worker(project: Project) -> None:
    with marked() as mark:
        project.step(0, f": {mark.argument}")
        project.run("-q")
        import os
        from pathlib import Path

        left = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and str(project.newest_run).encode() in Path(f"/proc/{name}/environ").read_bytes():
                    left.append(name)
            except OSError:
                continue
        assert not left
