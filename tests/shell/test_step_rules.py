"""How `sh resume.sh` decides what runs, and how often: the rules of docs/design/scheduling.md without Python."""

from __future__ import annotations

import os
import signal

import pytest

from tests.conftest import Project
from tests.shell.conftest import Resuming, lay_out, ran, state_of, text_step, wait_until
from workflow.checkpoint import approval
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.layout import RunLayout
from workflow.model import Repeat, Retries, Rules

pytestmark = pytest.mark.usefixtures("needs_flock")

# ---------------------------------------------------------------- conditions


def test_a_test_decides_whether_a_step_runs(project: Project, resuming: Resuming) -> None:
    lay_out(
        project,
        text_step(0, ran("yes"), Rules(condition="test -d . # it's")),
        text_step(1, ran("no"), Rules(condition="[ -e nothing ]")),
        text_step(2, ran("after"), Rules(condition="- 2>/dev/null || true")),
    )
    done = resuming.run()
    assert done.returncode == 0, done.stderr
    assert project.executions == ["yes", "after"]
    assert project.markers == [0, 2]
    assert "skipped 01 s1: its `if` says no" in done.stdout
    state = state_of(project, 1)
    assert (state["status"], state["reason"]["code"]) == ("skipped", "condition-false")
    assert (state["exit_code"], state["attempts"], state["failure"]) == (None, [], None)
    # What decided stands, whatever the test would say now.
    (project.path / "nothing").touch()
    again = resuming.run()
    assert again.returncode == 0
    assert "left as it is: 01 s1: skipped" in again.stdout
    assert project.executions == ["yes", "after"]


def test_a_skip_that_is_damaged_or_of_another_definition_does_not_count(
    project: Project, sh_resuming: Resuming
) -> None:
    run = lay_out(project, text_step(0, ran("0"), Rules(condition="test -e go")))
    assert sh_resuming.run().returncode == 0
    path = run / "state/step_00_state.json"
    whole = path.read_bytes()
    (project.path / "go").touch()
    path.write_bytes(whole.replace(b'"duration_seconds": 0', b'"duration_seconds": 1'))
    assert "run    00 s0, if its test says so" in sh_resuming.run("--dry-run").stdout
    path.write_bytes(whole)
    assert "left as it is" in sh_resuming.run("--dry-run").stdout
    program = (run / "resume.sh").read_text()
    (run / "resume.sh").write_text(program.replace("workflow_fingerprint=blake3:0", "workflow_fingerprint=blake3:1"))
    assert sh_resuming.run().returncode == 0
    assert project.executions == ["0"]


def test_a_test_that_says_neither_yes_nor_no_fails_its_step(project: Project, resuming: Resuming) -> None:
    lay_out(
        project, text_step(0, ran("0"), Rules(condition="exit 7", retries=Retries(limit=5))), text_step(1, ran("1"))
    )
    done = resuming.run()
    assert done.returncode == 1
    assert "its `if` ended with exit code 7" in done.stderr
    assert state_of(project, 0)["failure"]["class"] == "condition"
    assert project.executions == []


def test_a_test_sees_values_parameters_and_the_directory_of_its_step(
    project: Project, posix_resuming: Resuming
) -> None:
    (project.path / "sub").mkdir()
    lay_out(
        project,
        text_step(0, 'echo "A=it\'s" >>"$WORKFLOW_OUTPUT"'),
        text_step(
            1,
            ran("1"),
            Rules(condition='test "$A|$B|$M|$C|${PWD##*/}" = "it\'s|b|m|c|sub"', matrix=(("M", "m"),)),
            params=(("B", "b"),),
            env=(("C", "c"),),
            working_directory="sub",
        ),
    )
    done = posix_resuming.run()
    assert done.returncode == 0, done.stdout
    assert project.markers == [0, 1]


def test_a_limit_in_time_and_an_interrupt_end_a_test(project: Project, posix_resuming: Resuming) -> None:
    lay_out(project, text_step(0, ran("0"), Rules(condition="touch asked; sleep 60"), timeout_s=1))
    done = posix_resuming.run()
    assert done.returncode == 1
    assert "its `if` ended with exit code 124" in done.stderr
    lay_out(project, text_step(0, ran("0"), Rules(condition="touch again; sleep 60")))
    process = posix_resuming.start()
    wait_until((project.path / "again").exists, "the test runs")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == 143
    assert project.executions == []


# ---------------------------------------------------------------- failures


def test_after_a_failure_only_steps_of_the_end_run(project: Project, resuming: Resuming) -> None:
    lay_out(
        project,
        text_step(0, ran("0") + "; test -e go"),
        text_step(1, ran("1")),
        text_step(2, ran("always"), Rules(condition="always")),
        text_step(3, ran("failure"), Rules(condition="failure")),
        text_step(4, ran("4"), Rules(condition="true")),
    )
    done = resuming.run()
    assert done.returncode == 1
    assert project.executions == ["0", "always", "failure"]
    assert project.markers == [2, 3]
    assert "blocked, as step 00 failed: 01 04\n" in done.stdout
    assert done.stderr.count("help: sh ") == 1
    # They belong to the end of each pass.
    (project.path / "go").touch()
    done = resuming.run()
    assert done.returncode == 0, done.stderr
    assert project.executions[3:] == ["0", "1", "always", "4"]
    assert project.markers == [0, 1, 2, 4]
    assert state_of(project, 3)["reason"] == {"code": "condition-false", "detail": "nothing before it failed"}
    again = resuming.run()
    assert again.returncode == 0
    assert len(project.executions) == 7


def test_a_step_of_the_end_looks_at_what_it_waits_for_alone(project: Project, sh_resuming: Resuming) -> None:
    end = Rules(condition="failure")
    lay_out(
        project,
        text_step(0, ran("0")),
        text_step(1, "exit 9"),
        text_step(2, ran("of_0"), end, needs=(0,)),
        text_step(3, ran("of_1"), end, needs=(1,)),
        text_step(8, ran("8"), group="g"),
        text_step(9, ran("of_the_block"), end, group="g"),
    )
    done = sh_resuming.run()
    assert done.returncode == 1
    assert project.executions == ["0", "of_1", "of_the_block"]
    assert state_of(project, 2)["status"] == "skipped"


def test_a_sibling_that_fails_is_not_before_a_step_of_the_end(project: Project, sh_resuming: Resuming) -> None:
    lay_out(
        project,
        text_step(0, "exit 9", group="g"),
        text_step(1, ran("1"), Rules(condition="failure"), group="g"),
    )
    assert sh_resuming.run().returncode == 1
    assert project.executions == []


def test_a_step_that_may_fail_is_recorded_and_left_so(project: Project, resuming: Resuming) -> None:
    lay_out(
        project,
        text_step(0, ran("0") + "; exit 3", Rules(continue_on_error=True)),
        text_step(1, ran("1")),
        text_step(2, ran("never"), Rules(condition="failure")),
    )
    done = resuming.run()
    assert done.returncode == 0, done.stderr
    assert "failed, as they may: 00" in done.stdout
    state = state_of(project, 0)
    assert (state["status"], state["exit_code"], state["tolerated"]) == ("failed", 3, True)
    assert resuming.run().returncode == 0
    assert project.executions == ["0", "1"]
    assert project.markers == [1]


def test_an_interrupt_starts_nothing_more(project: Project, posix_resuming: Resuming) -> None:
    lay_out(
        project,
        text_step(0, "touch runs; sleep 60", Rules(continue_on_error=True, retries=Retries(limit=3))),
        text_step(1, ran("1"), Rules(condition="always")),
    )
    process = posix_resuming.start()
    wait_until((project.path / "runs").exists, "the step runs")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert project.executions == []
    assert state_of(project, 0)["status"] == "cancelled"


# ---------------------------------------------------------------- approvals

ASKED = "Really deploy?\nIt's 100% live"


def answer_with(project: Project, *, is_approved: bool, text: str = ASKED) -> None:
    layout = RunLayout(str(project.newest_run))
    approval.write(Disk(), layout, approval.Approval(1, "s1", text, is_approved, "Ada L.", "2026-11-20T17:15:00Z"))


def lay_out_approval(project: Project) -> None:
    rules = Rules(approval=ASKED, retries=Retries(limit=3))
    lay_out(project, text_step(0, ran("0")), text_step(1, ran("1"), rules), text_step(2, ran("2")))


def test_without_an_answer_it_stops_before_the_step(project: Project, resuming: Resuming) -> None:
    lay_out_approval(project)
    for _ in range(2):
        done = resuming.run()
        assert done.returncode == 4
        assert "step 01 s1 waits for approval (nobody has answered): Really deploy?" in done.stderr
        assert "It's 100% live" in done.stderr
        assert f"workflow approve {project.newest_run.name} 01" in done.stderr
    assert project.executions == ["0"]
    assert not (project.newest_run / "state/run.holder").exists()
    answer_with(project, is_approved=True)
    assert resuming.run().returncode == 0
    assert project.executions == ["0", "1", "2"]


def test_an_answer_can_be_given_without_python(project: Project, resuming: Resuming) -> None:
    lay_out_approval(project)
    done = resuming.run("--approve", "1")
    assert done.returncode == 0, done.stderr
    assert "approved: 01 s1: Really deploy?" in done.stdout
    assert project.executions == ["0", "1", "2"]
    answer = approval.read(RunLayout(str(project.newest_run)), 1)
    assert answer is not None
    assert (answer.is_approved, answer.text, answer.name) == (True, ASKED, "s1")
    assert answer.by


def test_a_rejection_fails_the_step(project: Project, posix_resuming: Resuming) -> None:
    lay_out_approval(project)
    answer_with(project, is_approved=False)
    done = posix_resuming.run()
    assert done.returncode == 1
    assert "failed: Ada%20L. rejected it (2026-11-20T17:15:00Z)" in done.stderr
    assert state_of(project, 1)["failure"]["class"] == "rejected"
    assert posix_resuming.run("--reject", "01").returncode == 1
    assert project.executions == ["0"]
    assert "--approve 01" in done.stderr
    dry = posix_resuming.run("--dry-run", "--approve", "01")
    assert dry.returncode == 2
    assert "--dry-run records no answer" in dry.stderr
    assert posix_resuming.run("--approve", "01").returncode == 0
    late = posix_resuming.run("--reject", "01")
    assert late.returncode == 2
    assert "cannot be rejected any more" in late.stderr


@pytest.mark.parametrize("damage", ["cut", "a bit", "by hand", "another text"])
def test_an_answer_that_is_not_whole_or_to_something_else_is_none(
    project: Project, sh_resuming: Resuming, damage: str
) -> None:
    lay_out_approval(project)
    assert sh_resuming.run("--approve", "01").returncode == 0
    path = project.newest_run / "state/step_01.approval"
    (project.newest_run / "step_01.complete").unlink()
    whole = path.read_bytes()
    if damage == "another text":
        answer_with(project, is_approved=True, text="Something else?")
    else:
        path.write_bytes(
            {
                "cut": whole[:-1],
                "a bit": whole.replace(b"BY=", b"BY=x"),
                "by hand": whole[: whole.index(b"CHECKSUM")],
            }[damage]
        )
    assert sh_resuming.run().returncode == 4
    assert project.executions == ["0", "1", "2"]


@pytest.mark.parametrize("args", [("--approve",), ("--approve", "x"), ("--approve", "7"), ("--approve", "00")])
def test_an_answer_to_nothing_is_refused(project: Project, sh_resuming: Resuming, args: tuple[str, ...]) -> None:
    lay_out_approval(project)
    assert sh_resuming.run(*args).returncode == 2
    assert project.executions == []


# ---------------------------------------------------------------- with the runner


def test_a_plain_workflow_has_a_resume_sh_as_small_as_ever(project: Project) -> None:
    run = lay_out(project, text_step(0, "true"))
    line = next(line for line in (run / "resume.sh").read_text().splitlines() if line.startswith("    00)"))
    assert line.endswith("workflow_limit= workflow_interactive=0 ;;")


def test_nothing_in_a_rule_means_anything_to_the_shell(project: Project, posix_resuming: Resuming) -> None:
    evil = "'; touch evil; '$(touch evil)`touch evil`\n"
    rules = Rules(
        condition="test \"$M\" != 'it''s'",
        approval=f"{evil}?",
        matrix=(("M", evil),),
        lock="a'b",
        repeat=Repeat("test \"$WORKFLOW_ITERATION\" = '2'", 3),
    )
    lay_out(project, text_step(0, 'printf %s "$M" >seen', rules), lock_directory=str(project.path / "it's"))
    done = posix_resuming.run("--approve", "0")
    assert done.returncode == 0, done.stderr
    assert (project.path / "seen").read_text() == evil
    assert not (project.path / "evil").exists()
    assert (project.path / "it's/a'b.lock").exists()


RULES_YAML = """\
name: rules
steps:
  - {name: skipped, run: "echo never >>ran.txt", if: "test -e nothing"}
  - {name: tolerated, run: "echo tolerated >>ran.txt; exit 3", continue_on_error: true}
  - name: loop
    run: "echo $WORKFLOW_ITERATION >>ran.txt; test $WORKFLOW_ITERATION -lt 2 || test -e go"
    repeat: {max_iterations: 3}
  - {name: ask, run: "echo asked >>ran.txt", approval: "Go on?"}
  - {name: end, run: "echo end >>ran.txt", if: always}
"""


def test_runner_and_shell_carry_on_for_each_other(project: Project, posix_resuming: Resuming) -> None:
    project.file("workflow.yaml", RULES_YAML)
    env = {"XDG_STATE_HOME": str(project.path / "state home")}
    done = project.run(env=env)
    assert done.returncode == 1, done.stderr
    assert project.executions == ["tolerated", "1", "2", "end"]
    (project.path / "go").touch()
    (project.path / "nothing").touch()
    done = posix_resuming.run(env=env)
    assert done.returncode == 4, done.stderr
    assert project.executions[4:] == ["2", "3"]
    done = posix_resuming.run("--approve", "3", env=env)
    assert done.returncode == 0, done.stderr
    assert project.executions[6:] == ["asked", "end"]
    done = project.run("resume", project.newest_run.name, env=env)
    assert done.returncode == 0, done.stderr
    assert len(project.executions) == 8
    assert project.run("status", env=env).returncode == 0


def test_of_a_value_published_twice_the_larger_number_counts(project: Project, resuming: Resuming) -> None:
    publish = 'echo A=$WORKFLOW_STEP >>"$WORKFLOW_OUTPUT"'
    lay_out(
        project,
        text_step(2, publish, needs=(8,)),
        text_step(8, publish, needs=()),
        text_step(9, 'echo "$A" >>ran.txt'),
    )
    assert resuming.run().returncode == 0
    assert project.executions == ["08"]
