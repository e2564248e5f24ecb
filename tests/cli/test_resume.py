"""Carrying on: which run, from where, and what is said when there is none."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.support import assert_helped, hanging_step, killed_in, tree
from tests.conftest import Project

UNTIL_OK = "[ -e ok ] || exit 3\necho 01 >>ran.txt"


def failed_once(project: Project) -> str:
    """Leave a run of three steps whose middle one failed; return its id."""
    project.step(0)
    project.step(1, UNTIL_OK)
    project.step(2)
    assert project.run("-q").returncode == 1
    return project.newest_run.name


@pytest.mark.parametrize(
    "words", [["--resume"], ["--resume-last"], ["resume"], ["run", "--resume"], ["resume", "--mission", "RUN"]]
)
def test_a_resume_bypasses_what_is_complete_and_runs_the_rest(project: Project, words: list[str]) -> None:
    """A2, A12, A23, S2, S12, S14, R12, F19, D9: the run that is carried on is named."""
    run_id = failed_once(project)
    project.file("ok", "")
    result = project.run(*(word.replace("RUN", run_id) for word in words))
    assert result.returncode == 0, result.stderr
    assert project.executions == ["00", "01", "02"]
    assert len(project.runs) == 1
    assert run_id in result.stdout
    assert "1 bypassed" in result.stdout


def test_a_named_run_is_carried_on_although_a_newer_one_is_there(project: Project) -> None:
    """A13, S13."""
    old = failed_once(project)
    assert project.run("-q").returncode == 1
    project.file("ok", "")
    assert project.run("--resume", old).returncode == 0
    assert [len(list(run.glob("step_*.complete"))) for run in project.runs] == [3, 1]


def test_newest_means_the_newest_that_can_be_resumed(project: Project) -> None:
    """D9: a complete run on top of one that is not does not hide it."""
    old = failed_once(project)
    project.file("ok", "")
    assert project.run("-q").returncode == 0
    result = project.run("--resume")
    assert result.returncode == 0
    assert old in result.stdout + result.stderr
    assert [len(list(run.glob("step_*.complete"))) for run in project.runs] == [3, 3]


def test_resume_with_nothing_to_resume_starts_a_new_run_and_says_so(project: Project) -> None:
    """D9, S25: the first pass of a retry loop; S51."""
    project.steps(1)
    result = project.run("--resume")
    assert result.returncode == 0
    assert "nothing to resume" in result.stderr
    assert "new run" in result.stderr
    assert project.executions == ["00"]


def test_the_command_resume_wants_something_to_resume(project: Project) -> None:
    """It is typed by people, who mean a run that is there."""
    project.steps(1)
    assert_helped(project.run("resume"), 3, "nothing to resume", "workflow run")
    assert not project.runs


def test_a_resume_of_a_complete_run_runs_nothing_and_is_done(project: Project) -> None:
    project.steps(2)
    project.run("-q")
    result = project.run("resume")
    assert result.returncode == 0
    assert project.executions == ["00", "01"]
    assert "2 bypassed" in result.stdout


def test_an_id_that_is_not_there_lists_those_that_are(project: Project) -> None:
    """D9, S52: exit 3."""
    run_id = failed_once(project)
    for words in (["--resume", "workflow_20200101_000000"], ["resume", "workflow_20200101_000000"]):
        assert_helped(project.run(*words), 3, "workflow_20200101_000000", run_id)
    assert len(project.runs) == 1


def test_a_run_can_be_named_by_its_path(project: Project) -> None:
    """What completion of the shell types."""
    run_id = failed_once(project)
    project.file("ok", "")
    assert project.run("resume", f".checkpoints/{run_id}/").returncode == 0
    assert project.executions == ["00", "01", "02"]


def test_a_snapshot_that_there_is_not_lists_those_that_there_are(project: Project) -> None:
    run_id = failed_once(project)
    for words in (["resume", f"{run_id}@2"], ["resume", "--checkpoint", f"{run_id}@2"], ["--resume", f"{run_id}@2"]):
        assert_helped(project.run(*words), 3, f"there is no snapshot {run_id}@2", f"{run_id}@1")


def test_a_killed_run_is_carried_on_and_the_step_in_flight_runs_again(project: Project) -> None:
    """RELIABILITY 24: the lock of a dead runner stops nobody; A1, R26."""
    project.step(0)
    hanging_step(project, 1)
    project.step(2)
    killed_in(project, 1)
    project.file("go", "")
    result = project.run("--resume")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["00", "01", "02"]


def test_a_step_that_failed_but_left_its_output_is_not_complete(project: Project) -> None:
    """RELIABILITY 49."""
    project.step(0, "#| outputs: out.txt\necho 00 >>ran.txt\necho half >out.txt\n[ -e ok ]")
    result = project.run()
    assert result.returncode == 1
    assert "partial outputs (not to be trusted)" in result.stderr
    project.file("ok", "")
    assert project.run("--resume").returncode == 0
    assert project.executions == ["00", "00"]


def test_a_step_can_tell_that_it_runs_again(project: Project) -> None:
    """The same idempotency key for every attempt; the number of the attempt and of the resume differ."""
    project.step(
        0,
        'echo "$WORKFLOW_IDEMPOTENCY_KEY $WORKFLOW_ATTEMPT $WORKFLOW_RESUMED" >>seen.txt\necho 00 >>ran.txt\n[ -e ok ]',
    )
    project.run("-q")
    project.run("-q", "--resume")
    project.file("ok", "")
    assert project.run("-q", "--resume").returncode == 0
    seen = [line.split() for line in (project.path / "seen.txt").read_text().splitlines()]
    assert [words[1:] for words in seen] == [["1", "0"], ["2", "1"], ["3", "1"]]
    assert len({words[0] for words in seen}) == 1


def test_the_directory_of_a_step_survives_attempts_and_resumes(project: Project) -> None:
    project.step(0, 'echo x >>"$WORKFLOW_STATE/n"\n[ "$(wc -l <"$WORKFLOW_STATE/n")" -ge 3 ]')
    assert [project.run("-q", "--resume").returncode for _ in range(3)] == [1, 1, 0]


def test_the_log_keeps_every_attempt_and_a_failure_shows_its_own_only(project: Project) -> None:
    project.step(0, 'echo "in attempt $WORKFLOW_ATTEMPT"\nexit 1')
    project.run("-q")
    second = project.run("--resume")
    log = (project.newest_run / "logs/step_00.log").read_text()
    assert log.count("in attempt") == 2
    assert "attempt 2" in log.partition("in attempt 1")[2].partition("in attempt 2")[0]
    assert "in attempt 1" not in second.stderr + second.stdout
    assert "(attempt 2)" in second.stderr


def test_steps_and_source_are_named_once_and_remembered(project: Project) -> None:
    """A resume finds the source of the run by itself, also when another one would be the standard."""
    project.script("jobs/step_00_a.sh", "echo 00 >>ran.txt\n[ -e ok ]\n")
    project.run("run", "jobs", "-q")
    project.step(0, "echo wrong >>ran.txt")
    project.file("ok", "")
    assert project.run("--resume").returncode == 0
    assert project.executions == ["00", "00"]


def test_source_may_follow_resume(project: Project) -> None:
    """`--resume` takes an optional value: a path after it is the source."""
    project.script("jobs/step_00_a.sh", "echo 00 >>ran.txt\n")
    result = project.run("--resume", "jobs")
    assert result.returncode == 0, result.stderr
    assert project.executions == ["00"]


def test_a_moved_project_carries_on_where_it_is_now(project: Project) -> None:
    """RELIABILITY 63."""
    failed_once(project)
    there = project.path.with_name("else where")
    shutil.move(project.path, there)
    moved = Project(there)
    moved.file("ok", "")
    result = moved.run("--resume")
    assert result.returncode == 0, result.stderr
    assert "moved" in result.stderr
    assert str(project.path) in result.stderr
    assert moved.executions == ["00", "01", "02"]
    assert not project.path.exists()


def test_a_copied_project_and_its_original_go_their_own_ways(project: Project) -> None:
    """RELIABILITY 63."""
    failed_once(project)
    copy = Project(project.path.with_name("copy"))
    shutil.copytree(project.path, copy.path)
    before = tree(project)
    copy.file("ok", "")
    assert copy.run("--resume", "-q").returncode == 0
    assert copy.executions == ["00", "01", "02"]
    assert tree(project) == before


def test_a_retry_loop_in_shell_ends_when_the_work_is_done(project: Project) -> None:
    """S25, S58, S63: `until workflow --resume; do ...; done`, a failure is a non-zero exit."""
    project.step(0)
    project.step(1, 'echo x >>"$WORKFLOW_STATE/n"\n[ "$(wc -l <"$WORKFLOW_STATE/n")" -ge 3 ] && echo 01 >>ran.txt')
    codes = []
    for _ in range(3):
        codes.append(project.run("--resume", "-q").returncode)
        if codes[-1] == 0:
            break
    assert codes == [1, 1, 0]
    assert project.executions == ["00", "01"]
    assert len(project.runs) == 1
