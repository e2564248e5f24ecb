"""`resume RUN@N`: what stays, what begins anew, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.support import assert_helped, document, hanging_step, kill, start_until, tree
from tests.conftest import Project
from tests.keeping.snapshot_support import layout_of, named, snapshot, triggers, values_of, words
from workflow.checkpoint import store

LIBRARY = '. "$WORKFLOW_LIB/step_execution.sh"'


def done(project: Project, steps: int = 4, *more: str) -> str:
    """Run some steps with a snapshot after each; return the id of the run."""
    project.steps(steps)
    assert project.run("run", "--checkpoint-every", "1", *more).returncode == 0
    return project.newest_run.name


def reasons(project: Project, name: str) -> dict[int, tuple[str, str]]:
    """Return choice and first reason of each step in the plan of a resume."""
    plan = document(project.run("resume", name, "--dry-run", "--json"))
    return {step["step"]: (step["choice"], step["reasons"][0]["code"]) for step in plan["steps"]}


def test_what_completed_after_the_snapshot_runs_again_and_nothing_else(project: Project) -> None:
    run = done(project)
    seen = len(snapshot(project, 2)["completed"])
    result = project.run("resume", f"{run}@2")
    assert result.returncode == 0, result.stderr
    again = [f"{number:02d}" for number in range(seen, 4)]
    assert project.executions == ["00", "01", "02", "03", *again]
    assert "going back to" in result.stderr
    assert project.markers == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "words_",
    [["resume", "RUN@1"], ["resume", "--checkpoint", "RUN@1"], ["run", "--resume", "RUN@1"], ["--resume", "RUN@1"]],
)
def test_every_way_to_say_it(project: Project, words_: list[str]) -> None:
    run = done(project, 2)
    assert project.run(*(word.replace("RUN", run) for word in words_)).returncode == 0
    assert project.executions == ["00", "01", "01"]


def test_a_number_beside_the_run_will_do(project: Project) -> None:
    run = done(project, 2)
    assert project.run("resume", run, "--checkpoint", "1").returncode == 0
    assert project.run("resume", run, "--checkpoint", f"{run}@1").returncode == 0
    assert project.executions == ["00", "01", "01", "01"]


def test_the_plan_says_so_writes_nothing_and_is_what_happens(project: Project) -> None:
    run = done(project)
    before = tree(project.path)
    planned = reasons(project, f"{run}@1")
    text = project.run("resume", f"{run}@1", "--dry-run")
    assert planned == {0: ("bypass", "completed"), **dict.fromkeys((1, 2, 3), ("run", "forced"))}
    assert f"{run}@1" in text.stdout
    assert tree(project.path) == before
    told = [json.loads(line) for line in project.run("resume", f"{run}@1", "--json").stdout.splitlines()]
    started = next(event for event in told if event["event"] == "run_started")
    happened = {it["step"]: (it["choice"], it["reasons"][0]["code"]) for it in started["decisions"]}
    assert happened == planned


def test_the_present_is_on_record_before_anything_is_taken_away(project: Project) -> None:
    run = done(project, 3)
    assert project.run("resume", f"{run}@1").returncode == 0
    made = named(project)
    assert made[4] == ("auto", f"before going back to {run}@1")
    assert words(snapshot(project, 5)) == {"00": "completed", "01": "completed", "02": "completed"}
    assert snapshot(project, 5)["status"] == "completed"
    # And one can go forward again only by running: the completions it tells of are gone.
    assert reasons(project, f"{run}@5")[1] == ("run", "forced")


def test_going_back_to_where_one_is_changes_nothing(project: Project) -> None:
    run = done(project, 3)
    result = project.run("resume", f"{run}@4")
    assert (result.returncode, project.executions) == (0, ["00", "01", "02"])
    assert "nothing was completed after it" in result.stderr
    assert triggers(project) == ["auto", "auto", "auto", "completion"]


def test_a_step_that_ran_again_since_is_not_the_one_the_snapshot_saw(project: Project) -> None:
    run = done(project, 3)
    project.run("resume", run, "--only", "0")
    assert reasons(project, f"{run}@2")[0] == ("run", "forced")
    assert reasons(project, f"{run}@2")[1][0] == "bypass"


def test_values_are_those_of_the_steps_that_stay(project: Project) -> None:
    project.step(0, f"{LIBRARY}\nstep_output A first")
    project.step(1, f'{LIBRARY}\nstep_output A "second-$WORKFLOW_ATTEMPT"\nstep_output B b')
    project.step(2, 'echo "$A" >>seen.txt')
    assert project.run("run", "--checkpoint-every", "1").returncode == 0
    run = project.newest_run
    project.step(1, 'echo "$A,${B-none}" >>seen.txt')
    assert project.run("resume", f"{run.name}@1").returncode == 0
    assert (project.path / "seen.txt").read_text().split() == ["second-1", "first,none", "first"]
    assert values_of(run) == {"A": "first"}


def test_a_repeated_step_goes_on_after_the_rounds_the_snapshot_counted(project: Project) -> None:
    body = "echo $WORKFLOW_ITERATION >>rounds.txt"
    project.step(
        0, f'#| repeat: {{max_iterations: 4}}\n{LIBRARY}\n{body}\n[ -e back ] || step_checkpoint "$WORKFLOW_ITERATION"'
    )
    assert project.run("run").returncode == 0
    run = project.newest_run.name
    number = next(at for at in (1, 2, 3, 4) if snapshot(project, at)["tasks"]["00"]["iterations"] == 2)
    project.file("back", "")
    assert project.run("resume", f"{run}@{number}").returncode == 0
    # It is complete now, so it was taken back as a whole: its marker goes, and its rounds with it.
    assert (project.path / "rounds.txt").read_text().split() == ["1", "2", "3", "4", "1", "2", "3", "4"]


def test_a_loop_that_was_cut_off_loses_the_rounds_after_the_snapshot(project: Project) -> None:
    project.step(
        0,
        f"#| repeat: {{max_iterations: 5}}\n{LIBRARY}\necho $WORKFLOW_ITERATION >>rounds.txt\n"
        '[ -e back ] || step_checkpoint "$WORKFLOW_ITERATION"\n'
        '[ -e back ] || [ "$WORKFLOW_ITERATION" -lt 4 ] || { : >here; sleep 60; }',
    )
    process = start_until(project, "here", "run")
    project.file("back", "")
    process.terminate()
    process.wait(20)
    run = project.newest_run.name
    counts = {at: snapshot(project, at)["tasks"]["00"].get("iterations") for at in range(1, 4)}
    number = next(at for at, count in counts.items() if count == 2)
    assert project.run("resume", f"{run}@{number}").returncode == 0
    assert (project.path / "rounds.txt").read_text().split() == ["1", "2", "3", "4", "3", "4", "5"]


def test_what_was_skipped_or_tolerated_since_is_asked_again(project: Project) -> None:
    project.step(0)
    project.step(1, "#| if: test -e wanted\necho 01 >>ran.txt")
    project.step(2, "#| continue_on_error: true\necho 02 >>ran.txt\ntest -e wanted")
    assert project.run("run", "--checkpoint-every", "1").returncode == 0
    assert words(snapshot(project, 1))["01"] in ("pending", "running")
    project.file("wanted", "")
    run = project.newest_run.name
    assert project.run("resume", run).returncode == 0
    assert project.executions == ["00", "02"]
    assert project.run("resume", f"{run}@1").returncode == 0
    assert project.executions == ["00", "02", "01", "02"]
    assert project.markers == [0, 1, 2]


def test_steps_that_were_renumbered_are_known_by_name(project: Project) -> None:
    run = done(project, 3)
    steps = project.path / "steps"
    (steps / "step_02_s2.sh").rename(steps / "step_04_s2.sh")
    (steps / "step_01_s1.sh").rename(steps / "step_03_s1.sh")
    assert project.run("resume", f"{run}@2").returncode == 0
    kept = len(snapshot(project, 2)["completed"])
    assert project.executions == ["00", "01", "02", *["02"] * (3 - kept)]


def test_a_marker_of_a_step_that_is_no_longer_defined_goes_too(project: Project) -> None:
    run = done(project, 3)
    (project.path / "steps/step_02_s2.sh").unlink()
    assert project.run("resume", f"{run}@1").returncode == 0
    assert project.markers == [0, 1]
    project.step(2)
    assert project.run("resume", run).returncode == 0
    assert project.executions == ["00", "01", "02", "01", "02"]


def test_the_same_end_as_a_run_that_was_never_disturbed(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "undisturbed")
    other.path.mkdir()
    for it in (project, other):
        it.step(0, f"{LIBRARY}\nstep_output A 1")
        it.step(1, f"{LIBRARY}\nstep_output B $((A + 1))")
        it.step(2, "#| outputs: [out]\necho $((A + B)) >out")
        assert it.run("run", "--checkpoint-every", "1").returncode == 0
    assert project.run("resume", f"{project.newest_run.name}@1").returncode == 0
    ends = []
    for it in (project, other):
        task = snapshot(it, 0)["tasks"]
        ends.append((values_of(it.newest_run), {name: task[name]["output_hash"] for name in task}))
        assert store.read_markers(layout_of(it)).damaged == {}
    assert ends[0] == ends[1]


def test_resume_sh_takes_up_a_run_that_went_back_and_was_stopped(project: Project) -> None:
    project.step(0)
    project.step(1, "echo 01 >>ran.txt; [ ! -e stop ] || exit 9")
    project.step(2)
    assert project.run("run", "--checkpoint-every", "1").returncode == 0
    run = project.newest_run
    project.file("stop", "")
    assert project.run("resume", f"{run.name}@1").returncode == 1
    (project.path / "stop").unlink()
    import subprocess

    assert subprocess.run(["sh", str(run / "resume.sh")], cwd=project.path, check=False).returncode == 0
    assert project.executions == ["00", "01", "02", "01", "01", "02"]


def test_bad_names_are_refused_and_change_nothing(project: Project) -> None:
    run = done(project, 2)
    before = tree(project.path)
    assert_helped(project.run("resume", f"{run}@99"), 3, "there is no snapshot", f"{run}@3", f"{run}@1")
    assert_helped(project.run("resume", f"{run}@0"), 3, "there is no snapshot")
    assert_helped(project.run("resume", f"{run}@x"), 2, "not a number", f"{run}@1")
    assert_helped(project.run("resume", f"{run}@"), 2, "not a number")
    assert_helped(project.run("resume", "@1"), 2, "names no run")
    assert_helped(project.run("resume", "workflow_20200101_000000@1"), 3, run)
    assert_helped(project.run("resume", run, "--checkpoint", "workflow_20200101_000000@1"), 2)
    assert_helped(project.run("resume", run, "--mission", "workflow_20200101_000000"), 2)
    assert_helped(project.run("plan", "--resume", f"{run}@99"), 3, "there is no snapshot")
    assert tree(project.path) == before
    path = project.newest_run / "snapshots/0001_auto.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert_helped(project.run("resume", f"{run}@1"), 3, f"snapshot {run}@1 is damaged", f"{run}@2")
    assert_helped(project.run("resume", f"{run}@1", "--dry-run"), 3, "is damaged")
    assert project.executions == ["00", "01"]


def test_a_run_without_snapshots_says_so(project: Project) -> None:
    run = done(project, 1)
    shutil.rmtree(project.newest_run / "snapshots")
    assert_helped(project.run("resume", f"{run}@1"), 3, "has no snapshots", "workflow checkpoint create")


def test_a_live_run_is_busy(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run", "--checkpoint-every", "1")
    try:
        result = project.run("resume", f"{project.newest_run.name}@1")
        assert (result.returncode, Counter(project.executions)) == (75, Counter({"00": 1}))
    finally:
        kill(process)
        project.file("go", "")
