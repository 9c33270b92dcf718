"""A database without rows, and its table of marks: for tests of the file itself."""

from pathlib import Path

import pytest

from figa_core.storage.database import Database


@pytest.fixture(name="database")
def empty_database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "figa.duckdb")
    database.create()
    return database


def marks(database: Database) -> dict[str, int]:
    with database.open() as connection:
        return dict(connection.execute("SELECT name, value FROM marks").fetchall())
