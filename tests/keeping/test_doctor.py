"""`workflow doctor`: what is in force and from where, what is missing and what to do, and no byte written."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.cli.support import assert_helped, assert_refused, document, tree
from tests.conftest import ROOT, Project
from tests.docs.documents import section
from workflow.definition.schemas import schema
from workflow.keeping import diagnosis


def checks_of(answer: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in answer["checks"]}


def test_a_machine_that_has_everything_is_ready(project: Project) -> None:
    project.steps(2)
    before = tree(project)
    answer = document(project.run("doctor", "--json"))
    Draft202012Validator(schema("doctor")).validate(answer)
    assert answer["is_ready"] is True
    checks = checks_of(answer)
    assert {name for name, check in checks.items() if check["status"] == "wrong"} == set()
    assert set(checks) >= {"definition", "python", "sh", "checkpoint directory", "locks", "free space", "clock"}
    assert answer["checkpoint_dir"] == str(project.path / ".checkpoints")
    assert answer == {**document(project.run("doctor", "--format", "json")), "checks": answer["checks"]}
    assert tree(project) == before


def test_every_key_of_the_answer_is_in_the_reference(project: Project) -> None:
    said = set(re.findall(r"`(\w+)`", section((ROOT / "docs/reference/json.md").read_text(), "workflow doctor --json")))
    answer = document(project.run("doctor", "--json"))
    assert set(answer) | set(answer["settings"][0]) | set(answer["checks"][0]) <= said


def test_text_says_the_same_and_ends_with_the_verdict(project: Project) -> None:
    project.steps(1)
    project.file("p.yaml", "checkpoints: {compress: true}\n")
    text = project.run("doctor", "--policy", "p.yaml", env={"CHECKPOINT_RETENTION_DAYS": "1"}).stdout
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("  ")}
    assert rows["compress"] == ["true", "p.yaml:1"]
    assert rows["retention.max_age_days"] == ["1", "day", "CHECKPOINT_RETENTION_DAYS"]
    assert rows["interval_minutes"] == ["5", "minutes", "standard"]
    assert rows["retention.max_count"] == ["50", "standard"]
    assert text.splitlines()[-1].startswith("ready")


def test_it_looks_at_the_directory_above_when_there_is_none_yet(project: Project) -> None:
    project.steps(1)
    checks = checks_of(document(project.run("doctor", "--json", "--checkpoint-dir", "a/b/c")))
    assert f"looked at {project.path}" in checks["checkpoint directory"]["detail"]
    assert not (project.path / "a").exists()


@pytest.mark.parametrize("place", ["/proc/nothing", "file/below", "file"])
def test_a_place_that_cannot_be_written_is_wrong_and_names_a_remedy(project: Project, place: str) -> None:
    project.steps(1)
    project.file("file", "")
    result = project.run("doctor", "--checkpoint-dir", place, "--json")
    answer = document(result, 1)
    assert answer["is_ready"] is False
    wrong = [check for check in answer["checks"] if check["status"] == "wrong"]
    assert wrong
    assert all(check["help"] for check in wrong)
    text = project.run("doctor", "--checkpoint-dir", place).stdout
    assert text.splitlines()[-1].startswith("not ready")
    # And it is so: a run says no, too.
    assert project.run("run", "--checkpoint-dir", place).returncode in (2, 125)
    assert project.executions == []


def test_a_directory_that_others_hold_can_be_locked_all_the_same(project: Project) -> None:
    project.steps(1)
    project.run()
    with held(project.path / ".checkpoints"):
        assert checks_of(document(project.run("doctor", "--json")))["locks"]["status"] == "ok"


@contextmanager
def held(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def test_no_shell_is_wrong_and_no_bash_is_worth_knowing(project: Project, tmp_path: Path) -> None:
    project.steps(1)
    empty = tmp_path / "bin"
    empty.mkdir()
    checks = checks_of(document(project.run("doctor", "--json", env={"PATH": str(empty)}), 1))
    assert checks["sh"]["status"] == "wrong"
    assert "PATH" in checks["sh"]["help"]
    assert (checks["bash"]["status"], checks["git"]["status"]) == ("note", "note")
    shell = shutil.which("sh")
    assert shell
    (empty / "sh").symlink_to(shell)
    checks = checks_of(document(project.run("doctor", "--json", env={"PATH": str(empty)})))
    assert checks["sh"]["status"] == "ok"


def test_without_checkpoints_the_temporary_directory_is_what_counts(project: Project) -> None:
    project.steps(1)
    env = {"CHECKPOINT_ENABLED": "false", "TMPDIR": "/proc"}
    checks = checks_of(document(project.run("doctor", "--json", env=env), 1))
    assert checks["checkpoints"]["status"] == "note"
    assert checks["temporary directory"]["status"] == "wrong"
    assert "checkpoint directory" not in checks
    checks = checks_of(document(project.run("doctor", "--json", env={"TMPDIR": "/proc"})))
    assert checks["temporary directory"]["status"] == "note"


def test_a_wrong_definition_is_told_with_the_rest(project: Project) -> None:
    project.file("workflow.yaml", "steps: [{run: ':', timeuot: 1}]\n")
    answer = document(project.run("doctor", "--json", env={"CHECKPOINT_DIR": "kept"}), 1)
    told = checks_of(answer)["definition"]
    assert (told["status"], told["help"]) == ("wrong", "workflow lint")
    assert "workflow.yaml:1" in told["detail"]
    assert answer["checkpoint_dir"] == str(project.path / "kept")


def test_an_empty_directory_is_no_reason_to_fail(project: Project) -> None:
    answer = document(project.run("doctor", "--json"))
    assert checks_of(answer)["definition"]["status"] == "note"
    assert os.listdir(project.path) == []


def test_a_run_from_the_future_makes_it_look_at_the_clock(project: Project) -> None:
    project.steps(1)
    project.run()
    project.newest_run.rename(project.path / ".checkpoints/workflow_29990101_000000")
    checks = checks_of(document(project.run("doctor", "--json")))
    assert checks["clock"]["status"] == "note"
    assert "workflow_29990101_000000" in checks["clock"]["detail"]


@pytest.fixture
def looked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, dict[str, str]]]:
    """Look at the project from inside this process, so that the machine can be made to have something wrong."""
    project.steps(1)
    monkeypatch.chdir(project.path)
    return lambda: checks_of(diagnosis.diagnosis(None, None))


def test_locks_that_shut_nobody_out_are_wrong(
    looked: Callable[[], dict[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis.fcntl, "flock", lambda _fd, _how: None)
    assert (looked()["locks"]["status"], "two could hold it" in looked()["locks"]["detail"]) == ("wrong", True)

    def refused(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(diagnosis.fcntl, "flock", refused)
    told = looked()["locks"]
    assert told["status"] == "wrong"
    assert os.strerror(errno.ENOLCK) in told["detail"]
    assert "--checkpoint-dir" in told["help"]


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_file_system_of_another_machine_is_worth_knowing(
    looked: Callable[[], dict[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(diagnosis, "_file_system", lambda _path: kind)
    told = looked()["file system"]
    assert (told["status"], told["detail"].startswith(kind)) == ("note", True)


@pytest.mark.parametrize(
    ("free", "files", "status"), [(0, 10**6, "wrong"), (100, 10**6, "note"), (10**6, 5, "note"), (10**6, 10**6, "ok")]
)
def test_space_that_runs_out_is_told(
    looked: Callable[[], dict[str, dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    files: int,
    status: str,
) -> None:
    numbers = SimpleNamespace(f_bavail=free, f_frsize=4096, f_files=10**6, f_favail=files, f_blocks=10**7)
    monkeypatch.setattr(diagnosis.os, "statvfs", lambda _path: numbers)
    assert looked()["free space"]["status"] == status


def test_a_clock_that_was_never_set_is_told(
    looked: Callable[[], dict[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis.time, "time", lambda: 5000.0)
    assert "1970-01-01" in looked()["clock"]["detail"]
    assert looked()["clock"]["status"] == "note"


def test_what_is_typed_wrong_is_refused(project: Project) -> None:
    project.steps(1)
    assert_helped(project.run("doctor", "--json", "--format", "text"), 2, "cannot both be")
    assert_helped(project.run("doctor", "--polciy", "x"), 2, "--polciy", "--policy")
    assert_refused(project.run("doctor", "extra"), 2, "extra")
