"""What chat messages may hold, and what refuses their row."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.prompts.read import BadRow
from figa_core.records import Message, Prompt
from tests.figa_core.prompts.reading import jsonl, prompt, read

CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": "{}"}}


def test_content_as_a_list_of_text_parts_is_the_text(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Where "}, {"type": "input_text", "text": "is "}, {"text": "it"}, "?"]
    whole, joined = map(
        prompt,
        read(
            jsonl(
                tmp_path,
                {"prompt": [{"role": "user", "content": "Where is it?"}]},
                {"prompt": [{"role": "user", "content": parts}]},
            )
        ),
    )
    assert joined == whole


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "refusal", "thinking"])
def test_a_part_of_another_type_is_no_text_though_it_has_one(tmp_path: Path, kind: str) -> None:
    parts = [{"type": "text", "text": "Where "}, {"type": kind, "text": "is it?"}]
    (row,) = read(jsonl(tmp_path, {"prompt": [{"role": "user", "content": parts}]}))
    assert isinstance(row, BadRow)
    assert f"a list with a part of type '{kind}', and only text parts can be read" in row.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool_calls", [CALL]),
        ("function_call", CALL["function"]),
        ("tool_call_id", "c1"),
        ("name", "Alice"),
        ("reasoning_content", "I think"),
        ("refusal", "I cannot"),
        ("audio", {"id": "a"}),
        ("images", ["x.png"]),
        ("something_new", 1),
    ],
)
def test_a_message_with_content_in_another_field_is_refused_by_its_name(
    tmp_path: Path, field: str, value: Any
) -> None:
    """The message is never kept without that field."""
    turns = [
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": content, field: value}]
        for content in ("", None, "text", [{"type": "text", "text": "y"}])
    ]
    rows = read(jsonl(tmp_path, *({"prompt": [*turn, {"role": "user", "content": "z"}]} for turn in turns)))
    for row in rows:
        assert isinstance(row, BadRow)
        assert f"has {field}, which cannot be passed on" in row.reason
        assert row.reason.endswith("(message 2)")


def test_empty_fields_and_notes_about_a_message_change_nothing(tmp_path: Path) -> None:
    plain = {"role": "user", "content": "x"}
    noted = plain | {
        "tool_calls": None,
        "name": "",
        "annotations": [],
        "prefix": False,
        "timestamp": 17,
        "id": "m",
    }
    one, other = map(prompt, read(jsonl(tmp_path, {"prompt": [plain]}, {"prompt": [noted]})))
    assert one == other


def test_parquet_rows_with_tool_calls_or_tools_are_refused_like_others(tmp_path: Path) -> None:
    said = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    asked = {"role": "user", "content": "x", "tool_calls": None}
    rows = [
        {"prompt": [asked, said, asked], "tools": None},
        {"prompt": [asked], "tools": [{"type": "function"}]},
        {"prompt": [asked], "tools": []},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    calls, tools, good = read(tmp_path / "prompts.parquet")
    assert isinstance(calls, BadRow)
    assert "tool_calls" in calls.reason
    assert isinstance(tools, BadRow)
    assert "has tools" in tools.reason
    assert prompt(good).messages == (Message("user", "x"),)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content"]), inner),
    )
)
def test_whatever_the_prompt_field_holds_it_is_a_prompt_or_a_bad_row(value: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (row,) = read(jsonl(Path(directory), {"prompt": value}))
        assert isinstance(row, Prompt | BadRow)
