"""`workflow checkpoint validate`: five checks, and every byte of a run that counts is among them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.support import assert_helped, document, hanging_step, start_until, tree
from tests.conftest import Project, clean_env
from tests.keeping.looking_support import complete_run, failed_run, snapshot
from workflow.checkpoint.layout import RunLayout
from workflow.definition import schemas
from workflow.planning.validity import checks_of

TITLES = (
    "Metadata valid",
    "State file valid",
    "Progress tracking valid",
    "All output files present",
    "Hashes match",
)
IS_LONG = os.environ.get("PROOF") == "long"


def checked(project: Project, *words: str, exit_code: int = 0) -> dict[str, Any]:
    answer = document(project.run("checkpoint", "validate", *words, "--json"), exit_code)
    jsonschema.Draft202012Validator(schemas.schema("checkpoint-validate")).validate(answer)
    assert isinstance(answer, dict)
    return answer


def failing(project: Project) -> list[tuple[str, str]]:
    """Return check and path of everything that is wrong."""
    answer = checked(project, exit_code=3)
    return [(check["name"], it["path"]) for check in answer["checks"] for it in check["findings"]]


def test_a_whole_run_has_five_ticks(project: Project) -> None:
    run = failed_run(project)
    snapshot(run)
    result = project.run("checkpoint", "validate", run.name, env={"PYTHONUTF8": "1"})
    assert result.returncode == 0
    assert result.stdout.splitlines() == [*(f"✓ {title}" for title in TITLES), "", f"{run.name} is whole"]
    assert checked(project, "--last")["is_valid"] is True


def test_ticks_and_crosses_are_words_where_stdout_cannot_say_them(project: Project) -> None:
    run = complete_run(project)
    (run / "step_01.complete").write_bytes(b"")
    result = project.run("checkpoint", "validate", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 3
    assert result.stdout.splitlines()[0] == "ok Metadata valid"
    assert "XX Progress tracking valid" in result.stdout


def test_what_is_wrong_is_named_with_the_command_that_helps(project: Project) -> None:
    run = failed_run(project)
    (run / "step_01.complete").write_bytes((run / "step_01.complete").read_bytes()[:40])
    (project.path / "out.txt").write_text("something else\n")
    result = project.run("checkpoint", "validate", env={"PYTHONUTF8": "1"})
    assert result.returncode == 3
    lines = result.stdout.splitlines()
    assert lines[2:5] == [
        "✗ Progress tracking valid",
        "    step_01.complete (step 01): it has no checksum: it was cut off, or written by hand",
        f"    help: workflow checkpoint repair {run.name}",
    ]
    assert "✓ All output files present" in lines
    assert lines[lines.index("✗ Hashes match") + 1].strip() == "out.txt (step 00): it is not what the step had made"
    assert f"    help: workflow resume {run.name} --revalidate" in lines
    assert lines[-1] == f"{run.name}: 2 of 5 checks failed"


def test_every_file_can_have_a_line_of_its_own(project: Project) -> None:
    run = failed_run(project)
    (run / "state/step_01_state.json").write_bytes(b"{}")
    said = project.run("checkpoint", "validate", "-v", env={"PYTHONUTF8": "1"}).stdout
    assert "    ✓ state/step_00_state.json" in said
    assert "    ✗ state/step_01_state.json" in said


def test_missing_files_are_told(project: Project) -> None:
    run = failed_run(project)
    (project.path / "out.txt").unlink()
    assert failing(project) == [("outputs", "out.txt")]
    (run / "state/step_01_state.json").unlink()
    answer = checked(project, exit_code=3)
    finding = answer["checks"][1]["findings"][0]
    assert (finding["path"], finding["step"]) == ("state/step_01_state.json", 1)
    assert finding["help"] == f"workflow mark {run.name} 01 --pending"


def test_a_state_of_another_completion_is_noticed_although_it_is_whole(project: Project) -> None:
    run = complete_run(project)
    before = (run / "state/step_01_state.json").read_bytes()
    assert project.run("resume", run.name, "--from-step", "1", "-q").returncode == 0
    (run / "state/step_01_state.json").write_bytes(before)
    assert failing(project) == [("state", "state/step_01_state.json")]


def test_a_marker_of_another_run_is_noticed(project: Project) -> None:
    first = complete_run(project)
    assert project.run("run", "-q").returncode == 0
    shutil.copy(first / "step_01.complete", project.newest_run / "step_01.complete")
    assert failing(project) == [("progress", "step_01.complete")]


def test_strict_hash_check_false_leaves_digests_out_and_says_so(project: Project) -> None:
    run = failed_run(project)
    text = (project.path / "workflow.yaml").read_text()
    project.file("workflow.yaml", f"checkpoints: {{strict_hash_check: false}}\n{text}")
    assert project.run("resume", "-q").returncode == 1
    (project.path / "out.txt").write_text("something else\n")
    answer = checked(project, run.name)
    assert answer["strict_hash_check"] is False
    assert "not compared" in answer["checks"][4]["note"]


def test_what_several_steps_write_is_the_last_ones(project: Project) -> None:
    project.step(0, "#| outputs: [log.txt]\necho 0 >log.txt")
    project.step(1, "#| outputs: [log.txt]\necho 1 >>log.txt")
    assert project.run("-q").returncode == 0
    assert checked(project)["is_valid"] is True


def test_a_step_that_left_the_definition_is_no_failure(project: Project) -> None:
    run = complete_run(project)
    (project.path / "steps/step_02_s2.sh").unlink()
    project.step(1, "echo new >>ran.txt")
    assert project.run("resume", run.name, "--revalidate", "-q").returncode == 0
    answer = checked(project, run.name)
    assert "02" in answer["checks"][2]["note"]


def test_a_live_run_is_validated_without_lock_and_without_false_alarm(project: Project) -> None:
    """Case 29."""
    project.step(0)
    hanging_step(project, 1)
    runner = start_until(project, "here_01", "run")
    answer = checked(project)
    assert answer["is_live"] is True
    (project.path / "go").touch()
    assert runner.wait(20) == 0


def test_a_moved_project_is_validated_where_it_is_now(project: Project, tmp_path: Path) -> None:
    failed_run(project)
    moved = Project(tmp_path / "moved")
    shutil.move(project.path, moved.path)
    assert checked(moved)["is_valid"] is True
    (moved.path / "out.txt").unlink()
    assert failing(moved) == [("outputs", "out.txt")]


def test_a_definition_that_is_damaged_or_newer_is_a_failed_check_not_an_error(project: Project) -> None:
    run = failed_run(project)
    whole = (run / "workflow.json").read_bytes()
    (run / "workflow.json").write_bytes(whole[:-20])
    assert failing(project) == [("metadata", "workflow.json")]
    assert checked(project, exit_code=3)["checks"][0]["findings"][0]["help"] == "workflow run --force"


def test_a_snapshot_cannot_be_validated_by_itself(project: Project) -> None:
    run = failed_run(project)
    snapshot(run)
    message = project.run("checkpoint", "validate", f"{run.name}@1")
    assert_helped(message, 2, f"workflow checkpoint validate {run.name}")
    assert_helped(project.run("checkpoint", "validate", "workflow_20200101_000000"), 3, "there is no run")


def test_validating_writes_nothing(project: Project) -> None:
    failed_run(project)
    before = tree(project)
    assert project.run("checkpoint", "validate").returncode == 0
    assert tree(project) == before


# ---------------------------------------------------------------- every byte, every bit


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with markers, states of completed and failed steps, an output, and a snapshot."""
    path = tmp_path_factory.mktemp("whole") / "project"
    path.mkdir()
    project = Project(path)
    run = failed_run(project)
    snapshot(run)
    return run


def counting_files(run: Path) -> list[Path]:
    """Return the files that a flipped bit in is tried of; of the copies of the library, which are long, see below."""
    states = ("step_*.complete", "state/step_*_state.json", "snapshots/*.json")
    patterns = ("workflow.json", "checkpoint.json", "*.sh", *states)
    return sorted(path for pattern in patterns for path in run.glob(pattern))


def is_noticed(run: Path) -> bool:
    checks, _ = checks_of(RunLayout(str(run)), str(run.parent.parent))
    return not all(check.is_passed for check in checks)


def damaged(run: Path, path: Path, data: bytes) -> bool:
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        return is_noticed(run)
    finally:
        path.write_bytes(before)


def bits_and_cuts(run: Path) -> list[tuple[Path, int, bool]]:
    every = []
    for path in counting_files(run):
        size = path.stat().st_size
        every += [(path, position, True) for position in range(size * 8)]
        every += [(path, position, False) for position in range(size)]
    return every


def assert_all_noticed(run: Path, changes: list[tuple[Path, int, bool]]) -> None:
    assert not is_noticed(run)
    for path, position, is_flip in changes:
        data = bytearray(path.read_bytes())
        if is_flip:
            data[position // 8] ^= 1 << position % 8
        wrong = bytes(data) if is_flip else bytes(data[:position])
        what = f"bit {position}" if is_flip else f"cut at {position}"
        assert damaged(run, path, wrong), f"{path.relative_to(run)}: {what} was not noticed"
    assert not is_noticed(run)


def test_flipped_bits_and_truncations_of_every_file_that_counts_are_noticed(whole: Path) -> None:
    """Cases 10, 11: a sample; the long form tries all of them."""
    assert len(counting_files(whole)) == 2 + 2 + 2 + 3 + len(list((whole / "snapshots").iterdir()))
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"repeat with CRASH_SEED={seed}")
    assert_all_noticed(whole, random.Random(seed).sample(bits_and_cuts(whole), 600))


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_every_flipped_bit_and_every_truncation_is_noticed(whole: Path) -> None:
    """Cases 10, 11: of markers, states, workflow.json, checkpoint.json, snapshots and programs."""
    assert_all_noticed(whole, bits_and_cuts(whole))


def test_the_checks_can_be_read_by_a_program(project: Project) -> None:
    """The integrity script of the how-to: every state file parses and holds what it must, told file by file."""
    failed_run(project)
    script = """
import json, subprocess, sys
answer = json.loads(subprocess.run(
    [sys.executable, "-m", "workflow", "checkpoint", "validate", "--json"], capture_output=True, text=True).stdout)
for check in answer["checks"]:
    print("ok" if check["passed"] else "no", check["title"])
"""
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=project.path, env=clean_env(), capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == [f"ok {title}" for title in TITLES]
