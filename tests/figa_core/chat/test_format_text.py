"""Between text and ids: spaces that a tokenizer puts before a text, characters cut in half, ends of turn."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.records import Message
from tests.figa_core.chat.templates.styles import (
    Spaces,
    chat_format,
    conversation_ids,
    ids_of,
    plain_format,
    prompt_ids,
    tokens,
)

AFTER_A_SPACE = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
AFTER_A_NEWLINE = (
    "{% for m in messages %}{{ m.role + ':\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)
QUESTION = (Message("user", "where is my lamp?"),)
KINDS: tuple[Spaces, ...] = get_args(Spaces)
FORMATS = {
    (spaces, template): plain_format(spaces, template)
    for spaces in KINDS
    for template in (AFTER_A_SPACE, AFTER_A_NEWLINE)
}
every_format = pytest.mark.parametrize("chat", FORMATS.values(), ids=lambda _: "")
any_format = st.sampled_from([*FORMATS.values()])
# SentencePiece writes a space as ▁ and cannot distinguish the two.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"))


@pytest.mark.parametrize("spaces", ["prepended", "first", "always"])
def test_a_response_begins_with_a_space_token_if_the_template_has_a_space(spaces: Spaces) -> None:
    chat = FORMATS[spaces, AFTER_A_SPACE]
    assert tokens(chat, chat.response_ids("lamp?")) == ["▁lamp?"]


@pytest.mark.parametrize("spaces", KINDS)
def test_a_response_begins_without_a_space_token_if_the_template_has_no_space(spaces: Spaces) -> None:
    chat = FORMATS[spaces, AFTER_A_NEWLINE]
    assert tokens(chat, chat.response_ids("lamp?"))[0][0] == "l"
    assert chat.response_ids("") == ()


def test_a_response_is_tokenized_alone_if_the_template_shows_no_answer() -> None:
    chat = plain_format("prepended", "{{ messages[0].content + ':\n' + messages[-1].content | upper }}")
    assert tokens(chat, chat.response_ids("lamp?")) == ["▁lamp?"]


@pytest.mark.parametrize(("spaces", "space"), [("bytes", "Ġ"), ("kept", "▁")])
def test_a_tokenizer_that_adds_no_space_leaves_it_to_the_model(spaces: Spaces, space: str) -> None:
    chat = FORMATS[spaces, AFTER_A_SPACE]
    generated = chat.response_ids(" lamp?")
    assert tokens(chat, generated)[0][0] == space
    assert chat.decode(generated) == " lamp?"


@given(any_format, texts)
def test_generated_ids_that_are_canonical_come_back_from_their_text(chat: ChatFormat, text: str) -> None:
    assume(not text.startswith(" "))  # see below
    generated = chat.response_ids(text)
    assert chat.response_ids(chat.decode(generated)) == generated


@pytest.mark.parametrize("spaces", ["first", "always"])
def test_a_second_space_is_lost_if_the_tokenizer_takes_it_for_the_one_it_adds(spaces: Spaces) -> None:
    chat = FORMATS[spaces, AFTER_A_SPACE]
    generated = ids_of(chat, "▁", "▁lamp?")
    assert chat.decode(generated) == " lamp?"
    assert chat.response_ids(" lamp?") == chat.response_ids("lamp?") == ids_of(chat, "▁lamp?")


@pytest.mark.parametrize("spaces", ["bytes", "prepended", "kept"])
@pytest.mark.parametrize("template", [AFTER_A_SPACE, AFTER_A_NEWLINE], ids=["space", "newline"])
@given(text=texts)
def test_a_text_comes_back_from_its_ids(spaces: Spaces, template: str, text: str) -> None:
    chat = FORMATS[spaces, template]
    assert chat.decode(chat.response_ids(text)) == text


def test_a_second_space_that_the_model_wrote_is_kept() -> None:
    chat = FORMATS["prepended", AFTER_A_SPACE]
    generated = ids_of(chat, "▁", "▁lamp?")
    assert chat.decode(generated) == " lamp?"
    assert chat.response_ids(" lamp?") == generated


def test_other_ids_for_the_same_text_are_read_as_the_canonical_ones() -> None:
    chat = FORMATS["prepended", AFTER_A_SPACE]
    generated = ids_of(chat, "▁", "l", "a", "m", "p", "?")
    assert tokens(chat, chat.response_ids(chat.decode(generated))) == ["▁lamp?"]


def test_a_response_that_merges_with_the_newline_before_it_is_tokenized_alone() -> None:
    definition = json.loads(_core(FORMATS["prepended", AFTER_A_NEWLINE]).to_str())
    model = definition["model"]
    model["vocab"] |= {"\n": len(model["vocab"]), "\n\n": len(model["vocab"]) + 1}
    model["merges"] = [["\n", "\n"], *model["merges"]]
    definition["added_tokens"] = []
    core = Tokenizer.from_str(json.dumps(definition))
    core.add_special_tokens(["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")
    tokenizer.chat_template = AFTER_A_NEWLINE
    chat = ChatFormat.from_tokenizer(tokenizer)
    assert tokens(chat, chat.response_ids("lamp")) == ["lam", "p"]
    assert tokens(chat, chat.response_ids("\nlamp")) == ["▁", "\n", "lam", "p"]
    assert chat.response_ids_batch(["lamp", "\nlamp"]) == [chat.response_ids(t) for t in ("lamp", "\nlamp")]


@every_format
@pytest.mark.parametrize("tokens_left", [1, 2, 3])
def test_half_a_character_at_the_end_is_left_out_of_the_text(chat: ChatFormat, tokens_left: int) -> None:
    generated = chat.response_ids("lamp🙂")
    assert chat.decode(generated) == "lamp🙂"
    assert chat.decode(generated[: tokens_left - 4]) == "lamp"


@every_format
def test_a_replacement_character_that_the_model_wrote_is_kept(chat: ChatFormat) -> None:
    assert chat.decode(chat.response_ids("lamp�")) == "lamp�"


@every_format
def test_half_a_character_in_the_middle_reads_as_a_replacement_character(chat: ChatFormat) -> None:
    half = chat.response_ids("lamp🙂")[:-2] + chat.response_ids("lamp")
    assert "�" in chat.decode(half)
    assert chat.response_ids(chat.decode(half)) != half  # not canonical, and counted as such


@given(any_format, texts, st.data())
def test_a_response_cut_anywhere_is_the_beginning_of_its_text(
    chat: ChatFormat, text: str, data: st.DataObject
) -> None:
    generated = chat.response_ids(text)
    cut = data.draw(st.integers(0, len(generated)))
    assert chat.decode(generated).startswith(chat.decode(generated[:cut]))


def test_what_comes_before_the_stop_is_not_part_of_the_answer() -> None:
    chat = chat_format("llama-2")  # its end of turn is a space and </s>
    answer = chat.response_ids("it is on its way.")
    space, _ = chat.end_of_turn_ids
    assert chat.without_end_of_turn([*answer, space]) == answer
    assert chat.without_end_of_turn(answer) == answer
    assert chat.without_end_of_turn([space]) == chat.without_end_of_turn([]) == ()


def test_an_end_of_turn_of_one_token_removes_nothing_from_the_answer() -> None:
    chat = chat_format("chatml")
    assert chat.without_end_of_turn([5, 6]) == (5, 6)
    assert chat.without_end_of_turn([]) == ()


def test_a_tokenizer_in_pure_python_gives_the_same_results(tmp_path: Path) -> None:
    tokenizer = ByT5Tokenizer(extra_ids=0)
    tokenizer.chat_template = AFTER_A_NEWLINE
    tokenizer.save_pretrained(tmp_path)
    chat = load_chat_format(tmp_path)
    assert not hasattr(chat._tokenizer, "backend_tokenizer")
    assert chat.end_of_turn_ids == (tokenizer.eos_token_id,)
    answer = chat.response_ids("a</s>é")
    assert tokenizer.eos_token_id not in answer
    assert chat.decode(answer) == "a</s>é"
    sequence = prompt_ids(chat, QUESTION) + chat.response_ids("aé") + chat.end_of_turn_ids
    assert conversation_ids(chat, QUESTION, "aé")[: len(sequence)] == sequence
    assert load_chat_format(tmp_path).tokenizer_hash == chat.tokenizer_hash


def test_ids_without_a_token_are_left_out_of_the_text() -> None:
    python = ByT5Tokenizer(extra_ids=0)
    python.chat_template = AFTER_A_NEWLINE
    for chat in (ChatFormat.from_tokenizer(python), FORMATS["bytes", AFTER_A_NEWLINE]):
        first, *rest = chat.response_ids("on its way")
        for beyond in (5000, 2**31, 2**40):
            assert chat.decode([first, beyond, *rest, beyond]) == "on its way"
        assert chat.decode([5000]) == ""


def _core(chat: ChatFormat) -> Any:
    return chat._tokenizer.backend_tokenizer
