"""The DuckDB file is open for one batch at a time, waits for others, and loses nothing committed."""

import contextlib
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from figa_core.errors import InterruptedRunError, StorageError, WorkspaceError
from figa_core.processes import interruption
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
    assert _marks(database) == {"a": 1}


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    row = {"name": "a", "value": 1}
    with pytest.raises(duckdb.ConversionException), database.transaction() as connection:  # noqa: PT012
        insert_rows(connection, "marks", [row], MARKS)
        connection.execute("SELECT 'x'::BIGINT")
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
    with (
        pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read"),
        Database(path).open(),
    ):
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


def test_an_open_gets_the_file_as_soon_as_the_other_process_ends(database: Database) -> None:
    other = _other_process("connection.execute(\"INSERT INTO marks VALUES ('theirs', 1)\")", database.path)
    timer = threading.Timer(0.5, other.kill)
    timer.start()
    assert _marks(Database(database.path, lock_timeout_s=20)) == {"theirs": 1}
    timer.join()
    other.communicate()


def test_readers_share_the_file(database: Database) -> None:
    reading = Database(database.path, lock_timeout_s=0.3, read_only=True)
    other = _other_process("", database.path, read_only=True)
    try:
        assert _marks(reading) == {}
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
    assert _marks(database) == {"n": 20}


@pytest.mark.parametrize("left", [0, 100, 5000, 20_000])
def test_a_file_cut_short_is_called_damaged(database: Database, left: int) -> None:
    database.path.write_bytes(database.path.read_bytes()[:left])
    with pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read"), database.open():
        pass


def test_a_path_with_lock_in_its_name_is_not_taken_for_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "blocks" / "figa.duckdb"
    path.mkdir(parents=True)
    with (
        pytest.raises(WorkspaceError, match="cannot open the workspace's database"),
        Database(path, lock_timeout_s=0).open(),
    ):
        pass


def test_a_workspace_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """In a process without root's rights, because permissions do not stop root."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from figa_core.errors import WorkspaceError\nfrom figa_core.storage.database import Database\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "for below in ('', 'new'):\n"
        "    try: Database(Path(sys.argv[1], below, 'figa.duckdb')).create()\n"
        "    except WorkspaceError as error: print(type(error).__name__, error)"
    )
    everybodys = Path(tempfile.gettempdir()).parent  # every user may enter it, unlike conftest's and tmp_path
    with tempfile.TemporaryDirectory(dir=everybodys) as directory:
        Path(directory).chmod(0o555)
        result = subprocess.run([sys.executable, "-c", code, directory], capture_output=True, text=True)
        Path(directory).chmod(0o755)
    first, second = result.stdout.splitlines()
    assert first.startswith(f"WorkspaceError {directory}/figa.duckdb: cannot open")
    assert second.startswith(
        f"WorkspaceError {directory}/new: cannot create the workspace: Permission denied"
    )


def test_two_objects_for_one_file_take_turns_in_threads(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    Database(path).create()

    def count(_: int) -> int:
        with Database(path).open() as connection:
            return len(connection.execute("SELECT * FROM marks").fetchall())

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(count, range(200))) == {0}


def test_a_file_that_ends_within_its_tables_is_called_damaged_when_they_are_read(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO marks SELECT 'n' || i, i FROM range(100000) t(i)")
    database.path.write_bytes(database.path.read_bytes()[: 12_288 + 262_144])  # its head and one block
    with pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read.*from the journal"):
        database.fetch("SELECT sum(value), max(name) FROM marks")


def test_a_flipped_block_is_called_damaged_when_it_is_read(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO marks SELECT 'n' || i, i FROM range(100000) t(i)")
    damaged = bytearray(database.path.read_bytes())
    for block in range(12_288 + 262_144, len(damaged), 262_144):
        damaged[block + 5000] ^= 0xFF
    database.path.write_bytes(damaged)
    with pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read.*checksum"):
        database.fetch("SELECT sum(value), max(name) FROM marks")


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE runs (a INTEGER)", "CREATE TABLE migrations (other TEXT)"]
)
def test_a_database_of_another_program_is_refused(statement: str, tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    duckdb.connect(str(path)).execute(statement).close()
    with pytest.raises(StorageError, match=r"figa\.duckdb: its tables are not those of a workspace"):
        Database(path).create()


def test_another_kind_of_database_is_refused_without_asking_the_network(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE a (b)")
    with pytest.raises(WorkspaceError, match=r"figa\.duckdb: cannot open") as refused:
        Database(path).create()
    assert "http" not in str(refused.value)


def test_symbolic_links_in_a_circle_are_named(tmp_path: Path) -> None:
    (tmp_path / "figa.duckdb").symlink_to("other")
    (tmp_path / "other").symlink_to("figa.duckdb")
    with pytest.raises(WorkspaceError, match="symbolic links"):
        Database(tmp_path / "figa.duckdb").create()


def test_a_database_of_a_newer_version_is_named(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO migrations (number, name) VALUES (?, 'later')", [SCHEMA_VERSION + 1])
    with pytest.raises(StorageError, match=r"figa\.duckdb: the workspace's database has schema"):
        database.create()


FILLS_THE_DISK = """
import os, resource, sys
from pathlib import Path
from figa_core.errors import StorageError
from figa_core.storage.database import Database

path = Path(sys.argv[1])
# A file may not grow any more, as on a disk that is full.
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1000,) * 2)
try:
    with Database(path).transaction() as connection:
        connection.execute("INSERT INTO marks SELECT i || repeat('x', 1000), i FROM range(20000) t(i)")
except StorageError as error:
    print(error, flush=True)
os._exit(0)
"""


def test_a_full_disk_at_commit_is_said_and_nothing_stored_before_is_lost(database: Database) -> None:
    with database.transaction() as connection:
        insert_rows(connection, "marks", [{"name": "kept", "value": 1}], MARKS)
    command = [sys.executable, "-c", FILLS_THE_DISK, str(database.path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"figa\.duckdb: the disk is full: .*Free space and run the same command", said), said
    assert _marks(database) == {"kept": 1}


def test_memory_that_does_not_suffice_is_said(database: Database) -> None:
    words = r"(?s)figa\.duckdb: DuckDB ran out of memory.*Out of Memory.*and run the same command"
    with pytest.raises(StorageError, match=words), database.open() as connection:  # noqa: PT012
        connection.execute("SET memory_limit = '1MB'")
        connection.execute("SET temp_directory = ''")
        connection.execute("SELECT list(i) FROM range(10000000) t(i)")


def test_a_statement_that_is_wrong_is_no_damage(database: Database) -> None:
    with pytest.raises(duckdb.CatalogException):
        database.fetch("SELECT * FROM no_such_table")


ENDLESS = """
import os, signal, sys, threading
from pathlib import Path
from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption
from figa_core.storage.database import Database

with interruption.listening(), interruption.{around}():
    try:
        with Database(Path(sys.argv[1])).{opened}() as connection:
            # With several threads, one of DuckDB's own takes the whole of so simple a statement, and the main
            # thread waits in C code for it to end.
            connection.execute("SET threads = 4")
            print("ready", flush=True)
            connection.execute("SELECT sum(a.i * b.i) FROM range(100000000) a(i), range(100000000) b(i)")
    except InterruptedRunError as error:
        print("interrupted", flush=True)
        os._exit(error.exit_code)
"""


def _endless(database: Database, opened: str, around: str = "listening") -> subprocess.Popen[str]:
    """A program in the middle of a statement of hours."""
    program = ENDLESS.format(opened=opened, around=around)
    command = [sys.executable, "-c", program, str(database.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # the statement has begun; nothing depends on it
    return process


def test_a_signal_in_the_middle_of_a_statement_is_an_interruption(database: Database) -> None:
    with _endless(database, "open") as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert output.endswith("interrupted\n")
    assert process.returncode == 128 + signal.SIGTERM
    assert _marks(database) == {}


@pytest.mark.parametrize(("opened", "around"), [("transaction", "listening"), ("open", "cooperating")])
def test_what_must_be_whole_is_ended_by_the_second_signal_only(
    opened: str, around: str, database: Database
) -> None:
    with _endless(database, opened, around) as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert output.endswith("ended at once by Ctrl-C\n")
    assert process.returncode == 128 + signal.SIGINT


def test_a_signal_within_a_transaction_waits_until_it_is_committed(database: Database) -> None:
    def store() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO marks VALUES ('first', 1)")
            signal.raise_signal(signal.SIGINT)
            connection.execute("INSERT INTO marks VALUES ('second', 2)")

    with interruption.listening(), pytest.raises(InterruptedRunError):
        store()
    assert _marks(database) == {"first": 1, "second": 2}


def test_what_is_stored_after_a_signal_is_stored(database: Database) -> None:
    with interruption.listening():
        interruption.request()
        with database.transaction() as connection:
            connection.execute("INSERT INTO marks VALUES ('how it ended', 1)")
    assert _marks(database) == {"how it ended": 1}
