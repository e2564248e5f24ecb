"""Disks that are full, broken or read-only: the run says so and stops, and no marker lies."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project, run_program
from tests.crash.recovering import (
    assert_recovers,
    leftovers,
    program,
    program_env,
    sample,
    start_over,
    wait_for_orphans,
    what_is_left,
)
from tests.crash.test_fault_points import OPERATIONS, first_marker, operations_of
from workflow.checkpoint import durable
from workflow.errors import NotRecordedError

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
NOT_RECORDED = 125
# Operations at the end of a run that touch no truth: checkpoint.json (how often depends on time), the last snapshot,
# history, holder, the audit log.
LAST_DERIVED = 32
WAYS_ON = ("workflow resume", "--checkpoint-dir", "workflow run", "df -h", "look at the disk")


def assert_stopped_well(
    project: Project, result: subprocess.CompletedProcess[str], steps: int, *, healed: bool
) -> None:
    """The end of a run whose disk failed: exit 125 (0 where that may be), a sentence and a way on, no lie."""
    told = result.stdout + result.stderr
    assert "Traceback" not in told, told
    assert "this is a bug" not in told, told
    assert result.returncode in ((0, NOT_RECORDED) if healed else (NOT_RECORDED,)), told
    if result.returncode == 0:
        assert what_is_left(project).done == set(range(steps)), f"exit 0, and not everything is recorded: {told}"
    else:
        assert "error: " in result.stderr or "warning: " in result.stderr, told
        assert any(it in told for it in WAYS_ON), told
    ran = set(project.executions)
    for number in what_is_left(project).done:
        assert f"{number:02d}" in ran, f"step {number:02d} is marked complete and never ran"


def fail_and_recover(project: Project, plan: str, steps: int, *, healed: bool) -> int:
    """Run with a failing operation, then resume without; return the exit code of the first."""
    start_over(project)
    result = project.run(env={"WORKFLOW_FAULT": plan})
    try:
        assert_stopped_well(project, result, steps, healed=healed)
        wait_for_orphans(project)
        assert_recovers(project, steps)
    except AssertionError as error:
        raise AssertionError(f"with WORKFLOW_FAULT={plan}: {error}") from error
    return result.returncode


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_for_ever_stops_the_run_and_no_marker_lies(project: Project, code: str) -> None:
    """Cases 6, 7, 19: from any operation on; earlier markers stay valid, a resume completes once it is gone."""
    project.steps(3)
    count = len(operations_of(project, "run"))
    # The very last ones concern caches and what is derived: they may fail and the run is recorded all the same.
    for index in sample(range(1, count - LAST_DERIVED), 6):
        fail_and_recover(project, f"any:{index}:{code}:forever", 3, healed=False)


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_once_stops_the_run_or_is_healed(project: Project, code: str) -> None:
    """Cases 5, 7, 19: at any operation."""
    project.steps(3)
    count = len(operations_of(project, "run"))
    for index in sample(range(1, count + 1), 6):
        fail_and_recover(project, f"any:{index}:{code}", 3, healed=True)


@pytest.mark.parametrize("operation", [it for it in OPERATIONS if it != "unlink"])
def test_a_full_disk_at_the_commit_says_how_to_go_on(project: Project, operation: str) -> None:
    """Case 7: the message tells what to do, and the step that had ended is not repeated where it need not be."""
    project.steps(3)
    index = max(1, operations_of(project, "run").count(operation) - (5 if operation == "fsync" else 7))
    start_over(project)
    result = project.run(env={"WORKFLOW_FAULT": f"{operation}:{index}:ENOSPC:forever"})
    assert_stopped_well(project, result, 3, healed=False)
    assert "No space left" in result.stderr
    assert "workflow resume" in result.stdout + result.stderr
    assert_recovers(project, 3)


def test_one_failed_fsync_is_healed_by_a_fresh_file(project: Project) -> None:
    """Case 5: it is never repeated on the same descriptor; the run ends well and every marker is whole."""
    project.steps(2)
    fsyncs = operations_of(project, "run").count("fsync")
    start_over(project)
    result = project.run(env={"WORKFLOW_FAULT": f"fsync:{fsyncs - 3}:EIO"})
    assert result.returncode == 0, result.stderr
    assert what_is_left(project).done == {0, 1}
    assert leftovers(project.newest_run) == []


@pytest.mark.parametrize("index", [1, 2, 3])
def test_a_failed_fsync_is_never_repeated_on_the_same_descriptor(tmp_path: Path, index: int, mocker: object) -> None:
    """Case 5: kernels mark the pages clean, so the second call would lie. Also for the directory."""
    calls: list[int] = []
    real_open, real_fsync = os.open, os.fsync
    opened: dict[int, int] = {}

    def count_open(*arguments: object, **named: object) -> int:
        fd = real_open(*arguments, **named)  # type: ignore[arg-type]
        opened[fd] = len(opened) * 1000 + fd
        return fd

    def fail_once(fd: int) -> None:
        calls.append(opened[fd])
        if len(calls) == index:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_fsync(fd)

    mocker.patch.object(durable.os, "open", count_open)  # type: ignore[attr-defined]
    mocker.patch.object(durable.os, "fsync", fail_once)  # type: ignore[attr-defined]
    disk = durable.Disk()
    disk.write(f"{tmp_path}/one", b"1")
    disk.write(f"{tmp_path}/two", b"2")
    assert len(calls) > 4
    failed = calls[index - 1]
    assert failed not in calls[index:], "fsync was tried again where it had failed"
    assert (tmp_path / "one").read_bytes() == b"1"


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("code", ERRORS)
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, operation: str, code: str) -> None:
    """Cases 6, 7: the old content or the new one, no temporary file, and an error a person can act on."""
    path = f"{tmp_path}/file"
    durable.Disk().write(path, b"old")
    disk = durable.Disk(faults=durable.Faults.parse(f"{operation}:1:{code}:forever"))
    with pytest.raises(NotRecordedError) as caught:
        disk.write(path, b"new")
    assert caught.value.exit_code == NOT_RECORDED
    assert caught.value.help
    assert Path(path).read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 70_001])
@pytest.mark.parametrize("often", ["", ":forever"])
def test_short_writes_are_completed(tmp_path: Path, size: int, often: str) -> None:
    """Case 9."""
    data = os.urandom(size)
    durable.Disk(faults=durable.Faults.parse(f"write:1:short{often}")).write(f"{tmp_path}/file", data)
    assert (tmp_path / "file").read_bytes() == data


def test_a_run_in_which_every_write_is_short_is_as_any_other(project: Project) -> None:
    """Case 9."""
    project.steps(2)
    result = project.run(env={"WORKFLOW_FAULT": "write:1:short:forever"})
    assert result.returncode == 0, result.stderr
    assert what_is_left(project).done == {0, 1}


def test_a_step_that_ended_before_its_commit_failed_is_not_repeated(project: Project) -> None:
    """Case 7: hours of work are not thrown away because the disk was full when they ended."""
    project.steps(3)
    result = project.run(env={"WORKFLOW_FAULT": f"rename:{first_marker(3)}:ENOSPC:forever"})
    assert result.returncode == NOT_RECORDED
    ended = project.executions
    assert_recovers(project, 3)
    assert project.executions.count(ended[0]) == 1


# ---------------------------------------------------------------- real disks


def _namespace() -> list[str]:
    """Return the command that makes a mount namespace here, [] when that is not possible."""
    if shutil.which("unshare") is None:
        return []
    # Over /tmp itself: in a namespace of its own nobody else sees that.
    probe = "mount -t tmpfs -o size=64k none /tmp"
    for command in (["unshare", "-m"], ["unshare", "-Urm"]):
        tried = subprocess.run([*command, "sh", "-c", probe], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    return []


NAMESPACE = _namespace()
can_mount = pytest.mark.skipif(not NAMESPACE, reason="file systems cannot be mounted here")


def in_namespace(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own; `workflow` is the program, the directory the project's."""
    words = " ".join(f"'{word}'" for word in program())
    return subprocess.run(
        [*NAMESPACE, "sh", "-c", f'workflow() {{ {words} "$@"; }}\n{textwrap.dedent(script)}'],
        cwd=project.path,
        env=program_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@can_mount
@pytest.mark.parametrize("options", ["size=64k", "size=4m,nr_inodes=8"], ids=["no space", "no inodes"])
def test_a_disk_that_is_full_at_the_start_fails_before_the_first_step(project: Project, options: str) -> None:
    """Cases 17, 19: for real, no room for a run directory."""
    project.steps(2)
    (project.path / ".checkpoints").mkdir()
    result = in_namespace(
        project,
        f"""
        mount -t tmpfs -o {options} none .checkpoints || exit 99
        i=0; while : 2>/dev/null >.checkpoints/fill$i; do i=$((i+1)); [ $i -lt 4 ] || break; done
        cat /dev/zero >.checkpoints/fill0 2>/dev/null
        workflow run
        """,
    )
    assert result.returncode == NOT_RECORDED, result.stdout + result.stderr
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr
    assert "df -h" in result.stderr
    assert project.executions == []


@can_mount
def test_a_disk_that_fills_up_in_the_middle_stops_the_run_and_a_resume_completes_it(project: Project) -> None:
    """Case 7: for real. Step 01 fills the disk of the checkpoints; after it is freed, 00 does not run again."""
    project.step(0)
    # It waits for the marker of 00, which is made beside it.
    wait = "until [ -e .checkpoints/workflow_*/step_00.complete ]; do sleep 0.02; done"
    project.step(1, f"{wait}; echo 01 >>ran.txt; [ -e freed ] || cat /dev/zero >.checkpoints/fill 2>/dev/null; exit 0")
    project.step(2)
    (project.path / ".checkpoints").mkdir()
    result = in_namespace(
        project,
        """
        mount -t tmpfs -o size=2m none .checkpoints || exit 99
        workflow run; echo "first $?"
        ls .checkpoints/workflow_*/step_*.complete
        touch freed; rm .checkpoints/fill
        workflow resume; echo "second $?"
        ls .checkpoints/workflow_*/step_*.complete
        """,
    )
    told = result.stdout + result.stderr
    assert "Traceback" not in told
    first, _, second = result.stdout.partition("first 125\n")
    assert "step_00.complete" in second, told
    assert "ok 00" in first, told
    assert "No space left" in result.stderr, told
    assert "second 0\n" in second, told
    assert second.count("step_02.complete") == 1
    assert project.executions.count("00") == 1
    assert set(project.executions) == {"00", "01", "02"}


@can_mount
def test_a_step_that_fills_the_disk_with_its_log_leaves_earlier_markers(project: Project) -> None:
    """Case 7: not even the log can grow, nor an exit record be written."""
    project.step(0)
    project.step(1, "echo 01 >>ran.txt; [ -e freed ] || cat /dev/zero; exit 0")
    project.step(2)
    (project.path / ".checkpoints").mkdir()
    result = in_namespace(
        project,
        """
        mount -t tmpfs -o size=2m none .checkpoints || exit 99
        workflow run --output quiet; echo "first $?"
        : >freed; : >"$(ls .checkpoints/workflow_*/logs/step_01.log)"
        workflow resume --output quiet; echo "second $?"
        ls .checkpoints/workflow_*/step_*.complete
        """,
    )
    told = result.stdout + result.stderr
    assert "Traceback" not in told, told
    assert "first 125\n" in result.stdout, told
    assert "second 0\n" in result.stdout, told
    assert project.executions.count("00") == 1
    assert "step_02.complete" in result.stdout


@can_mount
def test_a_read_only_checkpoint_directory_fails_before_the_first_step(project: Project) -> None:
    """Case 17: for real, by a read-only mount, which binds root too."""
    project.steps(2)
    assert project.run().returncode == 0
    before = project.executions
    result = in_namespace(
        project,
        """
        mount --bind .checkpoints .checkpoints && mount -o remount,ro,bind .checkpoints || exit 99
        workflow run
        """,
    )
    assert result.returncode == NOT_RECORDED, result.stdout + result.stderr
    assert "Read-only file system" in result.stderr
    assert "--checkpoint-dir" in result.stderr
    assert "Traceback" not in result.stderr
    assert project.executions == before


@can_mount
def test_a_resume_on_a_read_only_disk_runs_nothing_and_says_so(project: Project) -> None:
    """Case 17: the half-done run stays as it was."""
    project.step(0)
    project.step(1, "[ -e well ] && echo 01 >>ran.txt")
    assert project.run().returncode == 1
    result = in_namespace(
        project,
        """
        touch well
        mount --bind .checkpoints .checkpoints && mount -o remount,ro,bind .checkpoints || exit 99
        workflow resume; echo "code $?"
        workflow status; echo "status $?"
        """,
    )
    told = result.stdout + result.stderr
    assert "code 125" in result.stdout, told
    assert "status 0" in result.stdout, told
    assert "Traceback" not in told
    assert project.executions == ["00"]
    assert_recovers(project, 2)


def test_a_checkpoint_directory_of_somebody_else_fails_before_the_first_step() -> None:
    """Case 17: by permission bits, as a user whom they bind."""
    # Not below pytest's own directory, which nobody else may enter.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        refused_by_permission(Project(Path(directory)))


def refused_by_permission(project: Project) -> None:
    project.steps(1)
    (project.path / ".checkpoints").mkdir(mode=0o555)
    command = program("run")
    environment = program_env()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("permission bits do not bind root, and there is no setpriv")
        plain = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        reachable = subprocess.run(
            [*plain, program()[0], "-c", "import workflow, os; os.listdir(os.getcwd())"],
            cwd=project.path, env=environment, capture_output=True, check=False,
        )  # fmt: skip
        if reachable.returncode:
            pytest.skip("another user cannot read the test's directory or this interpreter")
        command = [*plain, *command]
    result = subprocess.run(
        command, cwd=project.path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == NOT_RECORDED, result.stdout + result.stderr
    assert "Permission denied" in result.stderr
    assert "--checkpoint-dir" in result.stderr
    assert project.executions == []


@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
def test_the_note_of_what_is_in_hand_cannot_be_written(project: Project, code: str) -> None:
    """Cases 6, 7: a write that is made in place, outside the fault points."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    project.steps(3)
    result = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", f"inject=pwrite64:error={code}:when=2+",
         *program("run")],
        cwd=project.path, env=program_env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    if "ptrace" in result.stderr.lower():
        pytest.skip("strace cannot trace here")
    assert_stopped_well(project, result, 3, healed=False)
    assert_recovers(project, 3)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("often", ["", ":forever"])
@pytest.mark.parametrize("code", ERRORS)
def test_every_error_at_every_operation(project: Project, code: str, often: str) -> None:
    """Cases 5, 6, 7, 19, the long form: five steps."""
    project.steps(5)
    count = len(operations_of(project, "run"))
    codes = []
    for index in range(1, count + 1):
        healed = not often or index > count - LAST_DERIVED
        codes.append(fail_and_recover(project, f"any:{index}:{code}{often}", 5, healed=healed))
    print(f"{code}{often}: {codes.count(NOT_RECORDED)} runs of {count} stopped")
    assert codes.count(NOT_RECORDED) > (count // 2 if often or code != "EIO" else 0)


def test_the_program_here_is_the_one_under_test() -> None:
    """The real interpreter finds the checkout, not an installed copy."""
    found = subprocess.run(
        [program()[0], "-c", "import workflow; print(workflow.__file__)"],
        cwd="/", env=program_env(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(ROOT)
    assert run_program("--version", cwd=ROOT).returncode == 0
