"""What the tests of the library share: an empty project, and each of the three checkpointers in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workflow import Checkpointer, FileCheckpointer, MemoryCheckpointer, SqliteCheckpointer

KINDS = ("file", "memory", "sqlite")


def make(kind: str, place: Path, **words: Any) -> FileCheckpointer | Checkpointer:
    if kind == "file":
        return FileCheckpointer(place / "checkpoints", **words)
    return MemoryCheckpointer(**words) if kind == "memory" else SqliteCheckpointer(place / "checkpoints.db", **words)


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of the workflow; temporary directories of runs lie beside it."""
    (tmp_path / "project").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path / "project"


@pytest.fixture(params=KINDS)
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> FileCheckpointer | Checkpointer:
    return make(request.param, tmp_path)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that modules are imported from; what was imported is forgotten afterwards."""
    place = tmp_path / "modules"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    before = set(sys.modules)
    yield place
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(place)):
            del sys.modules[name]
