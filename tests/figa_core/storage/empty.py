"""A database without rows, and its table of marks: for tests of the file."""

from pathlib import Path

import pytest

from figa_core.storage.database import Database


def new_database(path: Path) -> Database:
    database = Database(path)
    database.create()
    return database


@pytest.fixture(name="database")
def empty_database(tmp_path: Path) -> Database:
    return new_database(tmp_path / "figa.duckdb")


def marks(database: Database) -> dict[str, int]:
    return dict(database.fetch("SELECT name, value FROM marks"))
