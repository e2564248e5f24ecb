"""Looking: `plan`, `status`, `logs`, `lint` write nothing, wait for nothing, and answer in JSON when asked to."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest

from tests.cli.support import (
    Result,
    assert_helped,
    document,
    end_orphans,
    events,
    hanging_step,
    kill,
    killed_in,
    start_until,
    tree,
    wait_for,
)
from tests.conftest import Project

LOOKS = [
    ["plan"],
    ["plan", "--resume"],
    ["plan", "--resume", "--revalidate", "--json"],
    ["run", "--dry-run"],
    ["run", "--dry-run", "--json"],
    ["run", "--resume", "--dry-run"],
    ["resume", "--dry-run", "--force"],
    ["status"],
    ["status", "--json"],
    ["--checkpoint-status"],
    ["logs"],
    ["logs", "1"],
    ["lint"],
    ["schema", "status"],
]


def validated(project: Project, result: Result, schema: str, exit_code: int = 0) -> dict[str, object]:
    """Return the JSON answer, held against the schema that `workflow schema` prints."""
    answer = document(result, exit_code)
    known = document(project.run("schema", schema))
    jsonschema.Draft202012Validator.check_schema(known)
    jsonschema.validate(answer, known, cls=jsonschema.Draft202012Validator)
    return answer  # type: ignore[no-any-return]


def test_looking_writes_not_a_single_byte(project: Project) -> None:
    """F20, F22, A14: before a run there is nothing, after one nothing changes, damaged or not."""
    project.step(0)
    project.step(1, "echo said\nexit 1")
    for words in (["plan"], ["run", "--resume", "--dry-run"], ["status"], ["logs"]):
        project.run(*words)
    assert not (project.path / ".checkpoints").exists()
    project.run("-q")
    run = project.newest_run
    (run / "step_00.complete").write_text("STEP=0\n")
    (run / "checkpoint.json").write_text("{")
    before = tree(project)
    for words in LOOKS:
        result = project.run(*words)
        assert result.returncode == 0, (words, result.stderr)
        assert tree(project) == before, words


def test_plan_tells_work_by_its_exit_code_when_asked(project: Project) -> None:
    project.steps(2)
    assert project.run("plan").returncode == 0
    assert project.run("plan", "--exit-code").returncode == 10
    project.run("-q", "--until", "0")
    assert project.run("plan", "--exit-code", "--resume").returncode == 10
    assert project.run("plan", "--exit-code", "--resume", "--until", "0").returncode == 0
    assert project.run("plan", "--exit-code", "--json").returncode == 10


def test_plan_gives_the_reason_of_every_step(project: Project) -> None:
    """F22, F31: what would be done, and why."""
    project.step(0)
    project.step(1, "exit 3")
    project.step(2)
    project.run("-q")
    text = project.run("plan", "--resume").stdout
    assert "bypass" in text
    assert "completed" in text
    assert "exit code 3" in text
    assert "2 steps would run (1 bypass)" in text
    plan = validated(project, project.run("plan", "--resume", "--json"), "plan")
    assert plan["run_id"] == project.newest_run.name
    assert plan["counts"] == {"run": 2, "bypass": 1, "reuse": 0, "skip": 0, "leave": 0}


def test_what_plan_has_to_warn_of_is_not_lost_in_text(project: Project) -> None:
    project.steps(1)
    assert "new run" in project.run("plan", "--resume").stderr
    project.run("-q")
    (project.newest_run / "step_00.complete").write_text("")
    assert "marker of step 00" in project.run("plan", "--resume").stderr


def test_dry_run_is_plan(project: Project) -> None:
    project.steps(2)
    assert project.run("run", "--dry-run").stdout == project.run("plan").stdout
    assert project.run("run", "--dry-run", "--json").stdout == project.run("plan", "--json").stdout


@pytest.mark.parametrize("word", ["--json", "--format=json"])
def test_status_answers_with_one_document(project: Project, word: str) -> None:
    """F7, F11, S26, S64: one JSON document, the keys at the top, and nothing else on stdout."""
    project.step(0)
    project.step(1, "exit 3")
    project.run("-q")
    result = project.run("status", word)
    answer = validated(project, result, "status")
    assert not result.stderr
    assert answer["status"] == "failed"
    assert answer["completed_tasks"] == 1
    assert answer["total_tasks"] == 2
    assert answer["failed_tasks"] == 1
    assert answer["progress_percent"] == 50
    assert answer["resume_command"] == f"workflow resume {project.newest_run.name}"


def test_lint_answers_with_one_document(project: Project) -> None:
    project.steps(2)
    project.file("steps/common.sh", "x=1\n")
    answer = validated(project, project.run("lint", "--json"), "lint")
    assert answer["steps"] == 2
    assert answer["ignored"] == ["common.sh"]
    assert answer["problems"] == []


def test_lint_answers_with_one_document_when_there_are_problems(project: Project) -> None:
    project.step(0, "#| timeuot: 5s")
    project.step(1, "#| timeout: never")
    result = project.run("lint", "--json")
    answer = validated(project, result, "lint", 2)
    problems = answer["problems"]
    assert isinstance(problems, list)
    assert len(problems) == 2
    assert problems[0]["line"] == 2
    assert "timeuot" in problems[0]["message"]


def test_run_answers_with_one_object_a_line(project: Project) -> None:
    """The events of a run, in order, held against the schema; nothing else on stdout, whatever steps print."""
    project.step(0, "echo out\necho err >&2")
    project.step(1, '. "$WORKFLOW_LIB/step_execution.sh"\nstep_warning careful\nexit 3')
    result = project.run("--json")
    assert result.returncode == 1
    told = events(result)
    schema = document(project.run("schema", "event"))
    for event in told:
        jsonschema.validate(event, schema, cls=jsonschema.Draft202012Validator)
    names = [event["event"] for event in told]
    assert names == ["run_started", "step_started", "step_finished", "step_started", "step_finished", "run_finished"]
    assert told[-1]["exit_code"] == 1
    assert told[-2]["failure"]["kind"] == "exit"
    assert told[-2]["warnings"] == ["careful"]


@pytest.mark.parametrize("words", [["run", "--json"], ["status", "--json"], ["plan", "--json"], ["lint", "--json"]])
def test_refusals_leave_stdout_empty_for_programs_too(project: Project, words: list[str]) -> None:
    assert_helped(project.run(*words), 3 if words[0] == "status" else 2)


def test_stored_files_hold_against_the_schemas_that_are_printed(project: Project) -> None:
    """Format: checkpoint.json and the step states."""
    project.step(0)
    project.step(1, "exit 3")
    project.run("-q")
    run = project.newest_run
    for path, name in (
        (run / "checkpoint.json", "checkpoint"),
        (run / "state/step_00_state.json", "step-state"),
        (run / "state/step_01_state.json", "step-state"),
    ):
        schema = document(project.run("schema", name))
        jsonschema.validate(json.loads(path.read_text()), schema, cls=jsonschema.Draft202012Validator)


def test_status_of_a_live_run(project: Project) -> None:
    """RELIABILITY 29: it says what runs and who holds it, and does not wait for the lock."""
    project.step(0)
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    started = time.monotonic()
    answer = validated(project, project.run("status", "--json"), "status")
    assert time.monotonic() - started < 5
    assert answer["status"] == "in_progress"
    assert answer["current"] == ["01"]
    assert answer["resume_command"] is None
    holder = answer["holder"]
    assert isinstance(holder, dict)
    assert holder["pid"] == process.pid
    text = project.run("status").stdout
    assert "running" in text
    assert f"process {process.pid}" in text
    project.file("go", "")
    assert process.wait(20) == 0
    assert document(project.run("status", "--json"))["status"] == "completed"


def test_a_killed_run_never_reads_in_progress(project: Project) -> None:
    """FORMAT: worked out from markers and the lock, so also while the step it left behind still runs; S41."""
    project.step(0)
    hanging_step(project, 1)
    process = start_until(project, "here_01", "run")
    kill(process)
    answer = validated(project, project.run("status", "--json"), "status")
    assert answer["status"] in ("paused", "created")
    assert answer["holder"] is None
    assert answer["resume_command"] == f"workflow resume {project.newest_run.name}"
    end_orphans(project)
    text = project.run("status").stdout
    assert "in progress" not in text
    assert text.splitlines()[-1] == f"help: workflow resume {project.newest_run.name}"


def test_a_resume_under_way_reads_retrying(project: Project) -> None:
    """S40, S43."""
    hanging_step(project, 0)
    killed_in(project, 0)
    process = start_until(project, "here_00", "--resume")
    assert document(project.run("status", "--json"))["status"] == "retrying"
    project.file("go", "")
    assert process.wait(20) == 0


def test_status_names_the_right_run_among_several(project: Project) -> None:
    project.step(0, "[ -e ok ]")
    project.run("-q")
    project.file("ok", "")
    project.run("-q")
    first, second = (run.name for run in project.runs)
    assert f"run {second}: completed" in project.run("status").stdout
    assert f"run {first}: failed" in project.run("status", first).stdout


def test_status_points_to_the_runs_where_they_are(project: Project) -> None:
    """The command it ends with works as it stands."""
    project.step(0, "exit 1")
    project.run("-q", "--checkpoint-dir", "elsewhere")
    text = project.run("status", "--checkpoint-dir", "elsewhere").stdout
    assert text.splitlines()[-1].endswith("--checkpoint-dir elsewhere")


def test_logs_of_one_step_are_its_very_bytes(project: Project) -> None:
    project.step(0, "printf 'a\\000b\\377\\n'\necho err >&2")
    project.run("-q")
    import subprocess
    import sys

    from tests.conftest import clean_env

    said = subprocess.run(
        [sys.executable, "-m", "workflow", "logs", "0"], cwd=project, env=clean_env(), capture_output=True, check=True
    ).stdout
    assert said == b"a\0b\xff\nerr\n"


def test_logs_of_all_steps_come_in_order_with_titles(project: Project) -> None:
    for number in (2, 0, 1):
        project.step(number, f"echo said {number}")
    project.run("-q")
    for words in ([], [project.newest_run.name]):
        said = project.run("logs", *words).stdout
        assert said == "".join(f"==> 0{n} s{n} <==\nsaid {n}\n" for n in range(3))
    assert project.run("logs", project.newest_run.name, "s1").stdout == "said 1\n"


def test_logs_of_a_step_that_is_none_name_the_steps_there_are(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    assert_helped(project.run("logs", "7"), 2, "7", "00 s0")


def test_a_step_that_said_nothing_is_told_apart_from_one_that_is_not_there(project: Project) -> None:
    project.steps(1)
    project.run("-q")
    result = project.run("logs", "0")
    assert result.returncode == 0
    assert not result.stdout
    assert "00 s0" in result.stderr


def test_logs_follow_until_the_run_ends(project: Project) -> None:
    project.step(0, "echo first")
    hanging_step(project, 1, before="echo second")
    project.step(2, "echo third")
    run = start_until(project, "here_01", "run", "-q")
    folder = project.path / "follower"
    folder.mkdir()
    from tests.conftest import start_program

    follower = start_program("logs", "-f", "--checkpoint-dir", "../.checkpoints", cwd=folder)
    wait_for(lambda: "second" in (folder / "stdout.txt").read_text())
    assert follower.poll() is None
    project.file("go", "")
    assert run.wait(20) == 0
    assert follower.wait(10) == 0
    words = [line for line in (folder / "stdout.txt").read_text().splitlines() if not line.startswith("==>")]
    assert words == ["first", "second", "third"]
