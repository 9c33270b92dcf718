"""The DuckDB file is open for one batch at a time, waits for others, and loses nothing committed."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from figa_core.errors import StorageError, WorkspaceError
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.migrations import MIGRATIONS, SCHEMA_VERSION, migrate

MARKS = pa.schema([("name", pa.string()), ("value", pa.int64())])


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "figa.duckdb")
    database.create()
    return database


def _marks(database: Database) -> dict[str, int]:
    with database.open() as connection:
        return dict(connection.execute("SELECT name, value FROM marks").fetchall())


def _other_process(code: str, path: Path) -> subprocess.Popen[str]:
    """Run `code` with `connection` open on the file; returns once it has printed a line."""
    script = (
        f"import duckdb, sys, time\nconnection = duckdb.connect(sys.argv[1])\n{code}\n"
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
    assert _marks(database) == {"a": 1}


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    row = {"name": "a", "value": 1}
    with pytest.raises(duckdb.ConversionException), database.transaction() as connection:
        connection.execute("SELECT 'x'::BIGINT" if insert_rows(connection, "marks", [row], MARKS) else "")
    assert _marks(database) == {}


def test_a_known_key_is_left_as_it_is_and_not_counted(database: Database) -> None:
    with database.transaction() as connection:
        assert insert_rows(connection, "marks", [{"name": "a", "value": 1}], MARKS) == 1
        assert (
            insert_rows(connection, "marks", [{"name": "a", "value": 2}, {"name": "b", "value": 3}], MARKS)
            == 1
        )
        assert insert_rows(connection, "marks", [], MARKS) == 0
    assert _marks(database) == {"a": 1, "b": 3}


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
    assert _marks(database) == {}


def test_a_process_killed_in_mid_transaction_loses_nothing_committed(database: Database) -> None:
    other = _other_process(
        "connection.execute(\"INSERT INTO marks VALUES ('kept', 1)\")\nconnection.begin()\n"
        "connection.execute(\"INSERT INTO marks VALUES ('lost', 2)\")",
        database.path,
    )
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert _marks(database) == {"kept": 1}


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match=r"workspace\.path"):
        Database(tmp_path / "file" / "workspace" / "figa.duckdb").create()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises((StorageError, WorkspaceError), match=r"figa\.duckdb"), Database(path).open():
        pass


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
