"""Prompts are read from a user's file, and rows that cannot be used become bad rows."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.prompts.read import BadRow, RowFormat, reason_kind, split_of
from figa_core.records import Message, Split
from tests.figa_core.prompts.reading import FORMAT, jsonl, prompt, read

GOLDEN = "prompt-s256-c694f2c93adda97e22653a45e4770736"


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


def test_the_config_names_the_fields_and_a_reference_may_be_absent(tmp_path: Path) -> None:
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
        ({"prompt": [{"role": "user", "content": [{"type": ["text"]}]}]}, "of type \"['text']\""),
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
        ({"prompt": "x", "tools": [{"type": "function"}]}, "the row's tools are not a list of functions"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "the last chat message is the assistant's"),
        ({"prompt": "x", "reference": " "}, "'reference' is not a text with content"),
        ({"prompt": "x", "reference": 3}, "'reference' is not a text with content"),
        ({"prompt": "\u200b\ufeff \u200e"}, "the prompt is empty"),
        ({"prompt": [{"role": "user", "content": "\u2060"}]}, "the prompt is empty"),
        ({"prompt": "x", "reference": "\u200b"}, "it is empty"),
        ({"prompt": '[{"role": "user", "content": "Hi"}]'}, "written as text"),
        (
            {"prompt": "[{'content': 'Hi', 'role': 'user'}\n {'content': 'a', 'role': 'user'}]"},
            "written as text",
        ),
        ({"prompt": '{"from": "human", "value": "Hi"}'}, "written as text"),
        ({"prompt": "x", "reference": '[{"role": "assistant", "content": "y"}]'}, "written as text"),
    ],
)
def test_a_bad_row_is_kept_with_its_reason_and_stops_no_other(tmp_path: Path, row: Any, reason: str) -> None:
    first, bad, last = read(jsonl(tmp_path, {"prompt": "before"}, row, {"prompt": "after"}))
    assert isinstance(bad, BadRow)
    assert bad.row == 2
    assert reason in bad.reason
    assert prompt(first).messages[0].content == "before"
    assert prompt(last).messages[0].content == "after"


def test_the_id_of_a_prompt_never_changes(tmp_path: Path) -> None:
    """With another id everything would be generated, revised and paid for again."""
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "é"}]
    (row,) = read(jsonl(tmp_path, {"prompt": messages}))
    assert prompt(row).prompt_id == GOLDEN


def test_the_same_messages_are_the_same_prompt_whatever_their_reference(tmp_path: Path) -> None:
    one, other = map(prompt, read(jsonl(tmp_path, {"prompt": "x", "reference": "a"}, {"prompt": "x"})))
    assert one.prompt_id == other.prompt_id


@pytest.mark.parametrize(
    "text",
    [
        '{"role": "admin"}',
        '[{"role": "user"}]',
        "['role', 'content']",
        '{"content": 1} and a "role":',
        "[]",
        "{",
    ],
)
def test_other_json_in_a_prompt_is_its_text(tmp_path: Path, text: str) -> None:
    (row,) = read(jsonl(tmp_path, {"prompt": text, "reference": text}))
    assert (prompt(row).messages[0].content, prompt(row).reference) == (text, text)


def test_a_limit_ends_the_reading(tmp_path: Path) -> None:
    assert len(read(jsonl(tmp_path, *({"prompt": str(i)} for i in range(9))), limit=4)) == 4


def test_the_split_of_a_prompt_never_changes() -> None:
    """With another hash models would be trained on prompts that judged earlier ones."""
    splits = "".join("T" if split_of(f"prompt-{i}", 0.5) is Split.TRAIN else "h" for i in range(16))
    assert splits == "hTTTThTThThThhTh"


def test_a_row_is_in_the_split_of_its_id(tmp_path: Path) -> None:
    half = replace(FORMAT, held_out_share=0.5)
    rows = [prompt(row) for row in read(jsonl(tmp_path, *({"prompt": str(i)} for i in range(40))), half)]
    assert [row.split for row in rows] == [split_of(row.prompt_id, 0.5) for row in rows]
    assert {row.split for row in rows} == {Split.TRAIN, Split.HELD_OUT}


@given(st.text())
def test_the_split_depends_on_the_prompt_alone_and_grows_with_the_share(prompt_id: str) -> None:
    assert split_of(prompt_id, 0.0) is Split.TRAIN
    if split_of(prompt_id, 0.2) is Split.HELD_OUT:
        assert split_of(prompt_id, 0.5) is Split.HELD_OUT


def test_about_the_share_is_held_out() -> None:
    held_out = sum(split_of(f"prompt-{i}", 0.25) is Split.HELD_OUT for i in range(4000))
    assert 900 < held_out < 1100


def test_reasons_are_counted_without_the_details_of_a_row() -> None:
    assert reason_kind("duplicate of row 7") == reason_kind("duplicate of row 9")
    assert reason_kind("not valid JSON: x at column 3") == "not valid JSON"
    assert reason_kind("the prompt is empty [in a.jsonl, row 3]") == "the prompt is empty"
    assert reason_kind("9 tokens, more than prompts.max_prompt_tokens") == (
        "longer than prompts.max_prompt_tokens"
    )


def test_a_row_may_name_its_type(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, {"prompt": "2 + 2?", "kind": "sums"}, {"prompt": "Hello"}, {"prompt": "x", "kind": None}
    )
    sums, hello, nothing = map(prompt, read(path, replace(FORMAT, type_field="kind")))
    assert (sums.type, hello.type, nothing.type) == ("sums", None, None)
    assert prompt(read(path)[0]).type is None
    assert prompt(read(path)[0]).prompt_id == sums.prompt_id


@pytest.mark.parametrize("kind", [3, ["sums"], "", "\ud800"])
def test_a_type_that_is_no_text_makes_a_bad_row(kind: Any, tmp_path: Path) -> None:
    [row] = read(jsonl(tmp_path, {"prompt": "2 + 2?", "kind": kind}), replace(FORMAT, type_field="kind"))
    assert isinstance(row, BadRow)
    assert row.reason.startswith("field 'kind' is not a text")


def test_more_fields_of_a_row_are_kept_for_rewards(tmp_path: Path) -> None:
    rows = [
        {"prompt": "One?", "answer": 1, "tests": ["a", {"b": None}], "other": 3},
        {"prompt": "Two?", "answer": None},
    ]
    wanted = replace(FORMAT, more_fields=("answer", "tests"))
    first, second = read(jsonl(tmp_path, *rows), wanted)
    assert prompt(first).values == {
        "answer": 1,
        "tests": ["a", {"b": None}],
        "type": None,
        "reference": None,
    }
    assert prompt(second).fields == '{"answer": null, "tests": null}'
    [plain, _] = read(jsonl(tmp_path, *rows))
    assert prompt(plain).fields is None


def test_a_field_that_is_no_json_makes_a_bad_row(tmp_path: Path) -> None:
    rows = [{"prompt": "One?", "answer": date(2026, 1, 1)}, {"prompt": "Two?", "answer": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    wanted = replace(FORMAT, more_fields=("answer",))
    bad, good = read(tmp_path / "prompts.parquet", wanted)
    assert bad == BadRow(1, "field 'answer' cannot be given to a reward: it is a date")
    assert prompt(good).values["answer"] is None
