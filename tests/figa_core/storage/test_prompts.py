"""The prompts and bad rows of a run that imports its file again; other runs keep theirs."""

from pathlib import Path

import pyarrow as pa
import pytest

from figa_core.prompts.read import BadRow
from figa_core.records import Message, Prompt, Split
from figa_core.storage.database import Database
from figa_core.storage.prompts import (
    count_prompts,
    forget_bad_rows,
    keep_only,
    save_bad_rows,
    save_prompts,
    take_out,
)
from tests.figa_core.storage.empty import new_database

RUN, OTHER = "run-1", "run-2"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Both runs have the prompts a, b and c."""
    database = new_database(tmp_path / "figa.duckdb")
    for run in (RUN, OTHER):
        save_prompts(database, run, [Prompt(name, (Message("user", name),), Split.TRAIN) for name in "abc"])
    return database


def prompts(database: Database, run: str = RUN) -> list[str]:
    query = "SELECT prompt_id FROM run_prompts WHERE run_id = $run ORDER BY 1"
    found = [prompt_id for (prompt_id,) in database.fetch(query, run=run)]
    assert count_prompts(database, run) == len(found)
    return found


def ids(*prompt_ids: str) -> pa.RecordBatchReader:
    return pa.table({"prompt_id": pa.array(prompt_ids, pa.string())}).to_reader()


def test_prompts_are_removed_from_this_run_only(database: Database) -> None:
    take_out(database, RUN, ["a", "c", "never imported"])
    assert (prompts(database), prompts(database, OTHER)) == (["b"], ["a", "b", "c"])
    take_out(database, RUN, [])
    assert prompts(database) == ["b"]
    assert database.fetch("SELECT count(*) FROM prompts") == [(3,)]


def test_only_these_prompts_stay_in_the_run(database: Database) -> None:
    keep_only(database, RUN, ids("b", "never imported"))
    assert (prompts(database), prompts(database, OTHER)) == (["b"], ["a", "b", "c"])
    keep_only(database, RUN, ids())
    assert prompts(database) == []
    assert database.fetch("SELECT count(*) FROM prompts") == [(3,)]


def test_bad_rows_of_one_run_are_forgotten(database: Database) -> None:
    for run in (RUN, OTHER):
        save_bad_rows(database, run, [BadRow(1, "empty"), BadRow(2, "empty")])
    forget_bad_rows(database, RUN)
    assert database.fetch("SELECT run_id, count(*) FROM bad_rows GROUP BY 1") == [(OTHER, 2)]
