"""A user's file of prompts: what is read, and what becomes of rows that cannot be used."""

import json
import tempfile
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import InputError
from figa_core.prompts.read import BadRow, RowFormat, read_prompts, reason_kind, split_of
from figa_core.records import Message, Prompt, Split

GOLDEN = "prompt-s256-c694f2c93adda97e22653a45e4770736"
FORMAT = RowFormat("prompt", "reference", None, 0.0)


def read(path: Path, row_format: RowFormat = FORMAT, limit: int | None = None) -> list[Prompt | BadRow]:
    return [row for _, row in read_prompts(path, row_format, limit)]


def jsonl(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return path


def prompt(row: Prompt | BadRow) -> Prompt:
    assert isinstance(row, Prompt), row
    return row


def test_text_and_chat_messages_are_both_prompts(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    text, chat = map(prompt, read(jsonl(tmp_path, {"prompt": "Hello"}, {"prompt": messages})))
    assert text.messages == (Message("user", "Hello"),)
    assert chat.messages == (Message("system", "Be brief."), Message("user", "Hello"))
    assert text.prompt_id != chat.prompt_id


def test_a_system_prompt_is_put_before_plain_text_only(tmp_path: Path) -> None:
    row_format = RowFormat("prompt", None, "Be brief.", 0.0)
    chat = [{"role": "user", "content": "Hello"}]
    text, messages = map(prompt, read(jsonl(tmp_path, {"prompt": "Hello"}, {"prompt": chat}), row_format))
    assert text.messages[0] == Message("system", "Be brief.")
    assert messages.messages == (Message("user", "Hello"),)


def test_field_names_are_those_of_the_config_and_a_reference_may_be_absent(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"q": "One?", "a": "1"}, {"q": "Two?"}, {"q": "Three?", "a": None})
    one, two, three = map(prompt, read(path, RowFormat("q", "a", None, 0.0)))
    assert (one.reference, two.reference, three.reference) == ("1", None, None)
    assert one.reference_id is not None
    assert two.reference_id is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{broken", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ({"question": "Hello"}, "field 'prompt' is missing; the row has: question"),
        ({"prompt": "  "}, "the prompt is empty"),
        ({"prompt": []}, "neither text nor a list"),
        ({"prompt": 7}, "neither text nor a list"),
        ({"prompt": [{"role": "user"}]}, "needs a role"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, "needs a role"),
        ({"prompt": [{"role": ["user"], "content": "x"}]}, "needs a role"),
        ({"prompt": ["Hello"]}, "needs a role"),
        ({"prompt": [{"role": "user", "content": " "}]}, "the prompt is empty"),
        ({"prompt": None}, "field 'prompt' is null"),
        ('{"prompt": NaN}', "field 'prompt' is null"),
        ('{"prompt": "\\ud800"}', "half a character, \\ud800"),
        ('{"\\ud800": 1}', "the row has: ?"),
        (
            {"prompt": [{"role": "user", "content": "a\ud83d"}, {"role": "user", "content": "x"}]},
            "half a char",
        ),
        ({"prompt": "x", "reference": "a\ud83d"}, "half a character"),
        ("[" * 90_000, "nested too deeply"),
        ('{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ({"prompt": [{"from": "human", "value": "x"}]}, "it has from, value (message 1)"),
        ({"prompt": [{"role": "usr", "content": "x"}]}, "its role is 'usr'"),
        ({"prompt": [{"role": "user", "content": None}]}, "its content is null"),
        ({"prompt": [{"role": "user", "content": []}]}, "its content is an empty list"),
        ({"prompt": [{"role": "user", "content": [{"type": "image_url"}]}]}, "of type 'image_url'"),
        ({"prompt": [{"role": "user", "content": ["x", 3]}]}, "a list with a number in it"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": [1]}]}]},
            "part",
        ),
        (
            {"prompt": "x", "reference": [{"role": "assistant", "content": "y"}]},
            "it is a list of chat messages",
        ),
        ({"prompt": "x", "reference": ["y"]}, "it is a list of values"),
        ({"prompt": "x", "reference": ""}, "it is empty"),
        ({"prompt": "x", "tools": [{"type": "function"}]}, "the row has tools"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "the last chat message is the assistant's"),
        ({"prompt": "x", "reference": " "}, "'reference' is not a text with content"),
        ({"prompt": "x", "reference": 3}, "'reference' is not a text with content"),
    ],
)
def test_a_bad_row_is_kept_with_its_reason_and_stops_no_other(tmp_path: Path, row: Any, reason: str) -> None:
    first, bad, last = read(jsonl(tmp_path, {"prompt": "before"}, row, {"prompt": "after"}))
    assert isinstance(bad, BadRow)
    assert bad.row == 2
    assert reason in bad.reason
    assert prompt(first).messages[0].content == "before"
    assert prompt(last).messages[0].content == "after"


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


CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": "{}"}}


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
def test_what_a_message_says_besides_its_content_refuses_the_row_by_name(
    tmp_path: Path, field: str, value: Any
) -> None:
    """Never is the message kept without it."""
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


def test_columns_that_nobody_reads_may_hold_whatever_python_writes(tmp_path: Path) -> None:
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


def test_a_prompts_id_is_what_it_always_was(tmp_path: Path) -> None:
    """Pinned: another id would generate, revise and pay anew."""
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "é"}]
    (row,) = read(jsonl(tmp_path, {"prompt": messages}))
    assert prompt(row).prompt_id == GOLDEN


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


def test_rows_are_numbered_on_through_a_long_parquet_file(tmp_path: Path) -> None:
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


def test_parquet_text_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    column = pa.array([b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": column}), tmp_path / "bytes.parquet")
    with pytest.raises(InputError, match=r"bytes\.parquet: not readable"):
        read(tmp_path / "bytes.parquet")


def test_bytes_that_are_no_utf8_are_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}\n{"prompt": "after"}')
    bad, after = read(path)
    assert isinstance(bad, BadRow)
    assert prompt(after).messages[0].content == "after"


def test_empty_lines_are_no_rows_and_an_empty_file_has_none(tmp_path: Path) -> None:
    assert len(read(jsonl(tmp_path, "", {"prompt": "one"}, "   ", {"prompt": "two"}, ""))) == 2
    assert read(jsonl(tmp_path)) == []


def test_the_same_messages_are_the_same_prompt_whatever_their_reference(tmp_path: Path) -> None:
    one, other = map(prompt, read(jsonl(tmp_path, {"prompt": "x", "reference": "a"}, {"prompt": "x"})))
    assert one.prompt_id == other.prompt_id


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


def test_a_limit_ends_the_reading(tmp_path: Path) -> None:
    assert len(read(jsonl(tmp_path, *({"prompt": str(i)} for i in range(9))), limit=4)) == 4


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


def test_a_prompt_stays_in_the_split_it_was_always_in() -> None:
    """Pinned: another hash would train on what earlier models were judged by."""
    splits = "".join("T" if split_of(f"prompt-{i}", 0.5) is Split.TRAIN else "h" for i in range(16))
    assert splits == "hTTTThTThThThhTh"


@given(st.text())
def test_the_split_depends_on_the_prompt_alone_and_grows_with_the_share(prompt_id: str) -> None:
    assert split_of(prompt_id, 0.0) is Split.TRAIN
    if split_of(prompt_id, 0.2) is Split.HELD_OUT:
        assert split_of(prompt_id, 0.5) is Split.HELD_OUT


def test_about_the_share_is_held_out() -> None:
    held_out = sum(split_of(f"prompt-{i}", 0.25) is Split.HELD_OUT for i in range(4000))
    assert 900 < held_out < 1100


def test_reasons_are_counted_without_what_is_the_rows_own() -> None:
    assert reason_kind("duplicate of row 7") == reason_kind("duplicate of row 9")
    assert reason_kind("not valid JSON: x at column 3") == "not valid JSON"
    assert reason_kind("the prompt is empty [in a.jsonl, row 3]") == "the prompt is empty"
    assert reason_kind("9 tokens, more than prompts.max_prompt_tokens") == (
        "longer than prompts.max_prompt_tokens"
    )
