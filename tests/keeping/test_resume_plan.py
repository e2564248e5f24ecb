"""A resume that can be read first: `--dry-run`, the question on a terminal, `--validate`, `--revalidate`."""

from __future__ import annotations

import subprocess
from typing import Any

import jsonschema
import pexpect
import pytest

from tests.cli.support import assert_helped, document, end_orphans, hanging_step, kill, killed_in, start_until, tree
from tests.conftest import Project, markers_of
from tests.keeping.looking_support import abandon, complete_run, failed_run
from tests.processes.support import terminal
from workflow.definition import schemas


def recovery(project: Project, *words: str) -> dict[str, Any]:
    answer = document(project.run("resume", "--dry-run", "--json", *words))
    jsonschema.Draft202012Validator(schemas.schema("plan")).validate(answer)
    found = answer["recovery"]
    assert isinstance(found, dict)
    return found


# ---------------------------------------------------------------- the plan


def test_the_plan_counts_workers_steps_locks_and_approvals(project: Project) -> None:
    run = failed_run(project)
    before = tree(project)
    said = project.run("resume", "--dry-run").stdout.splitlines()
    assert said[:5] == [
        f"plan for run {run.name}",
        "recovery: 1 worker to restore, 2 steps to resume, 1 lock to re-establish, 1 approval to wait for",
        "  worker 1: begins with 02 flaky",
        "  lock db: steps 02 and 03",
        "  approval: 03 deploy asks: Did you look?",
    ]
    assert "  run     02 flaky   never-run: last time: exit code 1" in said
    assert said[-1] == "2 steps would run (2 bypass)"
    found = recovery(project, run.name)
    assert found["steps_to_resume"] == ["02", "03"]
    assert found["locks"] == [{"lock": "db", "steps": ["02", "03"]}]
    assert tree(project) == before


def test_a_step_that_was_cut_short_is_what_its_worker_had_in_hand(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1)
    killed_in(project, 1)
    workers = recovery(project)["workers"]
    assert [(it["worker"], it["step"], it["state"]) for it in workers if it["step"] == "01"] == [(1, "01", "cut-short")]
    assert "which was cut short: it runs again" in project.run("resume", "--dry-run").stdout


def test_a_step_that_outlived_its_runner_is_waited_for(project: Project) -> None:
    hanging_step(project, 0)
    kill(start_until(project, "here_00", "run"))
    assert [it["state"] for it in recovery(project)["workers"]] == ["running"]
    (project.path / "go").touch()
    end_orphans(project)


def test_an_outcome_that_nobody_recorded_is_taken_over(project: Project) -> None:
    hanging_step(project, 0)
    kill(start_until(project, "here_00", "run"))
    (project.path / "go").touch()
    for _ in range(100):
        workers = recovery(project)["workers"]
        if workers[0]["state"] == "ended":
            break
    assert (workers[0]["state"], workers[0]["exit_code"]) == ("ended", 0)


def test_a_new_run_has_nothing_to_recover(project: Project) -> None:
    project.steps(1)
    assert document(project.run("plan", "--json"))["recovery"] is None
    assert "recovery" not in project.run("plan").stdout


# ---------------------------------------------------------------- the question


def test_a_yes_resumes_and_a_no_changes_nothing(project: Project) -> None:
    project.step(0)
    project.step(1, "echo 01 >>ran.txt; [ -e mended ]")
    assert project.run("-q").returncode == 1
    project.file("mended", "")
    before = tree(project)
    child = terminal(project, "resume")
    child.expect_exact("1 worker to restore, 1 step to resume, 0 locks to re-establish")
    child.expect_exact("run  01 s1")
    child.expect_exact("Resume it? [Y/n]: ")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert "was not resumed: the answer was no" in str(child.before)
    assert tree(project) == before
    child = terminal(project, "resume")
    child.expect_exact("Resume it?")
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert project.executions == ["00", "01", "01"]


@pytest.mark.parametrize(("key", "code"), [("c", 130), ("d", 130)])
def test_no_answer_is_an_interrupt_and_changes_nothing(project: Project, key: str, code: int) -> None:
    run = failed_run(project)
    child = terminal(project, "resume", run.name)
    child.expect_exact("Resume it?")
    child.sendcontrol(key)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert project.executions == ["build", "plain", "flaky"]


@pytest.mark.parametrize(
    "words", [("resume", "--force"), ("resume", "--auto"), ("run", "--resume"), ("resume", "--json")]
)
def test_nobody_is_asked_who_said_not_to(project: Project, words: tuple[str, ...]) -> None:
    project.step(0, "echo 00 >>ran.txt; [ -e mended ]")
    assert project.run("-q").returncode == 1
    project.file("mended", "")
    child = terminal(project, *words)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "Resume it?" not in str(child.before)


def test_nothing_is_asked_where_nothing_would_run_or_another_runner_is_there(project: Project) -> None:
    run = complete_run(project, 1)
    child = terminal(project, "resume", run.name)
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, "Resume it?" in str(child.before)) == (0, False)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    child = terminal(project, "resume")
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, "Resume it?" in str(child.before)) == (75, False)
    (project.path / "go").touch()
    assert runner.wait(20) == 0


# ---------------------------------------------------------------- --validate


def test_validate_runs_nothing_of_a_run_that_does_not_hold(project: Project) -> None:
    run = failed_run(project)
    project.file("mended", "")
    assert project.run("resume", "--validate", "--dry-run").returncode == 0
    whole = (run / "step_01.complete").read_bytes()
    (run / "step_01.complete").write_bytes(whole[:-1])
    before = tree(run)
    for words in (("resume",), ("run", "--resume"), ("resume", run.name), ("resume", "--dry-run")):
        result = project.run(*words, "--validate")
        assert_helped(
            result, 3, "checkpoint validation failed", "step_01.complete", f"workflow checkpoint validate {run.name}"
        )
    assert tree(run) == before
    assert project.executions == ["build", "plain", "flaky"]
    (run / "step_01.complete").write_bytes(whole)
    assert project.run("resume", "--validate", "-q").returncode == 4
    assert project.executions[3:] == ["flaky"]


def test_validate_does_not_take_an_older_run_instead_of_a_damaged_one(project: Project) -> None:
    failed_run(project)
    newest = failed_run(project)
    (newest / "workflow.json").write_bytes(b"{")
    assert_helped(project.run("resume", "--validate"), 3, "workflow.json")
    assert project.run("--resume", "-q").returncode == 1, "without it the older one is carried on"


def test_the_loop_of_the_manual_starts_afresh_where_the_checkpoint_does_not_hold(project: Project) -> None:
    run = failed_run(project)
    project.file("mended", "")
    (project.path / "out.txt").unlink()
    assert project.run("--resume", "--validate").returncode == 3
    assert project.run("run", "-q").returncode == 4
    assert project.newest_run != run
    assert project.executions[-3:] == ["build", "plain", "flaky"]


def test_validate_with_revalidate_leaves_outputs_to_that(project: Project) -> None:
    failed_run(project)
    project.file("mended", "")
    (project.path / "out.txt").unlink()
    assert project.run("resume", "--validate", "--revalidate", "-q").returncode == 4
    assert (project.path / "out.txt").read_text() == "made\n"


# ---------------------------------------------------------------- outputs


def test_a_missing_output_of_a_bypassed_step_is_a_warning_that_names_the_step(project: Project) -> None:
    run = failed_run(project)
    (project.path / "out.txt").unlink()
    result = project.run("resume")
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert "warning: an output of steps that are complete and bypassed cannot be found: out.txt of 00 build" in said
    assert f"workflow resume {run.name} --from-step 00" in said
    assert "out.txt of 00 build" in project.run("resume", "--dry-run").stderr
    assert project.executions.count("build") == 1


def test_validate_on_resume_false_says_nothing(project: Project) -> None:
    failed_run(project)
    text = (project.path / "workflow.yaml").read_text()
    project.file("workflow.yaml", f"checkpoints: {{validate_on_resume: false}}\n{text}")
    (project.path / "out.txt").unlink()
    result = project.run("resume")
    assert "cannot be found" not in result.stdout + result.stderr


PIPELINE = """{settings}steps:
  - {{name: a, needs: [], run: 'echo a >>ran.txt; echo a >a.txt', outputs: [a.txt]}}
  - {{name: b, needs: [a], run: echo b >>ran.txt}}
  - {{name: c, needs: [], run: 'echo c >>ran.txt; echo c >c.txt', outputs: [c.txt]}}
"""


@pytest.mark.parametrize(("change", "code"), [("rm a.txt", "output-missing"), ("echo x >a.txt", "output-changed")])
def test_revalidate_runs_again_what_made_it_and_what_depends_on_it(project: Project, change: str, code: str) -> None:
    project.file("workflow.yaml", PIPELINE.format(settings=""))
    assert project.run("-q").returncode == 0
    run = project.newest_run.name
    (project.path / "a.txt").unlink()
    if "echo" in change:
        project.file("a.txt", "x\n")
    plan = document(project.run("resume", run, "--revalidate", "--dry-run", "--json"))
    reasons = {step["name"]: [reason["code"] for reason in step["reasons"]] for step in plan["steps"]}
    assert reasons == {"a": [code], "b": ["upstream-changed"], "c": ["completed"]}
    assert project.run("resume", run, "--revalidate", "-q").returncode == 0
    assert sorted(project.executions[3:]) == ["a", "b"]
    assert project.run("checkpoint", "validate").returncode == 0
    assert project.run("resume", run, "--revalidate", "-q").returncode == 0
    assert len(project.executions) == 5


def test_revalidate_compares_no_digests_without_strict_hash_check(project: Project) -> None:
    project.file("workflow.yaml", PIPELINE.format(settings="checkpoints: {strict_hash_check: false}\n"))
    assert project.run("-q").returncode == 0
    project.file("a.txt", "x\n")
    assert project.run("resume", project.newest_run.name, "--revalidate", "-q").returncode == 0
    assert len(project.executions) == 3


# ---------------------------------------------------------------- abandoned


def test_an_abandoned_run_reads_so_everywhere_and_is_passed_over(project: Project) -> None:
    older, newer = failed_run(project), failed_run(project)
    abandon(newer)
    assert document(project.run("status", newer.name, "--json"))["status"] == "abandoned"
    assert f"run {newer.name}: abandoned" in project.run("status", newer.name).stdout
    assert "abandoned" in project.run("checkpoint", "show", newer.name).stdout
    project.file("mended", "")
    result = project.run("--resume")
    assert f"passed over {newer.name}: it is abandoned" in result.stdout + result.stderr
    assert markers_of(older) == [0, 1, 2]
    assert markers_of(newer) == [0, 1]


def test_resuming_it_by_name_takes_the_word_back(project: Project) -> None:
    run = failed_run(project)
    abandon(run)
    assert_helped(project.run("resume"), 3, "there is nothing to resume", "it is abandoned")
    assert (run / "abandoned").exists()
    assert project.run("resume", run.name, "-q").returncode == 1
    assert not (run / "abandoned").exists()
    assert document(project.run("status", "--json"))["status"] == "failed"


def test_a_complete_run_cannot_read_abandoned(project: Project) -> None:
    run = complete_run(project, 1)
    abandon(run)
    assert document(project.run("status", "--json"))["status"] == "completed"


def test_a_resume_in_plain_shell_takes_the_word_back_too(project: Project) -> None:
    run = failed_run(project)
    project.file("mended", "")
    abandon(run)
    result = subprocess.run(
        ["sh", str(run / "resume.sh"), "--approve", "03"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert not (run / "abandoned").exists()
