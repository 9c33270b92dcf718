"""How the DuckDB file is opened: for one batch, then closed.

A read-write open shuts out every other process, readers included, so the file is never held across a
model or API call. An open that finds it locked waits with a bounded backoff, then names who waits for what.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from figa_core.errors import StorageError, WorkspaceError
from figa_core.processes import interruption
from figa_core.processes.interruptible import interruptible
from figa_core.storage.migrations import migrate

PAGE_ROWS = 2000
"""Rows that are read at once where a stage walks through a table."""
T = TypeVar("T")
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5
# How DuckDB puts it; more than a word, because its messages repeat the path.
_LOCKED = "Could not set lock on file"
_DAMAGED = ("not a valid DuckDB database file", "Could not read enough bytes")
_FULL = ("No space left", "File too large", "Disk quota exceeded")
# Of the file or the disk; every other error of DuckDB's is a fault of ours.
_OF_THE_FILE = (
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.SerializationException,
    duckdb.TransactionException,
)
# It would ask the network for an extension where the file is, say, an SQLite database.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}


# DuckDB refuses a file that is open already elsewhere in the process, so all threads take turns at a file,
# whichever `Database` they hold.
_turns: dict[Path, threading.RLock] = {}
_turns_lock = threading.Lock()


def _turn_at(path: Path) -> threading.RLock:
    with _turns_lock:
        # Not `resolve`, which fails at symbolic links in a circle: the open that follows says it in words.
        return _turns.setdefault(Path(os.path.realpath(path)), threading.RLock())


class Database:
    """A DuckDB file that is opened for each unit of work; safe to use from several threads."""

    def __init__(self, path: Path, *, lock_timeout_s: float = 30.0, read_only: bool = False) -> None:
        """`lock_timeout_s`: how long an open waits for another process that has the file."""
        self.path = path
        self._lock_timeout_s = lock_timeout_s
        self._read_only = read_only
        self._thread_lock = _turn_at(path)

    def create(self) -> None:
        """Create the file and bring its schema up to date.

        Raises:
            WorkspaceError: the directory cannot be created or written.
            StorageError: see `open` and `migrations.migrate`.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{self.path.parent}: cannot create the workspace: {error.strerror}. "
                "Set workspace.path to a directory you may write to."
            ) from error
        with self.open() as connection:
            try:
                migrate(connection)
            except StorageError as error:
                raise StorageError(f"{self.path}: {error}") from error
            except (duckdb.CatalogException, duckdb.BinderException) as error:
                raise StorageError(
                    f"{self.path}: its tables are not those of a workspace ({error}). It is another "
                    "program's, or damaged: name another workspace, or move the file away."
                ) from error

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one short unit of work.

        Raises:
            StorageError: another process keeps the file longer than `lock_timeout_s`, it is damaged, or the
                disk is full.
            WorkspaceError: the file cannot be opened.
            InterruptedRunError: somebody asked to stop in the middle of a statement.
        """
        with self._thread_lock:
            connection = self._connect()
            try:
                with interruptible(connection.interrupt):
                    yield connection
            except (duckdb.InterruptException, RuntimeError):
                # A signal ended a statement. DuckDB drops what the signal's handler raised.
                interruption.check()
                raise
            except duckdb.Error as error:
                if explained := _explained(self.path, error):
                    raise explained from error
                raise
            finally:
                connection.close()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Like `open`, all or nothing: a signal waits until it is committed."""
        with self.open() as connection, interruption.finishing():
            connection.begin()
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # what ended it says more
                    connection.rollback()
                raise
            connection.commit()

    def fetch(self, query: str, **values: Any) -> list[Any]:
        """All rows of one query; see `open` for what it raises."""
        with self.open() as connection:
            return connection.execute(query, values).fetchall()

    def value(self, query: str, **values: Any) -> Any:
        """What a query of one row and one column says."""
        return self.fetch(query, **values)[0][0]

    def records(self, kind: Callable[..., T], query: str, **values: Any) -> list[T]:
        """All rows of one query as records: its columns have the names of the fields."""
        with self.open() as connection:
            found = connection.execute(query, values)
            names = [column[0] for column in found.description or ()]
            return [kind(**dict(zip(names, row, strict=True))) for row in found.fetchall()]

    def _connect(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self._lock_timeout_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=self._read_only, config=_CONFIG)
            except duckdb.IOException as error:
                if any(words in str(error) for words in _DAMAGED):
                    raise _damaged(self.path, error) from error
                if _LOCKED not in str(error):
                    raise WorkspaceError(
                        f"{self.path}: cannot open the workspace's database: {error}. "
                        "Check the directory's permissions and free space, or set another workspace.path."
                    ) from error
                if time.monotonic() > deadline:
                    raise StorageError(
                        f"{self.path}: another process has had the database open for "
                        f"{self._lock_timeout_s:g} s ({error}). Close it, or wait for it to end."
                    ) from error
            except duckdb.Error as error:
                raise _damaged(self.path, error) from error
            time.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _explained(path: Path, error: duckdb.Error) -> StorageError | None:
    """An error of the file or the disk in words; None for others."""
    if any(words in str(error) for words in _FULL):
        return StorageError(
            f"{path}: the disk is full: {error}. Free space and run the same command: what was stored before "
            "is kept."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageError(
            f"{path}: DuckDB ran out of memory, or of disk for what does not fit into it: {error}. Free some "
            "and run the same command."
        )
    # Of corrupt blocks DuckDB speaks by its most general class.
    return _damaged(path, error) if isinstance(error, _OF_THE_FILE) or type(error) is duckdb.Error else None


def _damaged(path: Path, error: duckdb.Error) -> StorageError:
    return StorageError(
        f"{path}: the database cannot be read: {error}. Restore it from a copy, or move it away and run the "
        "same command: what was paid for is taken back from the journal."
    )


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema
) -> int:
    """Insert rows through Arrow (fast in bulk); rows whose key exists already are left as they are.

    `table` and the schema's names come from our code, never from data. Returns the number inserted.
    """
    return _insert(connection, table, pa.Table.from_pylist(list(rows), schema=schema)) if rows else 0


def insert_records(
    connection: duckdb.DuckDBPyConnection, table: str, records: Sequence[Any], schema: pa.Schema, **same: Any
) -> int:
    """Like `insert_rows`, of records with attributes for the columns; `same` are values of all rows."""
    if not records:
        return 0
    columns = [
        pa.array(
            [same[name]] * len(records) if name in same else [getattr(record, name) for record in records],
            type=kind,
        )
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return _insert(connection, table, pa.table(columns, schema=schema))


def insert_one(
    connection: duckdb.DuckDBPyConnection, table: str, record: Any, *, replace: bool = False
) -> None:
    """Insert a record with a field for each column; one whose key exists is left, or replaced."""
    names = [field.name for field in fields(record)]
    connection.execute(
        f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO {table} ({', '.join(names)}) "
        f"VALUES ({', '.join('?' * len(names))})",
        [getattr(record, name) for name in names],
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: str, incoming: pa.Table) -> int:
    connection.register("incoming", incoming)
    try:
        columns = ", ".join(incoming.schema.names)
        result = connection.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM incoming ON CONFLICT DO NOTHING"
        ).fetchone()
    finally:
        connection.unregister("incoming")
    return int(result[0]) if result else 0
