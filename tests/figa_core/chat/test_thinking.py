"""Thoughts are found by their marks, and split from answers by token ids, whatever the tokenizer."""

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.chat.thinking import Thoughts, off_switch, thoughts_of
from tests.figa_core.chat.templates.styles import chat_format, plain_format

ANSWER = "it is on its way."
THOUGHT = "<think>\nwhere is the lamp?\n</think>\n\n"
SWITCHED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if not SWITCH %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)


def thoughts(chat: ChatFormat) -> Thoughts:
    found = thoughts_of(chat)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["qwen-3", "mistral-v3", "gemma", "llama-2"])
@pytest.mark.parametrize("answer", [ANSWER, "lamp\n", "\n\nno </b> tag, é 🎉"])
def test_a_thought_and_an_answer_are_the_tokens_that_were_written(name: str, answer: str) -> None:
    chat = chat_format(name)
    ids = chat.template_ids(THOUGHT + answer)
    found = thoughts(chat).split(ids)
    assert found.answer_ids is not None
    assert found.thought_ids + found.answer_ids == ids
    assert chat.decode(found.answer_ids).strip() == answer.strip()
    assert found.thought is not None
    assert found.thought.strip() == THOUGHT.strip()


def test_a_prompt_may_begin_the_thought_and_the_response_only_end_it() -> None:
    chat = chat_format("deepseek-r1")
    assert thoughts(chat).begun
    ids = chat.template_ids("where?\n</think>\n\n" + ANSWER)
    found = thoughts(chat).split(ids)
    assert found.answer_ids is not None
    assert chat.decode(found.answer_ids) == ANSWER
    assert found.thought_ids + found.answer_ids == ids


def test_a_prompt_that_ends_its_thought_has_not_begun_one() -> None:
    found = thoughts(chat_format("qwen-3-not-thinking"))
    assert not found.begun
    ids = chat_format("qwen-3-not-thinking").template_ids(ANSWER)
    assert found.split(ids) == (None, (), ids)


@pytest.mark.parametrize(
    "text", ["<think>\nwhere", "  <think>", "<think>where?</think>", "<think>where?</think>\n\n \n"]
)
def test_a_thought_without_an_end_or_an_answer_is_all_thought(text: str) -> None:
    chat = chat_format("qwen-3")
    ids = chat.template_ids(text)
    assert thoughts(chat).split(ids) == (chat.decode_marked(ids), ids, None)


def test_a_response_that_only_begun_thinking_in_its_prompt_is_all_thought() -> None:
    chat = chat_format("deepseek-r1")
    for ids in (chat.template_ids("where is my lamp"), ()):
        assert thoughts(chat).split(ids).answer_ids is None


def test_only_the_first_end_ends_the_thought() -> None:
    chat = chat_format("qwen-3")
    found = thoughts(chat).split(chat.template_ids("<think>a</think>say </think> twice"))
    assert chat.decode(found.answer_ids or ()) == "say </think> twice"


def test_marks_that_are_no_tokens_are_found_in_the_text() -> None:
    template = "{% for m in messages %}{{ m.content }}</s>{% endfor %}{# <seed:think></seed:think> #}"
    plain = plain_format("bytes", template)
    assert "<seed:think>" not in plain.vocabulary
    ids = plain.template_ids("<seed:think>where?</seed:think>\nlamp")
    found = thoughts(plain).split(ids)
    assert plain.decode(found.answer_ids or ()).strip() == "lamp"


def test_control_tokens_may_be_marks_and_an_answer_lacks_none_of_its_text() -> None:
    harmony = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>")
    chat = chat_format("chatml", control=("<|im_start|>", "<|im_end|>", *harmony))
    thinking = chat.with_template(chat.template + "{# <|channel|>analysis<|message|> #}")
    thought = "<|channel|>analysis<|message|>where?<|end|><|start|>assistant<|channel|>final<|message|>"
    found = thoughts(thinking).split(thinking.template_ids(thought + ANSWER))
    assert thinking.decode(found.answer_ids or ()) == ANSWER
    assert found.thought == thought


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
def test_the_templates_own_switch_turns_thinking_off(switch: str) -> None:
    chat = chat_format("qwen-3").with_template(SWITCHED.replace("SWITCH", switch))
    assert off_switch(chat) == {switch: False}
    assert not thoughts(chat.with_variables({switch: False})).begun


@pytest.mark.parametrize("name", ["qwen-3", "deepseek-r1", "chatml"])
def test_a_template_without_a_switch_is_said_to_have_none(name: str) -> None:
    assert off_switch(chat_format(name)) is None


def test_marks_in_a_template_say_more_than_those_in_a_vocabulary_alone() -> None:
    assert thoughts(chat_format("qwen-3")).in_template
    assert not thoughts(chat_format("chatml")).in_template
    assert thoughts(chat_format("chatml")).shown == "<think> … </think> in its vocabulary"
