"""A project in which archives are made and unpacked by children that may die, and what must hold afterwards."""

from __future__ import annotations

import os
import re
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.conftest import Project
from tests.keeping.crafted import called, within
from workflow.checkpoint import archive_reader, durable
from workflow.checkpoint.faults import Fault, Faults

KILLED = -signal.SIGKILL
Check = Callable[["Place"], None]


class Counted(Faults):
    """Counts the operations and lets all of them pass."""

    def meet(self, operation: str, moment: str) -> str | None:
        if moment == "before":
            self.seen += 1
        return None


class Place:
    """A project that can be made what it was before, and what is done in it. `words` may name the run by RUN."""

    def __init__(self, path: Path, words: tuple[str, ...]) -> None:
        self.path = path
        self.holds: Check = lambda _: None
        self.kept = path.with_name(path.name + "-kept")
        self.run_id = next(it.name[:24] for it in (path / ".checkpoints").iterdir() if it.name.startswith("workflow_2"))
        self.words = tuple(self.run_id if word == "RUN" else word for word in words)
        shutil.copytree(path, self.kept, symlinks=True)

    @property
    def directory(self) -> Path:
        return self.path / ".checkpoints" / self.run_id

    @property
    def archive(self) -> Path:
        return self.path / f".checkpoints/{self.run_id}.tar.gz"

    def restore(self) -> None:
        shutil.rmtree(self.path)
        shutil.copytree(self.kept, self.path, symlinks=True)

    def call(self, *words: str, fault: str = "") -> tuple[int, str]:
        """Run a command line in a child; return its exit code and what it said."""
        said = self.path.with_name("said.txt")
        pid = os.fork()
        if pid == 0:
            try:
                os.chdir(self.path)
                code, out, err = called(*words, **({"WORKFLOW_FAULT": fault} if fault else {}))
                said.write_text(out + err)
                os._exit(code)
            except BaseException:  # noqa: BLE001 - a child must never come back into the tests
                said.write_text(traceback.format_exc())
                os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code, said.read_text() if code != KILLED else ""

    def operations(self) -> int:
        """Return how many operations the command makes when nothing goes wrong."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.chdir(self.path)
            counted = Counted(Fault("any", 0, "die"))
            durable.planned_faults = lambda _: counted
            for name in ("compressing", "exporting", "importing"):
                vars(__import__(f"workflow.keeping.{name}", fromlist=["it"]))["planned_faults"] = lambda _: counted
            code = called(*self.words)[0]
            os.write(writer, f"{code} {counted.seen}".encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with os.fdopen(reader) as file:
            code, seen = map(int, file.read().split())
        self.restore()
        assert code == 0
        return seen


class Case(NamedTuple):
    """A command, and what must hold afterwards, whether it did what it was to do or not."""

    words: tuple[str, ...]
    holds: Check


def is_one_run(place: Place) -> None:
    """The run is there, as a directory or as a whole archive, and every command knows what it is."""
    assert place.directory.is_dir() or place.archive.is_file()
    if place.archive.exists():
        archive_reader.verify(str(place.archive))
    code, said = place.call("status", place.run_id)
    assert code == 0, said
    assert re.search(r"2 of 2 steps done|1 of 2 steps done", said)
    for name in ("step_00.complete", "workflow.json", "state/step_00_state.json"):
        assert not place.directory.exists() or (place.directory / name).exists(), name


def is_whole_export(place: Place) -> None:
    """What stands there is what stood there, or a whole archive."""
    out = place.path / "out.tar.gz"
    if out.read_bytes() != b"old\n":
        archive_reader.verify(str(out))
    is_one_run(place)


def is_imported_or_not(place: Place) -> None:
    """There is no such run, or a whole one that says that it was imported."""
    there = [name for name in os.listdir(place.path / ".checkpoints") if name.startswith("workflow_")]
    assert there in ([place.run_id], [place.run_id, f"{place.run_id}_2"], [f"{place.run_id}_2", place.run_id])
    if len(there) == 2:
        new = place.directory.with_name(f"{place.run_id}_2")
        assert (new / "state/imported").exists()
        assert (new / "resume.sh").exists()
        code, said = place.call("status", f"{place.run_id}_2", "--json")
        assert code == 0, said
        assert '"problems": []' in said
    output = place.path / "out.txt"
    assert not output.exists() or output.read_text() == "data\n"


def is_replaced_or_not(place: Place) -> None:
    """The run is the one that was there or the one that came; never none."""
    assert place.directory.is_dir()
    code, said = place.call("status", place.run_id, "--json")
    assert code == 0, said
    assert '"problems": []' in said


CASES = {
    "compress": Case(("checkpoint", "compress", "RUN"), is_one_run),
    "export": Case(("checkpoint", "export", "RUN", "-o", "out.tar.gz", "--force", "--with-outputs"), is_whole_export),
    "import": Case(("checkpoint", "import", "run.tar.gz", "--as-new", "--with-outputs"), is_imported_or_not),
    "import-in-place": Case(("checkpoint", "import", "run.tar.gz", "--force"), is_replaced_or_not),
    "mark": Case(("mark", "RUN", "0", "--done"), is_one_run),
}


def make_base(path: Path) -> Path:
    """A project with a run that failed in its second step, and that run exported."""
    project = Project(path / "project")
    project.path.mkdir()
    project.file(
        "workflow.yaml",
        "name: dies\nsteps:\n- {name: a, outputs: [out.txt], run: echo data >out.txt}\n"
        "- {name: b, run: test -e mended}\n",
    )
    assert project.run("-q").returncode == 1
    assert project.run("checkpoint", "export", "-o", "run.tar.gz", "--with-outputs").returncode == 0
    # What this process has imported already, its children need not import again and again.
    copy = project.path.with_name("warm")
    shutil.copytree(project.path, copy)
    with within(copy):
        for words in (("status",), ("status", "--json"), ("checkpoint", "compress")):
            assert called(*words)[0] == 0
    return project.path


def make_place(name: str, base: Path, tmp_path: Path) -> Place:
    """Return a copy of such a project for one of the cases."""
    path = tmp_path / "project"
    shutil.copytree(base, path)
    if name == "export":
        (path / "out.tar.gz").write_bytes(b"old\n")
    if name == "import":
        (path / "out.txt").unlink()
    made = Place(path, CASES[name].words)
    if name == "mark":
        # What puts the directory of an archive back.
        assert made.call("checkpoint", "compress")[0] == 0
        shutil.rmtree(made.kept)
        shutil.copytree(path, made.kept)
    made.holds = CASES[name].holds
    return made


def assert_goes_on(place: Place, fault: str) -> None:
    """What must hold holds; the command, given again, does what it was to do, and nothing half is left."""
    try:
        place.holds(place)
        code, said = place.call(*place.words)
        if code == 2 and "--as-new" in place.words:
            raise AssertionError(said)
        assert code == 0, said
        place.holds(place)
        if place.words[1] == "compress":
            assert place.archive.exists()
            assert not place.directory.exists()
        left = [name for name in os.listdir(place.path / ".checkpoints") if name.startswith(".tmp-nursery")]
        assert left == []
    except AssertionError as error:
        raise AssertionError(f"after WORKFLOW_FAULT={fault}: {error}") from error


def assert_goes_on_after_death(place: Place, fault: str) -> None:
    if place.words[1:3] == ("import", "run.tar.gz") and "--as-new" in place.words:
        # The second time it is the third run.
        CASES["import"].holds(place)
        shutil.rmtree(place.directory.with_name(f"{place.run_id}_2"), ignore_errors=True)
    assert_goes_on(place, fault)
