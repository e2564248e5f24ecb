"""How often `sh resume.sh` runs a step, and what it waits for: retries, named locks, iterations."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.shell.conftest import Resuming, lay_out, marker_of, ran, state_of, text_step, wait_until
from workflow.checkpoint import commits
from workflow.checkpoint.layout import RunLayout
from workflow.checkpoint.records import attempts_in
from workflow.model import Repeat, Retries, Rules

pytestmark = pytest.mark.usefixtures("needs_flock")


# ---------------------------------------------------------------- retries


def test_a_failed_attempt_is_followed_by_another(project: Project, resuming: Resuming) -> None:
    count = 'echo $WORKFLOW_ATTEMPT >>ran.txt; test "$(wc -l <ran.txt)" -ge 3'
    lay_out(project, text_step(0, count, Rules(retries=Retries(limit=2))))
    done = resuming.run()
    assert done.returncode == 0, done.stderr
    assert project.executions == ["1", "2", "3"]
    assert done.stdout.count("trying again in 0s") == 2
    assert marker_of(project, 0).completed_by == "shell"


@pytest.mark.parametrize(
    ("text", "on_exit", "attempts"),
    [
        ("exit 75", ("75",), 2),
        ("exit 74", ("75", "signal"), 1),
        ("exit 74", ("exit",), 2),
        ("kill -9 $$", ("signal",), 2),
        ("kill -9 $$", ("137",), 2),
        ("kill -9 $$", ("exit",), 1),
        ("sleep 20", ("timeout",), 2),
        ("sleep 20", ("exit", "124"), 1),
        ("true", ("output_missing",), 2),
        ("true", ("exit", "0"), 1),
    ],
)
def test_what_is_tried_again(
    project: Project, sh_resuming: Resuming, text: str, on_exit: tuple[str, ...], attempts: int
) -> None:
    lay_out(
        project,
        text_step(
            0,
            f"{ran('0')}\n{text}",
            Rules(retries=Retries(limit=1, on_exit=on_exit)),
            timeout_s=1 if "sleep" in text else None,
            outputs=("made",) if text == "true" else (),
        ),
    )
    assert sh_resuming.run().returncode == (124 if "sleep" in text else 1)
    assert len(project.executions) == attempts
    assert state_of(project, 0)["status"] == "failed"


@pytest.mark.parametrize(
    ("retries", "waits"),
    [
        (Retries(5), "0"),
        (Retries(5, 0.2), "1"),
        (Retries(5, 2, 2.0), "2 4 8 16 32"),
        (Retries(9, 2, 2.0, 10), "2 4 8 10"),
        (Retries(3, 100, 0.1), "100 10 1"),
        (Retries(3, 100, 0.1, 10), "10 10 1"),
        (Retries(100000, 1, 1e300), "1 315360000"),
    ],
)
def test_the_waits_are_worked_out_beforehand(project: Project, retries: Retries, waits: str) -> None:
    run = lay_out(project, text_step(0, "true", Rules(retries=retries)))
    assert f"workflow_retries={retries.limit} workflow_waits='{waits}' ;;" in (run / "resume.sh").read_text()


def test_a_wait_is_recorded_and_a_resume_waits_for_what_is_left_of_it(
    project: Project, posix_resuming: Resuming
) -> None:
    text = "date +%s >>ran.txt; test -e go"
    lay_out(project, text_step(0, text, Rules(retries=Retries(limit=1, delay_s=3))))
    process = posix_resuming.start()
    path = project.path / ".checkpoints/workflow_20261120_171500/state/step_00_state.json"
    wait_until(path.exists, "it waits")
    state = state_of(project, 0)
    assert (state["status"], state["retry"]["used"]) == ("waiting", 1)
    assert state["retry"]["next_attempt"] >= int(project.executions[0]) + 3
    assert [attempt.number for attempt in attempts_in(state)] == [1]
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 143
    began = time.time()
    done = posix_resuming.run()
    assert done.returncode == 1
    first, second = map(int, project.executions)
    # No sooner than it was to be, and with no further attempt: the one retry is used up.
    assert second >= first + 3
    assert time.time() - began < 10
    assert state_of(project, 0)["status"] == "failed"


# ---------------------------------------------------------------- named locks


def test_a_named_lock_is_waited_for_held_and_given_back(project: Project, resuming: Resuming, tmp_path: Path) -> None:
    text = "sleep 60 >/dev/null 2>&1 & echo $! >pid; flock -n {0}/db.lock echo free >>ran.txt || echo held >>ran.txt"
    directory = tmp_path / "locks here"
    directory.mkdir()
    lay_out(project, text_step(0, text.format(f"'{directory}'"), Rules(lock="db")), lock_directory=str(directory))
    with open(directory / "db.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = resuming.start()
        said = project.path / "resume.stdout"
        wait_until(lambda: "waits for the lock db.lock" in said.read_text(), "it waits")
        assert project.executions == []
    assert process.wait(20) == 0
    assert project.executions == ["held"]
    assert "STEP=00%20s0\n" in (directory / "db.holder").read_text()
    # What the step left behind has inherited it, and does not keep it.
    with open(directory / "db.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(int((project.path / "pid").read_text()), signal.SIGKILL)


def test_a_lock_that_cannot_be_taken_ends_it_before_the_step(project: Project, sh_resuming: Resuming) -> None:
    lay_out(project, text_step(0, ran("0")), text_step(1, ran("1"), Rules(lock="db")))
    done = sh_resuming.run()
    assert done.returncode == 1
    assert "resume.sh was not told where that is" in done.stderr
    assert project.executions == ["0"]


# ---------------------------------------------------------------- iterations


def iterations_of(project: Project, number: int) -> int:
    layout = RunLayout(str(project.newest_run))
    name = next(line for line in Path(layout.iteration(number, 1)).read_text().splitlines() if "STEP_NAME=" in line)
    return commits.iterations_done(layout, number, name.partition("=")[2])


def test_a_step_is_repeated_until_its_test_holds(project: Project, resuming: Resuming) -> None:
    text = 'echo $WORKFLOW_ITERATION.$WORKFLOW_ATTEMPT >>ran.txt; echo N=$WORKFLOW_ITERATION >>"$WORKFLOW_OUTPUT"'
    lay_out(
        project,
        text_step(0, text, Rules(repeat=Repeat('test "$N" = 3', 5))),
        text_step(1, 'echo "after $N${WORKFLOW_ITERATION-}" >>ran.txt'),
    )
    done = resuming.run()
    assert done.returncode == 0, done.stderr
    assert project.executions == ["1.1", "2.2", "3.3", "after", "3"]
    assert "-- 00 s0, iteration 2" in done.stdout
    assert iterations_of(project, 0) == 3
    assert state_of(project, 0)["iterations"] == 3
    assert marker_of(project, 0).values == 1
    assert resuming.run().returncode == 0
    assert len(project.executions) == 5


def test_a_bound_is_the_end_of_a_loop_without_a_test_and_a_failure_of_one_with(
    project: Project, posix_resuming: Resuming
) -> None:
    count = "echo $WORKFLOW_STEP.$WORKFLOW_ITERATION >>ran.txt"
    lay_out(
        project,
        text_step(0, count, Rules(repeat=Repeat("", 2))),
        text_step(1, count, Rules(repeat=Repeat("test -e go", 2))),
    )
    for _ in range(2):
        done = posix_resuming.run()
        assert done.returncode == 1
        assert "`until` did not hold after 2 iterations" in done.stderr
        assert state_of(project, 1)["failure"]["class"] == "repeat"
        assert project.executions == ["00.1", "00.2", "01.1", "01.2"]
    (project.path / "go").touch()
    assert posix_resuming.run().returncode == 0
    assert project.executions == ["00.1", "00.2", "01.1", "01.2"]
    assert project.markers == [0, 1]


def test_a_loop_goes_on_after_its_last_whole_iteration(project: Project, posix_resuming: Resuming) -> None:
    text = "echo $WORKFLOW_ITERATION >>ran.txt; test -e go || test $WORKFLOW_ITERATION -lt 3"
    run = lay_out(project, text_step(0, text, Rules(repeat=Repeat("test -e go", 9), retries=Retries(limit=1))))
    assert posix_resuming.run().returncode == 1
    assert project.executions == ["1", "2", "3", "3"]
    second = run / "state/step_00.iteration_02.complete"
    second.write_bytes(second.read_bytes()[:-1])
    (project.path / "go").touch()
    # The test is asked first: we may have been killed between the marker of the iteration and its test.
    assert posix_resuming.run().returncode == 0
    assert project.executions == ["1", "2", "3", "3"]
    assert iterations_of(project, 0) == 1


def test_an_until_that_says_neither_yes_nor_no_fails_the_step(project: Project, sh_resuming: Resuming) -> None:
    lay_out(project, text_step(0, ran("0"), Rules(repeat=Repeat("exit 3", None))))
    done = sh_resuming.run()
    assert done.returncode == 1
    assert "its `until` ended with exit code 3" in done.stderr
    assert state_of(project, 0)["failure"]["class"] == "condition"
    assert project.executions == ["0"]


def test_a_repeated_step_of_the_end_begins_anew_in_each_pass(project: Project, sh_resuming: Resuming) -> None:
    lay_out(
        project,
        text_step(0, "test -e go"),
        text_step(1, ran("$WORKFLOW_ITERATION"), Rules(condition="always", repeat=Repeat("", 2))),
    )
    assert sh_resuming.run().returncode == 1
    (project.path / "go").touch()
    assert sh_resuming.run().returncode == 0
    assert project.executions == ["1", "2", "1", "2"]


def test_an_iteration_that_outlived_its_runner_is_taken_over(project: Project, posix_resuming: Resuming) -> None:
    text = "echo $WORKFLOW_ITERATION >>ran.txt; touch runs; test -e go || sleep 2; touch go"
    lay_out(project, text_step(0, text, Rules(repeat=Repeat("", 2))))
    process = posix_resuming.start()
    wait_until((project.path / "runs").exists, "the step runs")
    process.kill()
    process.wait()
    done = posix_resuming.run()
    assert done.returncode == 0, done.stderr
    assert "taken over" in done.stdout
    assert project.executions == ["1", "2"]
