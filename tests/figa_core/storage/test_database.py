"""The DuckDB file is open for one batch at a time, waits for other processes, and loses nothing committed."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from figa_core.errors import StorageError
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.migrations import MIGRATIONS, SCHEMA_VERSION, migrate
from tests.figa_core.storage.empty import empty_database, marks  # noqa: F401 - a fixture


def _other_process(code: str, path: Path) -> subprocess.Popen[str]:
    """Run `code` with `connection` open on the file; returns once it has printed a line."""
    script = (
        f"import duckdb, sys, time\nconnection = duckdb.connect(sys.argv[1])\n{code}\n"
        "print('ready', flush=True)\ntime.sleep(30)"
    )
    command = [sys.executable, "-c", script, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_creating_twice_changes_nothing(database: Database) -> None:
    database.insert("marks", [{"name": "a", "value": 1}])
    database.create()
    assert marks(database) == {"a": 1}


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with pytest.raises(duckdb.ConversionException), database.transaction() as connection:  # noqa: PT012
        insert_rows(connection, "marks", [{"name": "a", "value": 1}])
        connection.execute("SELECT 'x'::BIGINT")
    assert marks(database) == {}


def test_a_known_key_is_skipped_and_not_counted_unless_it_is_to_be_replaced(database: Database) -> None:
    assert database.insert("marks", [{"name": "a", "value": 1}]) == 1
    rows = [{"name": "a", "value": 2}, {"name": "b", "value": 3}]
    assert database.insert("marks", rows) == 1
    assert database.insert("marks", []) == 0
    assert marks(database) == {"a": 1, "b": 3}
    database.insert("marks", rows, replace=True)
    assert marks(database) == {"a": 2, "b": 3}


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


def test_a_database_of_a_newer_version_is_refused_and_named(database: Database) -> None:
    database.insert("migrations", [{"number": SCHEMA_VERSION + 1, "name": "later"}])
    words = r"(?s)figa\.duckdb: the workspace's database has schema.*Update figa"
    with pytest.raises(StorageError, match=words):
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


def test_threads_take_turns(database: Database) -> None:
    def count(_: int) -> None:
        database.execute(
            "INSERT INTO marks VALUES ('n', 1) ON CONFLICT DO UPDATE SET value = marks.value + 1"
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))
    assert marks(database) == {"n": 20}


def test_two_objects_for_one_file_take_turns_in_threads(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    Database(path).create()

    def count(_: int) -> int:
        return len(Database(path).fetch("SELECT * FROM marks"))

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(count, range(200))) == {0}
