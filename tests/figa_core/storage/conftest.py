"""Fixtures of the storage tests."""

from pathlib import Path

import pytest

from figa_core.storage.database import Database
from figa_core.storage.prompts import save_prompts
from figa_core.storage.runs import save_run

from .empty import new_database
from .filled import HELD_OUT, OTHER, RUN, TRAIN


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = new_database(tmp_path / "figa.duckdb")
    for run in (RUN, OTHER):
        save_run(database, run, "test", {"a": 1}, "flow-run")
    save_prompts(database, RUN, [*TRAIN, *HELD_OUT])
    return database
