"""Duplicates in a file are recognised by the row in which each prompt comes first."""

from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from figa_core.storage.first_rows import FirstRows


def test_the_first_row_of_a_prompt_is_found_in_any_batch(tmp_path: Path) -> None:
    with FirstRows(tmp_path / "missing" / "scratch") as first_rows:
        assert first_rows.look_up([("a", 1), ("b", 2), ("a", 3)]) == {"a": 1, "b": 2}
        assert first_rows.look_up([("c", 4), ("b", 5), ("a", 6), ("c", 7)]) == {"a": 1, "b": 2, "c": 4}
        assert first_rows.look_up([]) == {}
        assert first_rows.look_up([("c", 8)]) == {"c": 4}


def test_every_prompt_that_was_looked_up_is_listed_once(tmp_path: Path) -> None:
    with FirstRows(tmp_path / "scratch") as first_rows:
        assert first_rows.prompt_ids().read_all().num_rows == 0
        first_rows.look_up([("a", 1), ("b", 2), ("a", 3)])
        first_rows.look_up([("c", 4), ("b", 5)])
        found = first_rows.prompt_ids().read_all()
    assert found.column_names == ["prompt_id"]
    assert sorted(found.column("prompt_id").to_pylist()) == ["a", "b", "c"]


def test_nothing_is_left_behind_and_rows_of_a_killed_run_are_forgotten(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    killed = FirstRows(scratch).__enter__()
    killed.look_up([("a", 1)])
    killed._connection.close()
    with FirstRows(scratch) as first_rows:
        assert first_rows.look_up([("a", 5)]) == {"a": 5}
    assert not scratch.exists()


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot store which prompts were read"):
        FirstRows(tmp_path / "file" / "seen").__enter__()
