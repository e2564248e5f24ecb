"""`workflow checkpoint show`, `latest`, `diff`: what is told of a run, and of a moment of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import jsonschema
import pytest

from tests.cli.support import assert_helped, document, hanging_step, start_until, tree
from tests.conftest import Project
from tests.keeping.looking_support import complete_run, failed_run, snapshot
from workflow.definition import schemas


def shown(project: Project, *words: str) -> dict[str, Any]:
    answer = document(project.run("checkpoint", "show", *words, "--json"))
    assert isinstance(answer, dict)
    jsonschema.Draft202012Validator(schemas.schema("checkpoint-show")).validate(answer)
    return answer


def test_show_tells_everything_a_person_wants_to_know(project: Project) -> None:
    run = failed_run(project)
    text = project.run("checkpoint", "show", "--last").stdout
    for words in (
        f"run {run.name}: failed",
        "progress: [##########----------] 50%, 2 of 4 steps done, 1 failed",
        "trigger: error",
        "steps captured: 4 (2 completed, 1 failed, 1 blocked)",
        "02 flaky   failed",
        "active locks: none",
        "pending approvals: none",
        "size: ",
        "recovery context\n  workers to restore: 1 for step 02\n  steps to resume: 02 and 03",
        "  locks to re-establish: db",
        "    V=1",
        f"help: workflow resume {run.name}",
    ):
        assert words in text


def test_steps_to_resume_stand_in_the_order_in_which_they_run(project: Project) -> None:
    project.file(
        "workflow.yaml",
        "steps:\n  - {name: last, needs: [middle], run: ':'}\n  - {name: first, needs: [], run: exit 1}\n"
        "  - {name: middle, needs: [first], run: ':'}\n",
    )
    assert project.run("-q").returncode == 1
    assert "steps to resume: 01, 02 and 00" in project.run("checkpoint", "show", "--last").stdout
    wanted = ["01", "02", "00"]
    for found in (shown(project), json.loads((project.newest_run / "checkpoint.json").read_text())):
        assert found["recovery_context"]["tasks_to_resume"] == wanted
    assert document(project.run("plan", "--resume", "--json"))["recovery"]["steps_to_resume"] == wanted


def test_pending_steps_before_a_failed_one_come_first(project: Project) -> None:
    """A failure of a later step does not put it before one that has not run yet."""
    project.steps(3)
    project.step(2, "exit 1")
    assert project.run("-q").returncode == 1
    assert project.run("mark", project.newest_run.name, "0", "--pending").returncode == 0
    assert "steps to resume: 00 and 02" in project.run("checkpoint", "show", "--last").stdout


def test_pending_approvals_are_told_with_the_commands_that_answer(project: Project) -> None:
    run = failed_run(project)
    project.file("mended", "")
    assert project.run("resume", "-q").returncode == 4
    text = project.run("checkpoint", "show").stdout
    assert "pending approvals: 1\n  03 deploy asks: Did you look?" in text
    assert f"yes: workflow approve {run.name} 03" in text
    pending = shown(project)["pending_approvals"]
    assert [(it["step"], it["text"]) for it in pending] == [("03", "Did you look?")]


def test_the_document_is_that_of_checkpoint_json_and_worked_out_from_the_truth(project: Project) -> None:
    run = failed_run(project)
    answer = shown(project, run.name)
    master = json.loads((run / "checkpoint.json").read_text())
    differing = {key for key in master if key != "checksum" and answer[key] != master[key]}
    assert differing <= {"last_checkpoint", "updated_at"}
    assert {"tasks", "trigger"} <= set(answer)
    assert answer["tasks"]["00"]["status"] == "completed"
    assert answer["tasks"]["02"]["exit_code"] == 1
    for wrong in (b"", b"{}", (run / "checkpoint.json").read_bytes().replace(b'"failed"', b'"faiLed"', 1)):
        (run / "checkpoint.json").write_bytes(wrong)
        again = shown(project, run.name)
        assert (again["status"], again["completed_tasks"]) == ("failed", 2)
    (run / "step_01.complete").unlink()
    assert shown(project, run.name)["completed_tasks"] == 1


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (".status", '"failed"'),
        ("{completed: .completed_tasks, total: .total_tasks, p: (.completed_tasks / .total_tasks * 100 | round)}",
         '{"completed":2,"total":4,"p":50}'),
        (".recovery_context.tasks_to_resume", '["02","03"]'),
        (".plan_hash | startswith(\"blake3:\")", "true"),
        (".trigger", '"error"'),
    ],
)  # fmt: skip
def test_jq_reads_it(project: Project, query: str, answer: str) -> None:
    failed_run(project)
    said = project.run("checkpoint", "show", "--last", "--format", "json").stdout
    result = subprocess.run(["jq", "-c", query], input=said, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == answer


def test_a_snapshot_shows_that_moment_and_not_the_present(project: Project) -> None:
    run = failed_run(project)
    number = snapshot(run, "error", "then")
    project.file("mended", "")
    assert project.run("resume", "-q").returncode == 4
    then, now = shown(project, f"{run.name}@{number}"), shown(project, run.name)
    assert (then["status"], then["trigger"], then["completed_tasks"]) == ("failed", "error", 2)
    assert (now["status"], now["completed_tasks"]) == ("paused", 3)
    assert then["resume_command"] == f"workflow resume {run.name}@{number}"
    text = project.run("checkpoint", "show", f".checkpoints/{run.name}@{number}").stdout
    assert f"snapshot {run.name}@{number}: failed" in text
    assert "trigger: error (then)" in text
    assert "locks to hold again: 1\n  db" in text


def test_latest_is_the_newest_snapshot_else_the_run_itself(project: Project) -> None:
    run = failed_run(project)
    for path in (run / "snapshots").glob("*"):
        path.unlink()
    result = project.run("checkpoint", "latest")
    assert result.returncode == 0
    assert "no snapshot yet" in result.stderr
    assert f"run {run.name}" in result.stdout
    snapshot(run)
    number = snapshot(run)
    for words in ((), (run.name,)):
        answer = document(project.run("checkpoint", "latest", *words, "--json"))
        assert answer["checkpoint_id"] == f"{run.name}@{number}"


def test_a_live_run_shows_who_holds_it_and_what_runs(project: Project) -> None:
    project.step(0)
    hanging_step(project, 1, before="#| lock: db")
    runner = start_until(project, "here_01", "run")
    answer = shown(project)
    assert answer["status"] == "in_progress"
    assert [lock["lock"] for lock in answer["active_locks"]] == ["run", "db"]
    assert answer["tasks"]["01"]["status"] == "running"
    assert "the run itself, held by process" in project.run("checkpoint", "show").stdout
    (project.path / "go").touch()
    assert runner.wait(20) == 0


def test_names_that_are_wrong_are_answered_with_what_there_is(project: Project) -> None:
    assert_helped(project.run("checkpoint", "show"), 3, "there are no runs", "workflow run")
    run = failed_run(project)
    number = snapshot(run)
    assert_helped(project.run("checkpoint", "show", run.name[:-1]), 3, f"did you mean {run.name}?")
    assert_helped(project.run("checkpoint", "show", f"{run.name}@99"), 3, f"{run.name}@{number}")
    assert_helped(project.run("checkpoint", "show", f"{run.name}@x"), 2, "number of a snapshot")
    assert_helped(project.run("checkpoint", "show", run.name, "--last"), 2, "--last")
    assert_helped(project.run("checkpoint", "show", "@1"), 2, "names no run")
    assert_helped(project.run("checkpoint", "show", ""), 2, "names no run")
    assert_helped(project.run("checkpoint", "latest", f"{run.name}@1"), 2, f"show {run.name}@1")
    assert_helped(project.run("checkpoint", "shwo"), 2, "did you mean: workflow checkpoint show?")
    path = next((run / "snapshots").glob(f"{number:04d}_*"))
    path.write_bytes(path.read_bytes()[:-9])
    assert_helped(project.run("checkpoint", "show", f"{run.name}@{number}"), 3, "damaged")


def test_names_and_values_of_steps_stay_on_their_lines(project: Project) -> None:
    project.file(
        "workflow.yaml",
        'steps:\n  - {name: a, run: \'printf "V<<E\\n1\\033[31m\\n2\\nE\\n" >>"$WORKFLOW_OUTPUT"\'}\n',
    )
    assert project.run("-q").returncode == 0
    text = project.run("checkpoint", "show").stdout
    assert "\x1b" not in text
    assert "V=1\\x1b[31m\\n2" in text


def test_a_difference_tells_steps_times_inputs_outputs_and_values(project: Project) -> None:
    first = failed_run(project)
    number = snapshot(first)
    text = (project.path / "workflow.yaml").read_text()
    project.file("workflow.yaml", text.replace("echo made", "echo other").replace("V=1", "V=2"))
    project.file("mended", "")
    assert project.run("-q").returncode == 4
    second = project.newest_run
    answer = document(project.run("checkpoint", "diff", first.name, second.name, "--json"))
    jsonschema.Draft202012Validator(schemas.schema("checkpoint-diff")).validate(answer)
    steps = {it["step"]: it for it in answer["steps"]}
    assert {"fingerprint", "output_hash"} <= set(steps["00"]["changes"])
    assert [it["code"] for it in steps["00"]["inputs"]] == ["script-changed"]
    assert steps["02"]["changes"]["status"] == {"a": "failed", "b": "completed"}
    assert answer["values"] == [{"name": "V", "a": "1", "b": "2"}]
    assert answer["is_same"] is False
    said = project.run("checkpoint", "diff", first.name, second.name).stdout
    assert "definition: changed" in said
    assert "00 build: inputs changed, its script was edited; outputs blake3:" in said
    assert "02 flaky: failed -> completed; exit code 1 -> 0" in said
    assert "value V: 1 -> 2" in said
    assert "no difference" in project.run("checkpoint", "diff", first.name, f"{first.name}@{number}").stdout
    assert_helped(project.run("checkpoint", "diff", first.name, f"{first.name}@77"), 3, "@77")
    assert project.run("checkpoint", "diff", first.name).returncode == 2


def test_steps_that_only_one_of_them_has_are_told(project: Project) -> None:
    complete_run(project, 2)
    first = project.newest_run.name
    project.step(2)
    assert project.run("-q").returncode == 0
    said = project.run("checkpoint", "diff", first, project.newest_run.name).stdout
    assert "02 s2: only in b" in said


def test_looking_writes_nothing(project: Project) -> None:
    run = failed_run(project)
    number = snapshot(run)
    before = tree(project)
    for words in (("show",), ("show", f"{run.name}@{number}"), ("latest", "--json"), ("diff", run.name, run.name)):
        assert project.run("checkpoint", *words).returncode == 0
    assert tree(project) == before
