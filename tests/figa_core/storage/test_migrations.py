"""The schema grows by migrations: each runs once, completely or not at all, and keeps the stored rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from figa_core.errors import StorageError
from figa_core.storage import migrations
from figa_core.storage.migrations import MIGRATIONS, SCHEMA_VERSION, migrate

LATER = ("colour", "ALTER TABLE runs ADD COLUMN colour TEXT DEFAULT 'blue'")
BROKEN = ("broken", "CREATE TABLE half (a INTEGER); CREATE TABLE half (a INTEGER)")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(tmp_path / "figa.duckdb")) as connection:
        yield connection


def _release(monkeypatch: pytest.MonkeyPatch, *later: tuple[str, str]) -> None:
    """A newer version of the program, with these further migrations."""
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, *later))
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", SCHEMA_VERSION + len(later))


def _recorded(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    return connection.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}


def test_every_table_that_the_docstring_names_is_made_and_no_other(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    migrate(connection)
    documented = set(re.findall(r"`([a-z_]+)`", (migrations.__doc__ or "").partition("Tables")[2]))
    assert _tables(connection) == documented | {"migrations"}


def test_an_older_database_gets_only_what_it_lacks_and_keeps_its_rows(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(connection)
    connection.execute("INSERT INTO runs (run_id, name, config, status) VALUES ('r', 'n', '{}', 'failed')")
    _release(monkeypatch, LATER)

    assert migrate(connection) == ["colour"]

    assert _recorded(connection)[-1] == (SCHEMA_VERSION + 1, "colour")
    assert connection.execute("SELECT run_id, colour FROM runs").fetchall() == [("r", "blue")]


def test_a_migration_that_fails_leaves_neither_its_tables_nor_its_record(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(connection)
    before = _recorded(connection)
    _release(monkeypatch, LATER, BROKEN)

    with pytest.raises(duckdb.CatalogException, match="half"):
        migrate(connection)

    assert _recorded(connection) == [*before, (SCHEMA_VERSION + 1, "colour")]
    assert "half" not in _tables(connection)


def test_a_schema_of_a_newer_version_is_refused_and_left_as_it_is(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        _release(newer, LATER)
        migrate(connection)
    before = _recorded(connection)

    message = f"has schema {SCHEMA_VERSION + 1}, this version knows {SCHEMA_VERSION}"
    with pytest.raises(StorageError, match=message):
        migrate(connection)
    assert _recorded(connection) == before


def test_names_and_numbers_of_migrations_are_unique() -> None:
    assert len({name for name, _ in MIGRATIONS}) == len(MIGRATIONS) == SCHEMA_VERSION


def test_a_pair_thrown_out_by_an_older_version_is_so_by_its_response(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [name for name, _ in MIGRATIONS].index("thrown out")
    with monkeypatch.context() as older:
        older.setattr(migrations, "MIGRATIONS", MIGRATIONS[:before])
        older.setattr(migrations, "SCHEMA_VERSION", before)
        migrate(connection)
    connection.execute(
        "INSERT INTO revisions (revision_id, response_id, model, status) VALUES ('v', 'r', 'm', 'succeeded')"
    )
    connection.execute("INSERT INTO exclusions (subject_id, reason) VALUES ('v', 'wrong'), ('p', 'a prompt')")
    migrate(connection)
    rows = connection.execute("SELECT subject_id, response_id FROM exclusions ORDER BY 1").fetchall()
    assert rows == [("p", None), ("v", "r")]
