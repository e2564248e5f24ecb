"""Named locks: one inside at a time, between runs and projects, also after a runner died."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.scheduling.support import begin, ended, flow, kill_runner, ok, told


class Machine:
    """Projects of one user on one machine: they share the directory of locks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {"XDG_STATE_HOME": str(path / "state")}

    def project(self, name: str) -> Project:
        path = self.path / name
        path.mkdir()
        return Project(path)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# Whoever is inside holds the directory `inside`; a second one cannot make it.
ALONE = "mkdir ../inside || touch ../together; {body}; rmdir ../inside"


def test_two_runs_in_two_projects_are_never_both_inside(machine: Machine) -> None:
    """Eight steps that want one lock in two runs of two at a time: each finds that it is alone."""
    projects = [machine.project("one"), machine.project("two")]
    body = ALONE.format(body="echo x >>../ran.txt; sleep 0.03")
    for project in projects:
        flow(project, f"steps:\n- {{name: a, matrix: {{n: [1, 2, 3, 4]}}, lock: shared, run: '{body}'}}\n")
    processes = [project.start("run", "-q", "-j", "2", env=machine.env) for project in projects]
    for project, process in zip(projects, processes, strict=True):
        assert process.wait(60) == 0, told(project)
        assert project.markers == [0, 1, 2, 3]
    assert (machine.path / "ran.txt").read_text().count("x") == 8
    assert not (machine.path / "together").exists()


def test_another_lock_and_none_are_not_held_up(machine: Machine) -> None:
    project = machine.project("one")
    flow(
        project,
        """\
steps:
- parallel:
  - name: holder
    lock: db
    run: |
      touch here
      cd $WORKFLOW_RUN_DIR
      until [ -e step_02.complete ] && [ -e step_03.complete ]; do sleep 0.02; done
      touch $WORKFLOW_PROJECT/out
  - {name: waiter, lock: db, run: 'test -e out'}
  - {name: other, lock: tape, run: 'until [ -e here ]; do sleep 0.02; done'}
  - {name: free, run: 'until [ -e here ]; do sleep 0.02; done'}
""",
    )
    ok(project.run("run", "-q", "-j", "4", env=machine.env))
    assert project.markers == [0, 1, 2, 3]


HOLDING = "steps:\n- {name: hold, lock: db, run: 'touch here; until [ -e go ]; do sleep 0.02; done; touch out'}\n"


def test_a_lock_stays_held_while_the_step_of_a_dead_runner_lives(machine: Machine) -> None:
    one, two = machine.project("one"), machine.project("two")
    flow(one, HOLDING)
    process = begin(one, "here", "run", env=machine.env)
    kill_runner(process)
    flow(two, "steps:\n- {name: want, lock: db, run: 'test -e ../one/out'}\n")
    waiting = begin(two, lambda: "held by" in told(two), "run", env=machine.env)
    one.file("go", "")
    assert waiting.wait(20) == 0, told(two)
    assert two.markers == [0]
    ok(one.run("resume", "-q", env=machine.env))


def test_who_waits_is_told_who_holds_it_and_can_be_stopped(machine: Machine) -> None:
    one, two = machine.project("one"), machine.project("two")
    flow(one, HOLDING)
    holder = begin(one, "here", "run", env=machine.env)
    flow(two, "steps:\n- {name: want, lock: db, run: 'touch ran'}\n")
    waiting = begin(two, lambda: "held by" in told(two), "run", env=machine.env)
    notice = next(line for line in told(two).splitlines() if "held by" in line)
    assert "db" in notice
    assert "00 hold" in notice
    assert one.newest_run.name in notice
    assert str(holder.pid) in notice
    os.kill(waiting.pid, signal.SIGINT)
    assert waiting.wait(10) == 130, told(two)
    assert "Traceback" not in told(two)
    assert not (two.path / "ran").exists()
    assert two.markers == []
    one.file("go", "")
    assert holder.wait(20) == 0
    ok(two.run("resume", "-q", env=machine.env))
    assert two.markers == [0]


def test_a_daemon_that_a_step_left_behind_does_not_keep_its_lock(machine: Machine) -> None:
    project = machine.project("one")
    flow(
        project,
        """\
steps:
- {name: start, lock: db, run: 'setsid sleep 30 >/dev/null 2>&1 & echo $! >pid'}
- {name: use, lock: db, run: 'kill -0 $(cat pid)'}
""",
    )
    try:
        ok(project.run("run", "-q", env=machine.env, timeout=20))
    finally:
        pid = (project.path / "pid").read_text().strip()
        if pid:
            os.kill(int(pid), signal.SIGKILL)


def test_a_lock_is_free_between_two_attempts(machine: Machine) -> None:
    project = machine.project("one")
    flow(
        project,
        """\
steps:
- parallel:
  - {name: again, lock: db, retries: {limit: 1, delay: 1s}, run: 'echo again >>ran.txt; [ $(grep -c . ran.txt) -gt 1 ]'}
  - {name: other, lock: db, run: 'echo other >>ran.txt'}
""",
    )
    ok(project.run("run", "-q", "-j", "2", env=machine.env))
    assert project.executions == ["again", "other", "again"]


def test_a_failed_step_gives_its_lock_back(machine: Machine) -> None:
    project = machine.project("one")
    flow(
        project,
        """\
steps:
- {name: bad, lock: db, run: 'exit 3'}
- {name: tidy, if: always, lock: db, run: 'echo tidy >>ran.txt'}
""",
    )
    ended(project.run("run", "-q", env=machine.env, timeout=20), 1)
    assert project.executions == ["tidy"]


def test_a_step_that_is_skipped_gives_its_lock_back(machine: Machine) -> None:
    project = machine.project("one")
    flow(
        project,
        """\
steps:
- {name: not_now, if: 'false', lock: db, run: 'true'}
- {name: never, if: failure, lock: db, run: 'true'}
- {name: then, lock: db, run: 'echo then >>ran.txt'}
""",
    )
    ok(project.run("run", "-q", env=machine.env, timeout=20))
    assert project.executions == ["then"]


def test_a_step_without_a_lock_passes_any_number_that_want_one(machine: Machine) -> None:
    """There are slots for it: whoever cannot start lets the others pass, however many they are."""
    project = machine.project("one")
    flow(
        project,
        f"""\
steps:
- parallel:
  - name: hold
    lock: db
    run: 'n=0; until [ -e passed ]; do n=$((n + 1)); [ $n -lt 100 ] || exit 9; sleep 0.02; done'
  - {{name: want, lock: db, matrix: {{n: {list(range(70))}}}, run: 'true'}}
  - {{name: free, run: 'touch passed'}}
""",
    )
    ok(project.run("run", "-q", "-j", "3", env=machine.env))


def test_a_step_that_is_blocked_waits_for_no_lock(machine: Machine) -> None:
    """It is told nothing about a lock any more, however long the end of the run takes."""
    one, two = machine.project("one"), machine.project("two")
    flow(one, HOLDING)
    holder = begin(one, "here", "run", env=machine.env)
    flow(
        two,
        """\
steps:
- parallel:
  - {name: want, lock: db, run: 'true'}
  - {name: bad, run: 'sleep 0.2; exit 3'}
# Longer than it takes until somebody who waits for a lock is told of.
- {name: tidy, if: always, run: 'sleep 2.2'}
""",
    )
    result = ended(two.run("run", "-j", "2", env=machine.env), 1)
    assert "blocked by 01 bad" in result.stdout
    assert "waits for the lock" not in result.stdout
    one.file("go", "")
    assert holder.wait(20) == 0
