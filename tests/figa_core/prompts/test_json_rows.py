"""JSON is split into rows, wherever a chunk of it ends."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import InputError
from figa_core.prompts import json_rows
from figa_core.prompts.json_rows import is_a_row_a_line, parse_object, rows_of_document, rows_of_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6)


def document(text: bytes) -> list[json_rows.Row]:
    return list(rows_of_document(io.BytesIO(text)))


@given(OBJECTS, st.integers(1, 40), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_an_array_gives_its_elements_wherever_it_is_cut(
    rows: list[dict[str, Any]], chunk: int, indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK_BYTES", chunk)
        found = document(text)
    assert len(found) == len(rows)
    assert all(row == want or isinstance(row, str) for row, want in zip(found, rows, strict=True))
    if ascii_only:
        assert found == rows


@given(OBJECTS, st.sampled_from(["\n", "\r\n", " ", "", ",\n"]), st.sampled_from([None, 1]))
def test_objects_one_after_another_are_rows_too(
    rows: list[dict[str, Any]], between: str, indent: int | None
) -> None:
    text = between.join(json.dumps(row, indent=indent) for row in rows)
    assert document(text.encode()) == rows


def test_elements_that_are_not_objects_are_rows_with_a_reason() -> None:
    found = document(b'\xef\xbb\xbf [1, {"a": 1}, "x,]", [{"b": 2}], null, {"c": }, {"d": 4},]')
    assert [row if isinstance(row, dict) else row.split(":")[0] for row in found] == [
        "not a JSON object", {"a": 1}, "not a JSON object", "not a JSON object", "not a JSON object",
        "not valid JSON", {"d": 4},
    ]  # fmt: skip


@pytest.mark.parametrize("end", [b"", b",", b",\n"])
def test_an_array_that_is_cut_between_two_rows_is_reported(end: bytes) -> None:
    *rows, last = document(b'[{"a": 1}, {"b": 2}' + end)
    assert rows == [{"a": 1}, {"b": 2}]
    assert last == "the file ends within its JSON array, as one does that was cut off"


@pytest.mark.parametrize("end", [b', {"b": ', b', {"b": "x', b', {"b": "x\\', b', {"b"'])
def test_an_array_that_is_cut_within_a_row_is_reported_there(end: bytes) -> None:
    first, last = document(b'[{"a": 1}' + end)
    assert first == {"a": 1}
    assert isinstance(last, str)
    assert "not valid JSON" in last


def test_text_around_an_array_is_a_row_that_cannot_be_used() -> None:
    assert [isinstance(row, dict) for row in document(b'x [{"a": 1}] y')] == [False, True, False]


@given(st.binary())
def test_whatever_bytes_a_document_holds_it_gives_rows(text: bytes) -> None:
    assert all(isinstance(row, dict | str) for row in document(text))


@given(st.binary())
def test_whatever_bytes_a_line_holds_it_is_an_object_or_a_reason(text: bytes) -> None:
    assert isinstance(parse_object(text), dict | str)


def test_a_row_that_is_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MOST_ROW_BYTES", 64)
    monkeypatch.setattr(json_rows, "_CHUNK_BYTES", 16)
    lines = b'{"a": 1}\n' + b"x" * 1000 + b'\n{"b": 2}\n' + b"y" * 64 + b"\n"
    first, long, last, also_long = rows_of_lines(io.BytesIO(lines))
    assert (first, last) == ({"a": 1}, {"b": 2})
    assert "longer than" in str(long)
    assert "longer than" in str(also_long) or "not valid JSON" in str(also_long)
    with pytest.raises(InputError, match="longer than"):
        document(b'[{"a": "' + b"x" * 1000 + b'"}]')


@pytest.mark.parametrize(
    "text",
    [b'[{"a": 1}, {"a": 2}]', b'[{"a": 1}]\n', b'[\n  {"a": 1}\n]', b'[{"a": 1},\n{"a": 2}]', b"[{\n}]"],
)
def test_an_array_in_a_file_of_lines_is_refused(text: bytes) -> None:
    with pytest.raises(InputError, match=r"one JSON array.*\.json"):
        list(rows_of_lines(io.BytesIO(text)))


@pytest.mark.parametrize("first", [b"[1]", b"[1", b"[]"])
def test_a_first_line_that_is_a_list_stops_no_other(first: bytes) -> None:
    bad, good = rows_of_lines(io.BytesIO(first + b'\n{"a": 1}\n'))
    assert isinstance(bad, str)
    assert good == {"a": 1}


def test_a_byte_order_mark_is_not_part_of_a_line() -> None:
    text = b'\xef\xbb\xbf{"a": 1}\r\n\xef\xbb\xbf{"a": 2}\r\n'  # two files, one after the other
    assert list(rows_of_lines(io.BytesIO(text))) == [{"a": 1}, {"a": 2}]


def test_another_encoding_is_named_with_the_byte() -> None:
    reason = parse_object('{"prompt": "café"}'.encode("cp1252"))
    assert reason == (
        "not UTF-8: byte 0xe9 at column 16, as in Latin-1 or Windows-1252. Save the file as UTF-8"
    )


def test_one_object_per_line_is_distinguished_from_one_over_several_lines() -> None:
    assert is_a_row_a_line(b'\xef\xbb\xbf\n{"a": 1}\n{"b": ')
    assert not is_a_row_a_line(b'{\n  "a": 1\n}\n')
    assert not is_a_row_a_line(b'[{"a": 1}]\n')
