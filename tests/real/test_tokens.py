"""The tokenizer and the chat template of a real model."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from figa_core.chat.format import ChatFormat
from figa_core.records import Message
from tests.figa_core.chat.templates.styles import conversation_ids, prompt_ids

pytestmark = pytest.mark.real

CONVERSATIONS = (
    (Message("user", "Where is my parcel?"),),
    (Message("system", "You are brief."), Message("user", "Wo ist mein Päckchen? 📦")),
    (Message("user", "hello"), Message("assistant", "hi"), Message("user", "  a\n\tb  ")),
)
ANSWERS = (
    '{"item": "jacket", "count": 3}',
    "  two spaces before, one after ",
    "x = [1, 23, 456]\n\n\treturn x\n",
    "Ünïcödé, 日本語, 👩‍👩‍👧, \u00a0 and \u200b.",
    "<|im_end|> and <|im_start|> as text",
    "12345.678 × 10⁻³",
)


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_prompts_have_the_ids_of_transformers_and_one_beginning_for_each_message(
    chat: ChatFormat, model: Path, messages: tuple[Message, ...]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [message.as_dict() for message in messages]
    expected = tokenizer.apply_chat_template(rows, add_generation_prompt=True, return_dict=False)
    ids = prompt_ids(chat, messages)
    assert ids == tuple(expected)
    # The template opens with a system message of its own; <|im_start|> is the tokenizer's BOS as well.
    turns = len(messages) + (messages[0].role != "system") + 1
    assert ids.count(tokenizer.bos_token_id) == turns
    assert ids[0] == tokenizer.bos_token_id != ids[1]


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_prompt_is_a_prefix_of_the_conversation_which_ends_with_the_end_of_turn(
    chat: ChatFormat, answer: str
) -> None:
    messages = CONVERSATIONS[0]
    sequence = prompt_ids(chat, messages) + chat.response_ids(answer) + chat.end_of_turn_ids
    text = chat.render([*messages, Message("assistant", answer)], for_generation=False)
    assert chat._tokenizer.decode(sequence, skip_special_tokens=False) == text.removesuffix("\n")
    # By itself, because a real tokenizer joins the template's last newline to a space that follows it, and
    # reads control tokens in the text of a conversation.
    if "<|im" not in answer and not answer.startswith(" "):
        assert conversation_ids(chat, messages, answer)[: len(sequence)] == sequence


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_decoded_to_its_text_and_has_no_control_token(chat: ChatFormat, answer: str) -> None:
    ids = chat.response_ids(answer)
    assert chat.decode(ids) == answer
    assert not set(ids) & {*chat.stop_token_ids, *chat.end_of_turn_ids, chat.vocabulary["<|im_start|>"]}


def test_the_end_of_turn_is_one_token_that_stops_a_generation(chat: ChatFormat) -> None:
    assert chat.end_of_turn_ids == (chat.vocabulary["<|im_end|>"],)
    assert set(chat.end_of_turn_ids) <= set(chat.stop_token_ids)
    assert not chat.fallback_template
