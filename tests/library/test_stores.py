"""Every store passes the suite that is published for other people's stores, and the suite finds what is wrong."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from workflow import CheckpointError
from workflow.library.sqlite_store import SqliteStore
from workflow.library.stores import MemoryStore, StateStore, Stored
from workflow.testing import StateStoreContract

RUN = "workflow_20260101_000000"


class TestMemoryStore(StateStoreContract):
    def make_store(self, directory: Path) -> StateStore:
        return MemoryStore()


class TestSqliteStore(StateStoreContract):
    def make_store(self, directory: Path) -> StateStore:
        return SqliteStore(directory / "checkpoints.db")

    def opening(self, directory: Path) -> str:
        path = str(directory / "checkpoints.db")
        return f"from workflow.library.sqlite_store import SqliteStore; store = SqliteStore({path!r})"


class FolderStore:
    """A store as somebody else might write it, with a file for each checkpoint. `is_torn`: it forgets to rename."""

    def __init__(self, directory: Path, *, is_torn: bool = False) -> None:
        self.directory = directory
        self.is_torn = is_torn

    def save(self, run_id: str, facts: Any, state: bytes) -> int:
        while True:
            last = [int(path.name.split("@")[1].split(".")[0]) for path in self.directory.glob(f"{run_id}@*")]
            number = max(last, default=0) + 1
            try:
                (self.directory / f"{run_id}@{number}.taken").touch(exist_ok=False)
                break
            except FileExistsError:
                continue
        head = json.dumps({"facts": facts, "at": len(list(self.directory.glob("*.taken")))}).encode()
        path = self.directory / f"{run_id}@{number}.state"
        place = path if self.is_torn else path.with_suffix(".new")
        with open(place, "wb", buffering=0) as file:
            file.writelines((head, b"\n", *(state[at : at + 1000] for at in range(0, len(state), 1000))))
            os.fsync(file.fileno())
        if not self.is_torn:
            place.rename(path)
        return number

    def load(self, run_id: str, number: int) -> bytes:
        try:
            return (self.directory / f"{run_id}@{number}.state").read_bytes().partition(b"\n")[2]
        except FileNotFoundError:
            raise KeyError(number) from None

    def list(self, run_id: str | None = None) -> list[Stored]:
        found = []
        for path in self.directory.glob(f"{run_id or ''}*.state"):
            head, _, state = path.read_bytes().partition(b"\n")
            said = json.loads(head)
            run, _, number = path.stem.partition("@")
            found.append((said["at"], Stored(run, int(number), said["facts"], len(state))))
        return [stored for _, stored in sorted(found, key=lambda it: (it[0], it[1].number))]

    def delete(self, run_id: str, number: int) -> bool:
        try:
            (self.directory / f"{run_id}@{number}.state").unlink()
        except FileNotFoundError:
            return False
        return True


class TestAStoreOfSomebodyElse(StateStoreContract):
    def make_store(self, directory: Path) -> StateStore:
        return FolderStore(directory)


def test_the_suite_finds_a_store_that_gives_a_number_twice(tmp_path: Path) -> None:
    class Forgetful(MemoryStore):
        def delete(self, run_id: str, number: int) -> bool:
            self._last[run_id] = number - 1
            return super().delete(run_id, number)

    class Suite(StateStoreContract):
        def make_store(self, directory: Path) -> StateStore:
            return Forgetful()

    with pytest.raises(AssertionError):
        Suite().test_a_number_is_given_once(tmp_path)


def test_the_suite_finds_a_store_that_a_kill_leaves_half_written(tmp_path: Path) -> None:
    class Suite(StateStoreContract):
        kills = 40

        def make_store(self, directory: Path) -> StateStore:
            return FolderStore(directory, is_torn=True)

        def opening(self, directory: Path) -> str:
            source = Path(__file__).parent
            return (
                f"sys.path.insert(0, {str(source)!r}); from test_stores import FolderStore; from pathlib import Path; "
                f"store = FolderStore(Path({str(directory)!r}), is_torn=True)"
            )

    with pytest.raises((AssertionError, ValueError)):
        Suite().test_a_kill_while_it_saves_loses_nothing_that_was_told_and_leaves_nothing_half(tmp_path)


def test_a_database_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        SqliteStore(tmp_path / "c.db").save(RUN, {}, b"")
    finally:
        os.umask(before)
    assert (tmp_path / "c.db").stat().st_mode & 0o777 == 0o600


def test_looking_makes_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c.db")
    assert not store.list()
    assert store.delete(RUN, 1) is False
    assert not list(tmp_path.iterdir())


def test_a_row_that_was_changed_is_told_of(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c.db")
    number = store.save(RUN, {}, b"the state")
    with sqlite3.connect(tmp_path / "c.db") as database:
        database.execute("UPDATE checkpoints SET state = ?", (b"the State",))
    database.close()
    with pytest.raises(CheckpointError, match="damaged"):
        store.load(RUN, number)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "c.db") as database:
        database.execute("CREATE TABLE checkpoints (mine TEXT)")
    database.close()
    before = (tmp_path / "c.db").read_bytes()
    with pytest.raises(CheckpointError, match="something else"):
        SqliteStore(tmp_path / "c.db").save(RUN, {}, b"")
    assert (tmp_path / "c.db").read_bytes() == before


def test_a_newer_form_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "c.db").save(RUN, {}, b"")
    with sqlite3.connect(tmp_path / "c.db") as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(CheckpointError, match="written in form 2"):
        SqliteStore(tmp_path / "c.db").list()


def test_a_database_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c.db")
    store.save(RUN, {}, b"")
    (tmp_path / "c.db").chmod(0o666)
    with pytest.raises(CheckpointError, match="everybody may write"):
        store.list()


def test_a_save_is_in_wal_mode_and_synced_in_full(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "c.db").save(RUN, {}, b"")
    database = sqlite3.connect(tmp_path / "c.db")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    with SqliteStore(tmp_path / "c.db")._open() as opened:
        assert opened.execute("PRAGMA synchronous").fetchone() == (2,)
