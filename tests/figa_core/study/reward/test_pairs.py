"""Preference pairs in files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from figa_core import ids
from figa_core.errors import InputError, StorageError
from figa_core.records import Message
from figa_core.study.reward.pairs import read_pairs, read_table, write_table

from .made import pairs

CONVERSATION = [{"role": "user", "content": "Hello?"}]


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_texts_and_conversations_are_read(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "Hi."}
    path = written(
        tmp_path / "pairs.jsonl",
        {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."},
        {
            "prompt": CONVERSATION,
            "chosen": [answer],
            "rejected": [*CONVERSATION, {**answer, "content": "Go."}],
        },
    )
    one, other = read_pairs(path)
    assert one.messages == other.messages == (Message("user", "Hello?"),)
    assert (one.chosen, one.rejected) == ("Hi.", "No.")
    assert (other.chosen, other.rejected) == ("Hi.", "Go.")
    assert one.prompt_id == other.prompt_id == ids.prompt_id(one.messages)
    assert one.chosen_id == other.chosen_id
    assert one.pair_id != other.pair_id


def test_a_pair_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    row = {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."}
    assert len(read_pairs(written(tmp_path / "pairs.jsonl", row, row))) == 1


def test_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"prompt": ["Hello?"], "chosen": ["Hi."], "rejected": ["No."]}), path)
    [found] = read_pairs(path)
    assert found.chosen == "Hi."


def test_every_bad_row_is_named_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path / "pairs.jsonl",
        {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."},
        {"prompt": "Hello?", "chosen": "Hi."},
        {"prompt": "Hello?", "chosen": "Hi.", "rejected": "Hi."},
        {"prompt": 5, "chosen": "Hi.", "rejected": "No."},
        {"prompt": "Hello?", "chosen": [{"role": "user", "content": "Hi."}], "rejected": "No."},
        {"prompt": "Hello?", "chosen": " ", "rejected": "No."},
    )
    with pytest.raises(InputError) as raised:
        read_pairs(path)
    text = str(raised.value)
    assert "5 rows are no preference pairs" in text
    for place in (2, 3, 4, 5, 6):
        assert f"row {place}: " in text
    assert "rejected: is missing" in text
    assert "are the same" in text
    assert "not the assistant's" in text


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no preference pairs"):
        read_pairs(written(tmp_path / "pairs.jsonl"))


def test_a_table_has_what_was_written(tmp_path: Path) -> None:
    given = pairs(3)
    write_table(tmp_path / "new" / "pairs.parquet", given)
    assert read_table(tmp_path / "new" / "pairs.parquet") == given


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_text("no")
    with pytest.raises(StorageError, match="no table of preference pairs"):
        read_table(tmp_path / "pairs.parquet")
