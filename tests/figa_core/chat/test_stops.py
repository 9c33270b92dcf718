"""A response is cut before the text that ends it, wherever its tokens begin and end."""

import pytest

from figa_core.chat.stops import before_stop
from tests.figa_core.chat.templates.styles import chat_format


@pytest.mark.parametrize("name", ["qwen-3", "gemma", "mistral-v3", "llama-2"])
@pytest.mark.parametrize("stop", ["\nUser:", "the lamp", "mp", "é", " "])
def test_what_comes_before_the_text_is_left_and_nothing_after_it(name: str, stop: str) -> None:
    chat = chat_format(name)
    text = "it is on 🎉 the lamp?\nUser: é where"
    left = before_stop(chat, chat.response_ids(text), [stop])
    assert left is not None
    assert chat.decode(left) == text[: text.index(stop)]


def test_the_tokens_are_those_that_the_model_wrote() -> None:
    chat = chat_format("qwen-3")
    ids = tuple(token for letter in "lamp" for token in chat.response_ids(letter))
    assert ids != chat.response_ids("lamp")
    assert before_stop(chat, ids + chat.response_ids("\n\nno"), ["\n\n"]) == ids


def test_the_text_that_ends_first_decides() -> None:
    chat = chat_format("qwen-3")
    ids = chat.response_ids("where is the news")
    assert before_stop(chat, ids, ["is the news", "the"]) == chat.response_ids("where is ")


def test_without_the_text_nothing_is_cut() -> None:
    chat = chat_format("qwen-3")
    assert before_stop(chat, chat.response_ids("where is it"), ["User:"]) is None
    assert before_stop(chat, (), ["User:"]) is None
    assert before_stop(chat, chat.response_ids("User: me"), ["User:"]) == ()
