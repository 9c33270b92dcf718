"""The error about a database that cannot be used names it and says what to do."""

import contextlib
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest

from figa_core.errors import StorageError, WorkspaceError
from figa_core.storage.database import Database
from tests.figa_core.storage.empty import empty_database, marks  # noqa: F401 - a fixture


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match=r"workspace\.path"):
        Database(tmp_path / "file" / "workspace" / "figa.duckdb").create()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read"):
        Database(path).fetch("SELECT 1")


@pytest.mark.parametrize("left", [0, 100, 5000, 20_000])
def test_a_file_cut_short_is_reported_as_damaged(database: Database, left: int) -> None:
    database.path.write_bytes(database.path.read_bytes()[:left])
    with pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read"):
        database.fetch("SELECT 1")


def test_a_path_with_lock_in_its_name_is_not_taken_for_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "blocks" / "figa.duckdb"
    path.mkdir(parents=True)
    with pytest.raises(WorkspaceError, match="cannot open the workspace's database"):
        Database(path, lock_timeout_s=0).fetch("SELECT 1")


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
    everybodys = Path(tempfile.gettempdir()).parent  # every user may enter it, unlike tmp_path
    with tempfile.TemporaryDirectory(dir=everybodys) as directory:
        Path(directory).chmod(0o555)
        result = subprocess.run([sys.executable, "-c", code, directory], capture_output=True, text=True)
        Path(directory).chmod(0o755)
    first, second = result.stdout.splitlines()
    assert first.startswith(f"WorkspaceError {directory}/figa.duckdb: cannot open")
    assert second.startswith(
        f"WorkspaceError {directory}/new: cannot create the workspace: Permission denied"
    )


def test_a_file_that_ends_within_a_table_is_reported_as_damaged_when_it_is_read(database: Database) -> None:
    database.execute("INSERT INTO marks SELECT 'n' || i, i FROM range(100000) t(i)")
    database.path.write_bytes(database.path.read_bytes()[: 12_288 + 262_144])  # its head and one block
    with pytest.raises(StorageError, match=r"figa\.duckdb: the database cannot be read.*from the journal"):
        database.fetch("SELECT sum(value), max(name) FROM marks")


def test_a_flipped_block_is_reported_as_damaged_when_it_is_read(database: Database) -> None:
    database.execute("INSERT INTO marks SELECT 'n' || i, i FROM range(100000) t(i)")
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
    with pytest.raises(StorageError, match=r"figa\.duckdb: it does not hold a workspace's tables"):
        Database(path).create()


def test_another_kind_of_database_is_refused_without_asking_the_network(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE a (b)")
    with pytest.raises(WorkspaceError, match=r"figa\.duckdb: cannot open") as refused:
        Database(path).create()
    assert "http" not in str(refused.value)


def test_a_cycle_of_symbolic_links_is_named(tmp_path: Path) -> None:
    (tmp_path / "figa.duckdb").symlink_to("other")
    (tmp_path / "other").symlink_to("figa.duckdb")
    with pytest.raises(WorkspaceError, match="symbolic links"):
        Database(tmp_path / "figa.duckdb").create()


FILLS_THE_DISK = """
import os, resource, sys
from pathlib import Path
from figa_core.errors import StorageError
from figa_core.storage.database import Database

path = Path(sys.argv[1])
# No file may grow any more, as on a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1000,) * 2)
try:
    with Database(path).transaction() as connection:
        connection.execute("INSERT INTO marks SELECT i || repeat('x', 1000), i FROM range(20000) t(i)")
except StorageError as error:
    print(error, flush=True)
os._exit(0)
"""


def test_a_full_disk_at_commit_is_reported_and_nothing_stored_before_is_lost(database: Database) -> None:
    database.insert("marks", [{"name": "kept", "value": 1}])
    command = [sys.executable, "-c", FILLS_THE_DISK, str(database.path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"figa\.duckdb: the disk is full: .*Free space and run the same command", output), output
    assert marks(database) == {"kept": 1}


def test_too_little_memory_is_reported(database: Database) -> None:
    words = r"(?s)figa\.duckdb: DuckDB ran out of memory.*Out of Memory.*and run the same command"
    with pytest.raises(StorageError, match=words), database.open() as connection:  # noqa: PT012
        connection.execute("SET memory_limit = '1MB'")
        connection.execute("SET temp_directory = ''")
        connection.execute("SELECT list(i) FROM range(10000000) t(i)")


def test_a_wrong_statement_is_not_reported_as_damage(database: Database) -> None:
    with pytest.raises(duckdb.CatalogException):
        database.fetch("SELECT * FROM no_such_table")


def test_a_wrong_row_is_not_reported_as_damage(database: Database) -> None:
    with pytest.raises(duckdb.ConversionException):
        database.insert("marks", [{"name": "a", "value": "one"}])
