"""Rows in files of each format, damaged ones included."""

import tempfile
from codecs import BOM_UTF8
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import InputError
from figa_core.prompts.read import BadRow, read_prompts
from figa_core.records import Message
from tests.figa_core.prompts.reading import FORMAT, jsonl, prompt, read


def test_parquet_reads_like_jsonl(tmp_path: Path) -> None:
    rows = [{"prompt": "One?", "reference": "1"}, {"prompt": "Two?", "reference": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    assert read(tmp_path / "prompts.parquet") == read(jsonl(tmp_path, *rows))


def test_parquet_holds_chat_messages_and_rows_without_a_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": "Hello"}]}, {"prompt": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    chat, bad = read(tmp_path / "prompts.parquet")
    assert prompt(chat).messages == (Message("user", "Hello"),)
    assert bad == BadRow(2, "field 'prompt' is null")


def test_rows_are_numbered_through_a_long_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [f"question {i}" for i in range(2500)]}), tmp_path / "long.parquet")
    numbers = [number for number, _ in read_prompts(tmp_path / "long.parquet", FORMAT)]
    assert numbers == list(range(1, 2501))


def test_a_parquet_file_damaged_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    pq.write_table(pa.table({"prompt": [f"question {i}" for i in range(500)]}), path)
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.parquet: not readable after row 0"):
        read(path)


def test_parquet_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    column = pa.array([b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": column}), tmp_path / "bytes.parquet")
    with pytest.raises(InputError, match=r"bytes\.parquet: not readable"):
        read(tmp_path / "bytes.parquet")


def test_bytes_that_are_not_utf8_are_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}\n{"prompt": "after"}')
    bad, after = read(path)
    assert isinstance(bad, BadRow)
    assert prompt(after).messages[0].content == "after"


def test_empty_lines_are_not_rows_and_an_empty_file_has_none(tmp_path: Path) -> None:
    assert len(read(jsonl(tmp_path, "", {"prompt": "one"}, "   ", {"prompt": "two"}, ""))) == 2
    assert read(jsonl(tmp_path)) == []


def test_a_file_that_cannot_be_used_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt\n")
    (tmp_path / "broken.parquet").write_text("no parquet")
    pq.write_table(pa.Table.from_pylist([{"q": "x"}]), tmp_path / "other.parquet")
    for name, message in (
        ("missing.jsonl", "no such file"),
        ("n" * 300 + ".jsonl", "cannot be read"),
        ("prompts.csv", "unknown kind of file"),
        ("broken.parquet", "not a readable Parquet file"),
        ("other.parquet", "no column 'prompt'; it has q"),
    ):
        with pytest.raises(InputError, match=name) as caught:
            read(tmp_path / name)
        assert message in str(caught.value)


def test_columns_that_are_not_read_may_hold_whatever_python_writes(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "score": float("nan")},
        {"prompt": "b", "score": float("-inf"), "other": float("inf")},
        '{"prompt": "c", "n": ' + "9" * 6000 + "}",
        '{"prompt": "d", "half": "\\ud83d", "prompt": "d"}',
        '{"prompt": "e", "reference": NaN}',
        '{"prompt": "f\tg", "tab": "\t"}',
        '{"prompt": "h\\u0000i"}',
    ]
    found = [prompt(row).messages[0].content for row in read(jsonl(tmp_path, *rows))]
    assert found == ["a", "b", "c", "d", "e", "f\tg", "h\0i"]


@given(st.binary() | st.text().map(str.encode))
def test_whatever_a_line_holds_it_is_a_prompt_or_a_bad_row(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "any.jsonl"
        path.write_bytes(content)
        try:
            rows = read(path)
        except InputError:  # another format by its first bytes, or one array
            return
        lines = (line.removeprefix(BOM_UTF8) for line in content.split(b"\n"))
        assert len(rows) == sum(bool(line.strip()) for line in lines)
