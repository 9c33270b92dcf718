"""Opens the DuckDB file for one batch of work, then closes it.

A read-write open locks out every other process, readers included, so the file is never held across a model
or API call. If the file is locked, an open waits with a bounded backoff, then names the other process.
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
from typing import Any, BinaryIO, TypeVar

import duckdb
import pyarrow as pa

from figa_core.errors import StorageError, WorkspaceError
from figa_core.files import replacing
from figa_core.processes import interruption
from figa_core.processes.interruptible import interruptible
from figa_core.storage.migrations import migrate

PAGE_ROWS = 2000
"""How many rows a stage reads at once from a table."""
T = TypeVar("T")
Row = Mapping[str, Any]
"""Column → value."""
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5
_BLOCK = 1 << 24
# Parts of DuckDB's messages; longer than a word, because a message repeats the path.
_LOCKED = "Could not set lock on file"
_DAMAGED = ("not a valid DuckDB database file", "Could not read enough bytes")
_FULL = ("No space left", "File too large", "Disk quota exceeded")
# Errors of the file or the disk; every other DuckDB error is a bug of ours.
_FILE_ERRORS = (
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.SerializationException,
    duckdb.TransactionException,
)
# DuckDB refuses a file that is already open elsewhere in the process, so all threads take turns at a file,
# whichever `Database` they hold.
_turns: dict[str, threading.RLock] = {}


class Database:
    """A DuckDB file that is opened for each unit of work; several threads may use it."""

    def __init__(self, path: Path, *, lock_timeout_s: float = 30.0) -> None:
        """`lock_timeout_s`: how long an open waits while another process has the file."""
        self.path = path
        self._lock_timeout_s = lock_timeout_s
        # Not `Path.resolve`, which fails on a cycle of symbolic links; the open that follows reports it.
        self._thread_lock = _turns.setdefault(os.path.realpath(path), threading.RLock())

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
                    f"{self.path}: it does not hold a workspace's tables ({error}). The file belongs to "
                    "another program, or is damaged. Set another workspace.path, or move the file away."
                ) from error

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one short unit of work.

        Raises:
            StorageError: another process holds the file longer than `lock_timeout_s`, the file is damaged, or
                the disk is full.
            WorkspaceError: the file cannot be opened.
            InterruptedRunError: a signal ended a statement.
        """
        with self._thread_lock:
            connection = self._connect()
            try:
                with interruptible(connection.interrupt):
                    yield connection
            except (duckdb.InterruptException, RuntimeError):
                # DuckDB drops the exception of the signal's handler.
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
        """Like `open`, all or nothing: a signal waits until the transaction is committed."""
        with self.open() as connection, interruption.finishing():
            connection.begin()
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # the first error explains more
                    connection.rollback()
                raise
            connection.commit()

    def copy_to(self, target: Path, *, within_s: float | None = None) -> None:
        """Copy the file as it is between two units of work of whoever uses it; they wait meanwhile.

        `within_s`: the longest that they may be kept waiting, in seconds; None for as long as it takes.

        Raises:
            StorageError: see `open`; or the copy takes longer, or cannot be written. Then there is none.
        """
        try:
            with replacing(target, durable=True) as file:
                self._copy_into(file, within_s)
        except OSError as error:
            raise StorageError(
                f"{target}: cannot write the copy of the database: {error.strerror or error}. Free space, or "
                "choose another directory."
            ) from error

    def _copy_into(self, file: BinaryIO, within_s: float | None) -> None:
        """Hold the database no longer than the copy takes; that it is durable is not waited for here."""
        # Closing any handle of a file drops this process's lock on it, so ours is closed after DuckDB's.
        with self._thread_lock, self.path.open("rb") as source, self.open() as connection:
            connection.execute("CHECKPOINT")  # everything is in the file, nothing in the log beside it
            deadline = None if within_s is None else time.monotonic() + within_s
            while block := source.read(_BLOCK):
                file.write(block)
                if deadline is not None and time.monotonic() > deadline:
                    raise StorageError(
                        f"{self.path}: copying it takes longer than {within_s:g} s, and the run that uses it "
                        "would have to wait. Copy it to a faster disk, or after the run."
                    )

    def execute(self, statement: str, **values: Any) -> None:
        """Run one statement in a transaction; see `open` for what it raises."""
        with self.transaction() as connection:
            connection.execute(statement, values)

    def insert(self, table: str, rows: Sequence[Row], *, replace: bool = False) -> int:
        """`insert_rows` in a transaction."""
        with self.transaction() as connection:
            return insert_rows(connection, table, rows, replace=replace)

    def fetch(self, query: str, **values: Any) -> list[Any]:
        """All rows of a query; see `open` for what it raises."""
        with self.open() as connection:
            return connection.execute(query, values).fetchall()

    def value(self, query: str, **values: Any) -> Any:
        """The result of a query with one row and one column."""
        return self.fetch(query, **values)[0][0]

    def records(self, kind: Callable[..., T], query: str, **values: Any) -> list[T]:
        """All rows of a query as records; its columns are named like the fields."""
        with self.open() as connection:
            found = connection.execute(query, values)
            names = [column[0] for column in found.description or ()]
            return [kind(**dict(zip(names, row, strict=True))) for row in found.fetchall()]

    def _connect(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self._lock_timeout_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                # Otherwise DuckDB would download an extension if the file is, say, an SQLite database.
                return duckdb.connect(str(self.path), config={"autoinstall_known_extensions": False})
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
                        f"{self._lock_timeout_s:g} s ({error}). Stop it, or wait for it to end."
                    ) from error
            except duckdb.Error as error:
                raise _damaged(self.path, error) from error
            time.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _explained(path: Path, error: duckdb.Error) -> StorageError | None:
    """A clear error if the file or the disk is at fault; None for other errors."""
    if any(words in str(error) for words in _FULL):
        return StorageError(
            f"{path}: the disk is full: {error}. Free space and run the same command: what was stored before "
            "is kept."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageError(
            f"{path}: DuckDB ran out of memory, or of disk space for what does not fit in memory: {error}. "
            "Free some and run the same command."
        )
    # DuckDB reports corrupt blocks with its most general class.
    return _damaged(path, error) if isinstance(error, _FILE_ERRORS) or type(error) is duckdb.Error else None


def _damaged(path: Path, error: duckdb.Error) -> StorageError:
    return StorageError(
        f"{path}: the database cannot be read: {error}. Restore it from a copy, or move it away and run the "
        "same command: answers that were paid for are restored from the journal."
    )


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row], *, replace: bool = False
) -> int:
    """Insert rows; one whose key exists is skipped, or replaces the old row. Returns the number inserted.

    `table` and the names of the columns come from our code, never from data.
    """
    statement = f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO {table} BY NAME SELECT * FROM incoming"
    return changed_rows(connection, rows, statement)


def changed_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[Row], statement: str, **values: Any
) -> int:
    """Like `query_rows`; returns how many rows of its table the statement changed."""
    result = query_rows(connection, rows, statement, **values)
    return result[0][0] if result else 0


def query_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[Row], query: str, **values: Any
) -> list[Any]:
    """The result of a query that reads `rows` as a table named `incoming`; without rows, nothing is run."""
    if not rows:
        return []
    connection.register("incoming", pa.Table.from_pylist(list(rows)))  # through Arrow: fast in bulk
    result = connection.execute(query, values).fetchall()
    # Not after an error: it has ended the transaction, so that this would raise another one in its place.
    connection.unregister("incoming")
    return result


def as_row(record: Any, **more: Any) -> Row:
    """The fields of a dataclass instance, and `more`, as a row."""
    return {**more, **{field.name: getattr(record, field.name) for field in fields(record)}}
