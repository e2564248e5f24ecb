"""Archives that a disk or a network damaged: whatever byte it is, it is found before anything is used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.crash.recovering import chooser
from tests.keeping.crafted import called
from workflow.checkpoint import archive_reader
from workflow.errors import CheckpointError


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressed run in a project."""
    project = Project(tmp_path_factory.mktemp("whole"))
    project.steps(2)
    assert project.run("-q").returncode == 0
    assert project.run("checkpoint", "compress").returncode == 0
    return next((project.path / ".checkpoints").glob("*.tar.gz"))


@pytest.fixture
def damaged(archive: Path, tmp_path: Path) -> Path:
    path = tmp_path / archive.name
    shutil.copy(archive, path)
    return path


def is_refused(path: Path, data: bytes) -> bool:
    """Whether an archive with this content is refused, in the way that every refusal has."""
    path.write_bytes(data)
    try:
        archive_reader.verify(str(path))
    except CheckpointError as error:
        return "cannot be used" in error.message and bool(error.help)
    return False


def flips(data: bytes, places: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int, bytes]]:
    for at, bit in places:
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        yield at, bit, bytes(changed)


def test_a_whole_archive_is_accepted(archive: Path) -> None:
    assert archive_reader.verify(str(archive)).run_id == archive.name[:-7]


def test_a_flipped_bit_is_found(archive: Path, damaged: Path) -> None:
    """Case 75: every bit of the head and of the end, and a sample of those between."""
    data = archive.read_bytes()
    edges = [*range(60), *range(len(data) - 16, len(data))]
    among = chooser().sample(range(60, len(data) - 16), 150)
    places = [(at, bit) for at in edges for bit in range(8)] + [(at, at % 8) for at in among]
    accepted = [(at, bit) for at, bit, changed in flips(data, iter(places)) if not is_refused(damaged, changed)]
    assert accepted == []


def test_an_archive_that_was_cut_off_is_found(archive: Path, damaged: Path) -> None:
    """Case 75: at every 1 KiB, around its head and just before its end."""
    data = archive.read_bytes()
    lengths = {*range(0, len(data), 1024), *range(64), *range(len(data) - 20, len(data))}
    assert [it for it in sorted(lengths) if not is_refused(damaged, data[:it])] == []


@pytest.mark.proof
def test_every_flipped_byte_and_every_length_is_found(archive: Path, damaged: Path) -> None:
    """Case 75, the long form: each byte with each of its bits flipped, and cut at each length."""
    data = archive.read_bytes()
    places = ((at, bit) for at in range(len(data)) for bit in range(8))
    assert [(at, bit) for at, bit, changed in flips(data, places) if not is_refused(damaged, changed)] == []
    assert [it for it in range(len(data)) if not is_refused(damaged, data[:it])] == []


@pytest.mark.parametrize("at", [0, 20, 100, 5_000, -1])
def test_no_command_uses_a_damaged_archive(
    at: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 75: not those that look, not the one that carries on; and nothing is left of the attempt."""
    root = tmp_path / ".checkpoints"
    root.mkdir()
    data = bytearray(archive.read_bytes())
    data[at] ^= 0x10
    (root / archive.name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    run_id = archive.name[:-7]
    for words in (
        ("status", run_id),
        ("logs", run_id),
        ("resume", run_id),
        ("mark", run_id, "0", "--pending"),
        ("checkpoint", "export", run_id, "--out", "x.tar.gz"),
        ("checkpoint", "import", f".checkpoints/{archive.name}", "--as-new"),
    ):
        code, out, err = called(*words)
        assert (code, out) == (3, ""), (words, err)
        assert "cannot be used" in err
        left = sorted(it.name for it in root.iterdir() if it.name not in ("README.md", ".gitignore", "audit.jsonl"))
        assert left == [archive.name], words
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_new_run_starts_beside_a_damaged_archive(archive: Path, project: Project) -> None:
    """Case 75: whoever resumes the newest is told, and what else there is goes on."""
    project.steps(1)
    (project.path / ".checkpoints").mkdir()
    (project.path / ".checkpoints" / archive.name).write_bytes(archive.read_bytes()[:300])
    result = project.run("--resume")
    assert result.returncode == 0
    assert f"passed over {archive.name[:-7]}" in result.stderr
    assert project.executions == ["00"]
