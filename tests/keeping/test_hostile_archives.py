"""Archives that somebody made to do harm: each is refused, nothing is written outside, nothing is left behind."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Project, clean_env
from tests.keeping.crafted import Crafted, called, member
from tests.keeping.hostile import HARMFUL_OUTPUTS, HOSTILE, LOG, instead, zeros
from workflow.checkpoint import archive_format, archive_reader
from workflow.errors import CheckpointError


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a run with one step, exported."""
    project = Project(tmp_path_factory.mktemp("exported"))
    project.step(0, "echo hello; echo '# done' >>\"$WORKFLOW_SUMMARY\"")
    assert project.run("-q").returncode == 0
    assert project.run("checkpoint", "export", "--out", "run.tar.gz").returncode == 0
    return project.path / "run.tar.gz"


def what_is_there(top: Path) -> dict[str, bytes | str]:
    """Return everything below a directory: content of files, where links lead."""
    found: dict[str, bytes | str] = {}
    for folder, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = Path(folder) / name
            if name == "audit.jsonl":  # that it was tried is noted
                continue
            found[str(path)] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
    return found


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run of its own, in a directory that is watched as a whole."""
    project = tmp_path / "project"
    (project / "steps").mkdir(parents=True)
    (project / "steps/step_00_s0.sh").write_text("#!/bin/sh\n")
    (project / "steps/step_00_s0.sh").chmod(0o755)
    (project / ".checkpoints").mkdir()
    for name, text in (("README.md", "mine\n"), (".gitignore", "*\n")):
        (project / ".checkpoints" / name).write_text(text)
    monkeypatch.chdir(project)
    return project


def test_what_the_hostile_ones_are_made_of_is_right(exported: Path, target: Path) -> None:
    made = Crafted(exported).bytes()
    assert made == exported.read_bytes()
    assert called("checkpoint", "import", str(exported))[0] == 0
    assert len(HOSTILE) + len(HARMFUL_OUTPUTS) > 90


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(name: str, exported: Path, target: Path) -> None:
    """Cases 72, 74 and 76: by whatever it tries to get out, to fill the disk or to lie about itself."""
    make, why = HOSTILE[name]
    data = make(Crafted(exported))
    assert data != exported.read_bytes()
    (target / "run.tar.gz").write_bytes(data)
    before = what_is_there(target.parent)
    code, out, err = called("checkpoint", "import", "run.tar.gz", "--with-outputs", "--force")
    assert (code, out) == (3, ""), err
    assert err.startswith("error: ")
    assert err.count("help: ") == 1
    assert why in err, err
    assert what_is_there(target.parent) == before


@pytest.mark.parametrize("name", HARMFUL_OUTPUTS)
def test_an_output_is_not_put_where_none_belongs(name: str, exported: Path, target: Path) -> None:
    """Case 72: outputs asked for by hand go no further than files of the project that nobody runs."""
    it = Crafted(exported)
    it.add(HARMFUL_OUTPUTS[name], b"#!/bin/sh\nexit 0\n", where="outputs")
    (target / "run.tar.gz").write_bytes(it.bytes())
    before = what_is_there(target.parent)
    code, _, err = called("checkpoint", "import", "run.tar.gz", "--with-outputs", "--force")
    assert code == 3, err
    assert "where none belongs" in err
    assert what_is_there(target.parent) == before
    assert called("checkpoint", "import", "run.tar.gz")[0] == 0


@pytest.mark.parametrize("path", ["/tmp/hostile", "../hostile", "a/../../hostile"])
def test_an_output_does_not_leave_the_project(path: str, exported: Path, target: Path) -> None:
    """Case 72."""
    it = Crafted(exported)
    it.add(path, b"x", where="outputs")
    (target / "run.tar.gz").write_bytes(it.bytes())
    code, _, err = called("checkpoint", "import", "run.tar.gz", "--with-outputs", "--force")
    assert code == 3
    assert "leads somewhere else" in err


def test_an_output_does_not_go_through_a_link(exported: Path, target: Path) -> None:
    """Case 72: not through one that is in the project already either."""
    outside = target.parent / "outside"
    outside.mkdir()
    (target / "out").symlink_to(outside)
    it = Crafted(exported)
    it.add("out/a.txt", b"x", where="outputs")
    (target / "run.tar.gz").write_bytes(it.bytes())
    code, _, err = called("checkpoint", "import", "run.tar.gz", "--with-outputs", "--force")
    assert code == 2
    assert "out is a link" in err
    assert not list(outside.iterdir())


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "missing"])
def test_what_is_no_file_is_refused_at_once(kind: str, exported: Path, target: Path) -> None:
    path = target / "run.tar.gz"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(exported)
    code, _, err = called("checkpoint", "import", "run.tar.gz")
    assert code == 3
    assert err.startswith("error: ")
    assert err.count("help: ") == 1


def test_more_files_than_any_run_has_are_refused(exported: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 74: by count."""
    monkeypatch.setattr(archive_format, "MOST_MEMBERS", 5)
    with pytest.raises(CheckpointError, match="lists more than 5 files"):
        archive_reader.verify(str(exported))


@pytest.mark.slow
def test_a_bomb_costs_neither_memory_nor_room(exported: Path, target: Path) -> None:
    """Case 74: the real program, with 256 MiB of zeros that its manifest admits to."""
    (target / "run.tar.gz").write_bytes(zeros(Crafted(exported), 256 << 20))
    # The program alone maps less than half of this.
    words = ["sh", "-c", 'ulimit -v 250000; exec "$@"', "sh", sys.executable, "-m", "workflow"]
    result = subprocess.run(
        [*words, "checkpoint", "import", "run.tar.gz"],
        cwd=target,
        env=clean_env(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    assert "more than any run of its size" in result.stderr
    assert sorted(it.name for it in (target / ".checkpoints").iterdir()) == [".gitignore", "README.md"]


def test_a_run_that_is_only_regular_is_no_bomb(project: Project) -> None:
    """What we write we read: a log of one byte over and over is packed less tightly, and comes back."""
    project.step(0, "head -c 40000000 /dev/zero")
    assert project.run("-q").returncode == 0
    log = (project.newest_run / "logs/step_00.log").read_bytes()
    assert project.run("checkpoint", "compress").returncode == 0
    archive = next((project.path / ".checkpoints").glob("*.tar.gz"))
    assert archive.stat().st_size * archive_format.MOST_RATIO > 40_000_000 - archive_format.RATIO_FLOOR_BYTES
    with tarfile.open(archive) as tar:
        found = tar.extractfile(f"{archive.name[:-7]}/logs/step_00.log")
        assert found is not None
        assert found.read() == log


def test_the_header_is_that_of_tarfile() -> None:
    for name, size, mode in ((b"a/b", 0, 0o644), (b"x" * 100, 8**11 - 1, 0o755)):
        assert archive_format.header(name, size, mode) == member(name, size=size, mode=mode)


def test_what_is_hostile_is_also_refused_where_a_run_is_read(exported: Path, target: Path) -> None:
    """Case 72: an archive put among the checkpoints is read with the same eyes, and unpacked nowhere."""
    it = Crafted(exported)
    it.manifest["kind"] = "compressed"
    data = instead(LOG, type=tarfile.SYMTYPE, linkname="/etc/passwd")(it)
    (target / f".checkpoints/{it.run_id}.tar.gz").write_bytes(data)
    before = what_is_there(target.parent)
    for words in (("status", it.run_id), ("logs", it.run_id), ("resume", it.run_id), ("graph", "--run", it.run_id)):
        code, _, err = called(*words)
        assert code == 3, (words, err)
        assert "a symbolic link" in err
        assert what_is_there(target.parent) == before


def test_a_tar_file_is_what_others_see_too(exported: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(exported.read_bytes())) as tar:
        assert next(iter(tar)).name.endswith("/MANIFEST.json")
    assert struct.unpack("<I", exported.read_bytes()[-4:])[0] == len(gzip.decompress(exported.read_bytes()))
