"""The DuckDB file is open for one batch at a time, waits for others, and loses nothing committed."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from figa_core.errors import StorageError
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.migrations import MIGRATIONS, SCHEMA_VERSION, migrate
from tests.figa_core.storage.empty import empty_database, marks  # noqa: F401 - a fixture

MARKS = pa.schema([("name", pa.string()), ("value", pa.int64())])


def _other_process(code: str, path: Path, *, read_only: bool = False) -> subprocess.Popen[str]:
    """Run `code` with `connection` open on the file; returns once it has printed a line."""
    script = (
        f"import duckdb, sys, time\nconnection = duckdb.connect(sys.argv[1], read_only={read_only})\n{code}\n"
        "print('ready', flush=True)\ntime.sleep(30)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_creating_twice_changes_nothing(database: Database) -> None:
    with database.transaction() as connection:
        insert_rows(connection, "marks", [{"name": "a", "value": 1}], MARKS)
    database.create()
    assert marks(database) == {"a": 1}


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    row = {"name": "a", "value": 1}
    with pytest.raises(duckdb.ConversionException), database.transaction() as connection:  # noqa: PT012
        insert_rows(connection, "marks", [row], MARKS)
        connection.execute("SELECT 'x'::BIGINT")
    assert marks(database) == {}


def test_a_known_key_is_left_as_it_is_and_not_counted(database: Database) -> None:
    with database.transaction() as connection:
        assert insert_rows(connection, "marks", [{"name": "a", "value": 1}], MARKS) == 1
        assert (
            insert_rows(connection, "marks", [{"name": "a", "value": 2}, {"name": "b", "value": 3}], MARKS)
            == 1
        )
        assert insert_rows(connection, "marks", [], MARKS) == 0
    assert marks(database) == {"a": 1, "b": 3}


def test_an_open_waits_for_another_process_and_then_names_the_file(database: Database) -> None:
    other = _other_process("", database.path)
    try:
        with (
            pytest.raises(StorageError, match=r"figa\.duckdb: another process"),
            Database(database.path, lock_timeout_s=0.3).open(),
        ):
            pass
    finally:
        other.kill()
        other.communicate()
    assert marks(database) == {}


def test_a_process_killed_in_mid_transaction_loses_nothing_committed(database: Database) -> None:
    other = _other_process(
        "connection.execute(\"INSERT INTO marks VALUES ('kept', 1)\")\nconnection.begin()\n"
        "connection.execute(\"INSERT INTO marks VALUES ('lost', 2)\")",
        database.path,
    )
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert marks(database) == {"kept": 1}


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO migrations (number, name) VALUES (?, 'later')", [SCHEMA_VERSION + 1])
    with pytest.raises(StorageError, match="Update figa"):
        database.create()


def test_each_migration_runs_once_and_is_recorded(tmp_path: Path) -> None:
    with Database(tmp_path / "new.duckdb").open() as connection:
        assert migrate(connection) == [name for name, _ in MIGRATIONS]
        assert migrate(connection) == []
        rows = connection.execute("SELECT number, name FROM migrations ORDER BY 1").fetchall()
    assert rows == [(number, name) for number, (name, _) in enumerate(MIGRATIONS, start=1)]


def test_an_open_gets_the_file_as_soon_as_the_other_process_ends(database: Database) -> None:
    other = _other_process("connection.execute(\"INSERT INTO marks VALUES ('theirs', 1)\")", database.path)
    timer = threading.Timer(0.5, other.kill)
    timer.start()
    assert marks(Database(database.path, lock_timeout_s=20)) == {"theirs": 1}
    timer.join()
    other.communicate()


def test_readers_share_the_file(database: Database) -> None:
    reading = Database(database.path, lock_timeout_s=0.3, read_only=True)
    other = _other_process("", database.path, read_only=True)
    try:
        assert marks(reading) == {}
    finally:
        other.kill()
        other.communicate()


def test_a_reader_cannot_write(database: Database) -> None:
    reading = Database(database.path, read_only=True)
    with pytest.raises(duckdb.InvalidInputException, match="read-only"), reading.open() as connection:
        connection.execute("INSERT INTO marks VALUES ('a', 1)")


def test_threads_take_turns(database: Database) -> None:
    def count(_: int) -> None:
        with database.transaction() as connection:
            connection.execute(
                "INSERT INTO marks VALUES ('n', 1) ON CONFLICT DO UPDATE SET value = marks.value + 1"
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))
    assert marks(database) == {"n": 20}


def test_two_objects_for_one_file_take_turns_in_threads(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    Database(path).create()

    def count(_: int) -> int:
        with Database(path).open() as connection:
            return len(connection.execute("SELECT * FROM marks").fetchall())

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(count, range(200))) == {0}


def test_a_database_of_a_newer_version_is_named(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO migrations (number, name) VALUES (?, 'later')", [SCHEMA_VERSION + 1])
    with pytest.raises(StorageError, match=r"figa\.duckdb: the workspace's database has schema"):
        database.create()
