"""`approve`: a person's answer to a step that asks, recorded as theirs."""

from __future__ import annotations

import json

import pytest

from tests.cli.support import assert_helped, document, events, hanging_step, start_until, tree, wait_for
from tests.conftest import Project

ASKING = '#| approval: "Deploy to production?"\necho deployed'


def paused(project: Project, *more: str) -> str:
    """Run until a step asks; return the id of the run."""
    project.step(0)
    project.step(1, ASKING, name="deploy")
    project.step(2)
    result = project.run("-q", *more)
    assert result.returncode == 4, result.stderr
    return project.newest_run.name


def test_a_run_that_pauses_says_what_is_asked_and_what_to_type(project: Project) -> None:
    run_id = paused(project)
    said = project.run("--resume", "-q").stdout
    assert said.splitlines()[1:] == [
        "01 deploy asks: Deploy to production?",
        f"  yes: workflow approve {run_id} 01",
        f"  no:  workflow approve {run_id} 01 --reject",
        f"help: workflow resume {run_id}",
    ]
    status = project.run("status").stdout
    assert "paused" in status.splitlines()[0]
    assert f"  yes: workflow approve {run_id} 01" in status
    step = document(project.run("status", "--json"))["steps"][1]
    assert step["status"] == "waiting"
    assert step["approval"]["answer"] is None


@pytest.mark.parametrize("words", [["deploy"], ["1"], ["RUN", "01"]])
def test_after_a_yes_the_run_goes_on(project: Project, words: list[str]) -> None:
    run_id = paused(project)
    words = [run_id if word == "RUN" else word for word in words]
    result = project.run("approve", *words, env={"USER": "ada"})
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"step 01 deploy of {run_id} is approved (recorded as ada's word)",
        f"help: workflow resume {run_id}",
    ]
    assert document(project.run("status", "--json"))["steps"][1]["approval"]["by"] == "ada"
    assert project.run("--resume", "-q").returncode == 0
    assert project.markers == [0, 1, 2]


def test_after_a_no_the_step_fails_until_somebody_says_yes(project: Project) -> None:
    run_id = paused(project)
    assert project.run("approve", run_id, "deploy", "--reject", env={"USER": "ada"}).returncode == 0
    result = project.run("--resume", "-q")
    assert result.returncode == 1
    assert "ada" in result.stderr
    assert project.markers == [0]
    said = project.run("approve", run_id, "deploy", env={"USER": "bob"}).stdout
    assert said.startswith(f"step 01 deploy of {run_id} is approved (recorded as bob's word); ada had rejected it\n")
    assert project.run("--resume", "-q").returncode == 0


def test_the_same_answer_twice_changes_nothing(project: Project) -> None:
    run_id = paused(project)
    project.run("approve", "deploy", env={"USER": "ada"})
    before = tree(project)
    result = project.run("approve", run_id, "deploy", env={"USER": "bob"})
    assert result.returncode == 0
    assert "approved already (by ada" in result.stdout
    assert tree(project) == before


def test_what_is_completed_cannot_be_rejected(project: Project) -> None:
    run_id = paused(project)
    project.run("approve", "deploy")
    project.run("--resume", "-q")
    before = tree(project)
    assert_helped(project.run("approve", run_id, "deploy", "--reject"), 2, "completed", "mark")
    assert tree(project) == before


def test_a_live_run_hears_of_it(project: Project) -> None:
    project.step(0, "#| parallel: work\n#| approval: sure?\necho 00 >>ran.txt")
    hanging_step(project, 1)
    path = project.path / "steps/step_01_s1.sh"
    path.write_text(path.read_text().replace("#!/bin/sh\n", "#!/bin/sh\n#| parallel: work\n"))
    process = start_until(project, "here_01", "run", "--json", "-j", "2")
    wait_for(lambda: document(project.run("status", "--json"))["steps"][0]["status"] == "waiting")
    result = project.run("approve", "0", "--json")
    assert document(result)["resume_command"] is None
    wait_for(lambda: project.markers == [0])
    project.file("go", "")
    assert process.wait(20) == 0


def test_answers_are_one_document(project: Project) -> None:
    run_id = paused(project)
    given = document(project.run("approve", "deploy", "--json", env={"USER": "ada"}))
    assert given["by"] == "ada"
    assert given["text"] == "Deploy to production?"
    assert (given["run_id"], given["step"], given["answer"], given["before"]) == (run_id, 1, "approved", None)
    replaced = document(project.run("approve", run_id, "1", "--reject", "--json"))
    assert replaced["before"]["by"] == "ada"


def test_refusals_say_what_to_type(project: Project) -> None:
    assert_helped(project.run("approve"), 2, "workflow approve RUN STEP")
    assert_helped(project.run("approve", "deploy"), 2, "no run waits")
    run_id = paused(project)
    assert_helped(project.run("approve", run_id), 2, f"workflow approve {run_id} 01")
    assert_helped(project.run("approve", run_id, "0"), 2, "asks for no approval", "01 deploy")
    assert_helped(project.run("approve", run_id, "depoly"), 2, "did you mean deploy?")
    assert_helped(project.run("approve", "workflow_20000101_000000", "1"), 3)
    project.run("-q")
    other = project.newest_run.name
    message = project.run("approve", "deploy").stderr
    assert "2 runs wait" in message
    assert f"workflow approve {run_id} 01" in message
    assert f"workflow approve {other} 01" in message


def test_an_answer_that_is_not_whole_does_not_count_and_is_named(project: Project) -> None:
    run_id = paused(project)
    path = project.newest_run / "state/step_01.approval"
    project.run("approve", "deploy")
    path.write_bytes(path.read_bytes()[:-3])
    answer = document(project.run("status", "--json"))
    assert answer["steps"][1]["approval"]["answer"] is None
    assert "approval of step 01 deploy does not count" in answer["problems"][0]
    assert project.run("approve", run_id, "deploy").returncode == 0
    assert project.run("--resume", "-q").returncode == 0


def test_the_question_is_an_event(project: Project) -> None:
    project.step(0, ASKING)
    told = events(project.run("--json"))
    waiting = [event for event in told if event["event"] == "step_waiting"]
    assert [(event["why"], event["detail"]) for event in waiting] == [("approval", "Deploy to production?")]
    assert told[-1]["exit_code"] == 4
    assert json.dumps(told)
