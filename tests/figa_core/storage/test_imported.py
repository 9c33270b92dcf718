"""Which prompts and bad rows are a run's where it imports its file once more; other runs keep theirs."""

from pathlib import Path

import pyarrow as pa
import pytest

from figa_core.prompts.read import BadRow
from figa_core.records import Message, Prompt, Split
from figa_core.storage import imported
from figa_core.storage.store import Store

RUN, OTHER = "run-1", "run-2"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Prompts a, b and c are both runs'."""
    store = Store(tmp_path)
    store.create()
    for run in (RUN, OTHER):
        store.import_prompts(run, [Prompt(name, (Message("user", name),), Split.TRAIN) for name in "abc"])
    return store


def prompts(store: Store, run: str = RUN) -> list[str]:
    query = "SELECT prompt_id FROM run_prompts WHERE run_id = $run ORDER BY 1"
    found = [prompt_id for (prompt_id,) in store.database.fetch(query, run=run)]
    assert imported.count_prompts(store.database, run) == len(found)
    return found


def ids(*prompt_ids: str) -> pa.RecordBatchReader:
    return pa.table({"prompt_id": pa.array(prompt_ids, pa.string())}).to_reader()


def test_prompts_that_are_taken_out_are_this_runs_no_longer_and_nothing_else_goes(store: Store) -> None:
    imported.take_out(store.database, RUN, ["a", "c", "never imported"])
    assert (prompts(store), prompts(store, OTHER)) == (["b"], ["a", "b", "c"])
    imported.take_out(store.database, RUN, [])
    assert prompts(store) == ["b"]
    assert store.database.fetch("SELECT count(*) FROM prompts") == [(3,)]


def test_only_what_was_seen_is_kept(store: Store) -> None:
    imported.keep_only(store.database, RUN, ids("b", "never imported"))
    assert (prompts(store), prompts(store, OTHER)) == (["b"], ["a", "b", "c"])
    imported.keep_only(store.database, RUN, ids())
    assert prompts(store) == []
    assert store.database.fetch("SELECT count(*) FROM prompts") == [(3,)]


def test_bad_rows_of_one_run_are_forgotten(store: Store) -> None:
    for run in (RUN, OTHER):
        store.save_bad_rows(run, [BadRow(1, "empty"), BadRow(2, "empty")])
    imported.forget_bad_rows(store.database, RUN)
    assert store.database.fetch("SELECT run_id, count(*) FROM bad_rows GROUP BY 1") == [(OTHER, 2)]
