"""Taking a directory away: nothing outside is reached, whatever is in it and whoever is at work on it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from tests.cli.support import tree
from workflow.checkpoint import removal
from workflow.checkpoint.durable import Disk
from workflow.checkpoint.faults import Fault, Faults
from workflow.checkpoint.layout import TRASH, CheckpointRoot, RunLayout
from workflow.errors import NotRecordedError

RUN = "workflow_20260101_000000"


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    root = CheckpointRoot(str(tmp_path / ".checkpoints"))
    layout = root.run(RUN)
    Path(layout.path, "state").mkdir(parents=True)
    Path(layout.path, "logs").mkdir()
    Path(layout.path, "step_00.complete").write_bytes(b"x" * 100)
    Path(layout.path, "state/step_00_state.json").write_bytes(b"y" * 20)
    return layout


def left(layout: RunLayout) -> list[str]:
    return sorted(os.listdir(os.path.dirname(layout.path)))


def test_a_run_is_gone_and_its_bytes_are_counted(layout: RunLayout) -> None:
    assert removal.size_of_run(layout) == 120
    assert removal.remove_run(Disk(), layout) == 120
    assert left(layout) == []
    assert removal.remove_run(Disk(), layout) == 0


def test_what_is_removed_leads_nowhere_else(layout: RunLayout, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_text("stays")
    (outside / "deep/file").write_text("stays")
    os.link(outside / "file", f"{layout.path}/hard")
    before = {name: facts[:3] for name, facts in tree(outside).items()}
    for number, target in enumerate((outside, outside / "file", outside / "deep", tmp_path, "/", "..", "missing")):
        os.symlink(target, f"{layout.path}/link{number}")
        os.symlink(target, f"{layout.path}/state/link{number}")
    os.mkfifo(f"{layout.path}/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(layout.path)  # the path of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    for name in ("-rf", "a\nb", "$(touch x)", "*", "\udcff", "x" * 255):
        Path(layout.path, "state", name).mkdir()
        Path(layout.path, "state", name, name).write_text("")
    removal.remove_run(Disk(), layout)
    assert left(layout) == []
    assert {name: facts[:3] for name, facts in tree(outside).items()} == before
    assert (outside / "file").read_text() == "stays"


def test_a_run_that_is_a_link_is_not_removed(layout: RunLayout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    os.rename(layout.path, elsewhere)
    os.symlink(elsewhere, layout.path)
    assert removal.remove_run(Disk(), layout) == 0
    assert os.path.islink(layout.path)
    assert (elsewhere / "step_00.complete").exists()


def test_no_depth_is_too_deep(layout: RunLayout) -> None:
    fd = os.open(layout.path, os.O_RDONLY)
    for _ in range(2500):  # far beyond the longest path, and the most open files
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    removal.remove_run(Disk(), layout)
    assert left(layout) == []


def as_somebody(layout: RunLayout) -> str:
    """Remove a run as a user who is not allowed everything; return what came of it."""
    if os.geteuid() == 0:
        for folder, names, files in os.walk(os.path.dirname(layout.path)):
            for name in (".", *names, *files):
                os.chown(os.path.join(folder, name), 65534, 65534)
        for above in Path(layout.path).parents:
            if not os.stat(above).st_mode & 0o001:
                os.chmod(above, os.stat(above).st_mode | 0o001)
    reading, writing = os.pipe()
    child = os.fork()  # everything it needs is loaded: that user may not read the interpreter
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            said = f"removed {removal.remove_run(Disk(), layout)}"
        except NotRecordedError as error:
            said = error.render()
        except BaseException as error:  # noqa: BLE001 - told by the test
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("mode", [0o555, 0o300, 0o000])
def test_directories_of_ours_that_were_closed_are_opened_up(layout: RunLayout, mode: int) -> None:
    inner = Path(layout.path, "state", "inner")
    inner.mkdir()
    (inner / "file").write_text("x")
    for path in (inner, inner.parent, Path(layout.path)):
        path.chmod(mode)
    assert as_somebody(layout) == "removed 121"
    assert left(layout) == []


def test_a_directory_that_may_not_be_changed_is_told_and_nothing_is_done(layout: RunLayout) -> None:
    before = sorted(os.listdir(layout.path))
    root = os.path.dirname(layout.path)
    os.chmod(root, 0o555)
    refused = as_somebody(layout)
    os.chmod(root, 0o755)
    assert refused.startswith("error: cannot remove ")
    assert "Permission denied\nhelp: " in refused
    assert sorted(os.listdir(layout.path)) == before


@pytest.mark.parametrize("code", ["EROFS", "EACCES", "EIO", "EPERM", "EBUSY"])
@pytest.mark.parametrize("operation", ["rename", "unlink", "rmdir", "fsync"])
def test_an_error_of_the_disk_is_told_and_the_next_sweep_ends_it(layout: RunLayout, operation: str, code: str) -> None:
    disk = Disk(faults=Faults(Fault(operation, 1, code, "before", for_ever=True)))
    with pytest.raises(NotRecordedError) as caught:
        removal.remove_run(disk, layout)
    assert caught.value.exit_code == 125
    assert caught.value.message.startswith("cannot remove ")
    assert os.strerror(getattr(errno, code)) in caught.value.message
    assert caught.value.help
    # Whole, or under no name of a run.
    whole = os.path.exists(layout.path)
    assert whole == (operation == "rename")
    if whole:
        assert removal.size_of_run(layout) == 120
        assert removal.remove_run(Disk(), layout) == 120
    removal.sweep_trash(CheckpointRoot(os.path.dirname(layout.path)), Disk())
    assert left(layout) == []


def test_one_file_that_cannot_go_does_not_keep_the_others(layout: RunLayout) -> None:
    for number in range(20):
        Path(layout.path, f"file{number}").write_text("x")
    with pytest.raises(NotRecordedError):
        removal.remove_run(Disk(faults=Faults(Fault("unlink", 3, "EIO"))), layout)
    (trash,) = left(layout)
    assert trash.startswith(f"{TRASH}{RUN}-")
    assert len(os.listdir(os.path.join(os.path.dirname(layout.path), trash))) == 1


def test_somebody_who_removes_it_at_the_same_time_is_no_error(layout: RunLayout) -> None:
    for number in range(400):
        directory = Path(layout.path, f"d{number}")
        directory.mkdir()
        (directory / "file").write_text("x")
    root = CheckpointRoot(os.path.dirname(layout.path))
    trash = f"{root.path}/{TRASH}{RUN}-0badcafe"
    os.rename(layout.path, trash)
    failures: list[BaseException] = []

    def sweep() -> None:
        try:
            removal.sweep_trash(root, Disk())
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    threads.append(threading.Thread(target=shutil.rmtree, args=(trash,), kwargs={"ignore_errors": True}))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert left(layout) == []


def test_only_trash_that_is_a_directory_is_swept(layout: RunLayout, tmp_path: Path) -> None:
    root = CheckpointRoot(os.path.dirname(layout.path))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    os.symlink(outside, f"{root.path}/{TRASH}link")
    removal.sweep_trash(root, Disk())
    assert (outside / "file").exists()
    assert os.path.isdir(layout.path)


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.zst"])
def test_an_archive_goes_with_its_run_and_stays_while_it_takes_its_place(layout: RunLayout, ending: str) -> None:
    archive = Path(layout.path + ending)
    archive.write_bytes(b"z" * 33)
    assert removal.size_of_run(layout) == 153
    assert removal.remove_run(Disk(), layout) == 120
    assert left(layout) == [archive.name]
    assert removal.remove_run(Disk(), layout) == 33
    assert left(layout) == []
