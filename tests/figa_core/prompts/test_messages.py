"""What chat messages may hold, and what refuses their row."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.prompts.read import BadRow
from figa_core.records import TOOLS, Message, Prompt
from figa_core.storage.conversations import messages_text, read_messages
from tests.figa_core.prompts.reading import jsonl, prompt, read

CALLING = Message.of(
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "track", "arguments": {}}}],
    }
)
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


def test_parquet_rows_with_tool_calls_or_tools_are_read_without_the_fields_of_other_rows(
    tmp_path: Path,
) -> None:
    said = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    asked = {"role": "user", "content": "x", "tool_calls": None}
    order = {"type": "object", "properties": {"order": {"type": "integer"}}}
    tools = [{"name": "track", "parameters": order}, {"name": "stop", "parameters": None}]
    rows = [
        {"prompt": [asked, said, asked], "tools": None},
        {"prompt": [asked], "tools": tools},
        {"prompt": [asked], "tools": []},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    calls, with_tools, plain = map(prompt, read(tmp_path / "prompts.parquet"))
    assert calls.messages == (Message("user", "x"), CALLING, Message("user", "x"))
    held, question = with_tools.messages
    assert held.role == TOOLS
    assert json.loads(held.content) == [
        {"type": "function", "function": {"name": "track", "parameters": order}},
        {"type": "function", "function": {"name": "stop"}},
    ]
    assert question == plain.messages[0] == Message("user", "x")
    assert len({calls.prompt_id, with_tools.prompt_id, plain.prompt_id}) == 3


@pytest.mark.parametrize("arguments", ['{"order": 7}', {"order": 7}])
@pytest.mark.parametrize("content", [None, ""])
def test_arguments_as_text_or_object_are_the_same_call(
    tmp_path: Path, arguments: Any, content: str | None
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": arguments}}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "content": "in Oslo", "tool_call_id": "c1", "name": "track"},
    ]
    (row,) = read(jsonl(tmp_path, {"prompt": turns, "tools": '[{"name": "track"}]'}))
    _, _, said, result = prompt(row).messages
    assert said.as_dict()["tool_calls"][0]["function"] == {"name": "track", "arguments": {"order": 7}}
    assert result.as_dict() == turns[-1]
    assert '"arguments": {"order": 7}' in said.shown


def test_a_conversation_is_stored_with_its_calls() -> None:
    messages = (Message(TOOLS, "[]"), Message("user", "x"), CALLING)
    assert read_messages(messages_text(messages)) == messages
    assert '"more"' not in messages_text(messages)


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls, and is not the assistant's"),
        ({"role": "assistant", "tool_calls": "track"}, "that are not a list of functions with a name and"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "not a list of functions"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "t", "arguments": "{"}}]},
            "not a list of functions",
        ),
        ({"role": "assistant", "tool_calls": [{"name": "t", "arguments": [1]}]}, "not a list of functions"),
        ({"role": "assistant", "tool_calls": [{"name": "a\ud83d"}]}, "half a character"),
        ({"role": "tool", "content": "x", "tool_call_id": 7}, "tool_call_id or name that is not a text"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "its content is null"),
    ],
)
def test_calls_that_cannot_be_read_refuse_their_row(
    tmp_path: Path, turn: dict[str, Any], reason: str
) -> None:
    (row,) = read(jsonl(tmp_path, {"prompt": [turn, {"role": "user", "content": "x"}]}))
    assert isinstance(row, BadRow)
    assert reason in row.reason
    assert row.reason.endswith("(message 1)")


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ([{"type": "function"}], "not a list of functions with a name each"),
        ({"name": "track"}, "not a list of functions with a name each"),
        ([3], "not a list of functions with a name each"),
        ("[{", "the row's tools are not JSON"),
        ([{"name": "a\ud83d"}], "half a character"),
    ],
)
def test_tools_that_cannot_be_read_refuse_their_row(tmp_path: Path, tools: Any, reason: str) -> None:
    (row,) = read(jsonl(tmp_path, {"prompt": "x", "tools": tools}))
    assert isinstance(row, BadRow)
    assert reason in row.reason


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
