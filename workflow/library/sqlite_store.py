"""A store in one file of SQLite, for many programs at once.

Journal in WAL mode with `synchronous=FULL`: a save is on the disk when it returns, and readers never wait for it. Each
save is one transaction that begins IMMEDIATE, so two programs never take the same number. SQLite writes this file
itself, with its own order of syncs; a kill at any moment leaves the checkpoint whole or not there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from blake3 import blake3

from workflow.checkpoint.durable import Disk
from workflow.checkpoint.owner import refuse_others
from workflow.errors import CheckpointError, one_line
from workflow.library.stores import Facts, Stored

# Of the file as a whole; another number is a table that we do not know.
SCHEMA_VERSION = 1
APPLICATION_ID = 0x776B666C  # "wkfl": told by file(1), and no database of somebody else is written into
WAIT_S = 30.0

_SCHEMA = """
CREATE TABLE runs (run_id TEXT PRIMARY KEY, last_number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    facts TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (run_id, number)
);
"""


class SqliteStore:
    """Keeps checkpoints in the file at `path`, which is made when the first one is saved, for its owner alone."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))

    def save(self, run_id: str, facts: Facts, state: bytes) -> int:
        """See `StateStore.save`. Durable on return."""
        with self._open(to_write=True) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO runs VALUES (?, 0) ON CONFLICT DO NOTHING", (run_id,))
            database.execute("UPDATE runs SET last_number = last_number + 1 WHERE run_id = ?", (run_id,))
            (number,) = database.execute("SELECT last_number FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            row = (run_id, number, json.dumps(facts), len(state), _digest(run_id, number, state), state)
            database.execute(
                "INSERT INTO checkpoints (run_id, number, facts, size_bytes, digest, state) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            database.execute("COMMIT")
            return int(number)

    def load(self, run_id: str, number: int) -> bytes:
        """See `StateStore.load`. Raises CheckpointError when it is not what was saved."""
        with self._open() as database:
            query = "SELECT state, digest FROM checkpoints WHERE run_id = ? AND number = ?"
            row = database.execute(query, (run_id, number)).fetchone()
        if row is None:
            raise KeyError(f"{run_id}@{number}")
        state = bytes(row[0])
        if row[1] != _digest(run_id, number, state):
            raise CheckpointError(
                f"checkpoint {one_line(run_id)}@{number} in {one_line(self.path)} is damaged: its digest is another",
                help="go back to an earlier one: checkpointer.list() tells which there are",
            )
        return state

    def list(self, run_id: str | None = None) -> Sequence[Stored]:
        """See `StateStore.list`."""
        with self._open() as database:
            rows = database.execute(
                "SELECT run_id, number, facts, size_bytes FROM checkpoints WHERE ? IN ('', run_id) ORDER BY place",
                (run_id or "",),
            ).fetchall()
        return [Stored(row[0], row[1], json.loads(row[2]), row[3]) for row in rows]

    def delete(self, run_id: str, number: int) -> bool:
        """See `StateStore.delete`. Durable on return."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            query = "DELETE FROM checkpoints WHERE run_id = ? AND number = ?"
            count = database.execute(query, (run_id, number)).rowcount
            database.execute("COMMIT")
        return count > 0

    @contextmanager
    def _open(self, *, to_write: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection of this thread alone, for one operation; where there is no file, an empty one in memory.

        A transaction that is open when anything raises is rolled back with it.
        """
        is_there = os.path.lexists(self.path)
        if is_there:
            _refuse_unsafe(self.path)
        elif to_write:
            # Made here and not by SQLite, so that it is never open to others, whatever the umask says.
            os.close(Disk(private=True).open_lock(self.path))
        place = self.path if is_there or to_write else ":memory:"
        with closing(sqlite3.connect(place, timeout=WAIT_S, isolation_level=None)) as database:
            # No statement of ours is so long that a program would want to interrupt it.
            database.execute("PRAGMA trusted_schema = OFF")
            self._prepare(database)
            yield database

    def _prepare(self, database: sqlite3.Connection) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._refuse_other(database)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            # Another program may have made them while we waited.
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                version = SCHEMA_VERSION
            database.execute("COMMIT")
        self._refuse_other(database)
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                f"{one_line(self.path)} was written in form {version}, this workflow reads {SCHEMA_VERSION}",
                help="use a newer workflow: pip install --upgrade workflow",
            )
        database.execute("PRAGMA synchronous = FULL")  # of a connection, not of the file

    def _refuse_other(self, database: sqlite3.Connection) -> None:
        """Refuse a database that has tables, and not ours. Raises CheckpointError."""
        # In this order: whoever makes the tables says whose they are in the same transaction.
        has_tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if has_tables and database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise CheckpointError(f"{one_line(self.path)} is a database of something else", help="give another file")


def _digest(run_id: str, number: int, state: bytes) -> str:
    """Return the digest of a row: the bytes, and whose they are."""
    return f"blake3:{blake3(f'{run_id}@{number}:'.encode() + state).hexdigest()}"


def _refuse_unsafe(path: str) -> None:
    """Refuse a file that somebody else could have planted or can change. Raises CheckpointError."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{one_line(path)} is no file", help="give the path of a database, or of a new one")
    refuse_others(path, status)
