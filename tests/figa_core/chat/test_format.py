"""Token ids of chat messages, with one byte-level tokenizer (template styles: `test_format_templates`)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from figa_core.chat.format import PLAIN_TEMPLATE, ChatFormat, load_chat_format
from figa_core.errors import ConfigError, InputError
from figa_core.records import Message
from tests.figa_core.chat.templates.styles import conversation_ids, prompt_ids

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ALTERNATING = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
TEXT_AFTER_THE_TURN = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ ' </s><|im_end|> (end)\n' }}{% else %}{{ '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

CONTROL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
QUESTION = (Message("user", "where is my lamp?"),)


def make_tokenizer(template: str | None, eos_token: str | None) -> Any:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["where is my lamp? it is on its way."], trainer)
    # As with Llama's, encoding with special tokens adds a BOS to the template's.
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token=eos_token)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": CONTROL[2:]}, replace_extra_special_tokens=False
    )
    tokenizer.chat_template = template
    return tokenizer


def ids_of(*tokens: str) -> tuple[int, ...]:
    return tuple(CONTROL.index(token) for token in tokens)


def chat_format(
    template: str | None = CHATML, eos_token: str | None = "<|im_end|>", stops: tuple[str, ...] = ()
) -> ChatFormat:
    return ChatFormat.from_tokenizer(make_tokenizer(template, eos_token), stop_token_ids=ids_of(*stops))


def test_without_a_template_the_sequence_is_the_plain_one() -> None:
    chat = chat_format(None, "</s>")
    assert chat.end_of_turn_ids == ids_of("</s>")
    prompt = prompt_ids(chat, QUESTION)
    assert prompt[0] == CONTROL.index("<s>")
    assert prompt.count(CONTROL.index("<s>")) == 1
    sequence = prompt + chat.response_ids("on its way.") + chat.end_of_turn_ids
    assert conversation_ids(chat, QUESTION, "on its way.")[: len(sequence)] == sequence


def test_template_text_after_the_first_stop_is_left_out() -> None:
    chat = chat_format(TEXT_AFTER_THE_TURN, "</s>")
    assert chat.decode(chat.end_of_turn_ids).strip() == ""
    assert chat.end_of_turn_ids[-1] == CONTROL.index("</s>")
    assert CONTROL.index("<|im_end|>") not in chat.end_of_turn_ids


def test_control_token_strings_in_a_response_are_text() -> None:
    chat = chat_format()
    ids = chat.response_ids("a<|im_end|>b</s>")
    assert not set(ids) & set(range(len(CONTROL)))
    assert chat.decode(ids) == "a<|im_end|>b</s>"


def test_what_the_model_would_have_to_write_before_its_answer_is_named() -> None:
    without = chat_format(CHATML.partition("{% if")[0])
    assert without.unasked() == "<|im_start|>assistant"
    assert chat_format(CHATML).unasked() == ""
    assert chat_format(None, "</s>").unasked() == ""


def test_a_stop_that_is_a_piece_of_text_is_named() -> None:
    tokenizer = make_tokenizer(CHATML, "<|im_end|>")
    word = tokenizer.convert_tokens_to_ids("a")
    assert ChatFormat.from_tokenizer(tokenizer, [word, 99_999]).text_stops == ["a"]
    assert chat_format(stops=("</s>",)).text_stops == []


def test_control_tokens_are_left_out_of_decoded_text() -> None:
    chat = chat_format()
    assert chat.decode(chat.response_ids("fine") + chat.end_of_turn_ids) == "fine"


@given(st.text())
def test_response_ids_decode_to_the_same_text(text: str) -> None:
    assert SHARED.decode(SHARED.response_ids(text)) == text


SHARED = chat_format()


def test_batches_equal_single_calls() -> None:
    conversations = [
        QUESTION,
        (Message("user", "hello"), Message("assistant", "hi"), Message("user", "lamp?")),
    ]
    assert SHARED.prompt_ids_or_reasons(conversations) == [prompt_ids(SHARED, c) for c in conversations]
    assert SHARED.response_ids_batch(["a", "", "lamp"]) == [SHARED.response_ids(t) for t in ("a", "", "lamp")]


def test_the_callers_tokenizer_is_left_as_it_was() -> None:
    tokenizer = make_tokenizer(CHATML, "<|im_end|>")
    before = tokenizer.backend_tokenizer.to_str()
    chat = ChatFormat.from_tokenizer(tokenizer)
    tokenizer(["a", "b c"], padding=False, truncation=True, max_length=1)  # leaves truncation switched on
    assert chat.response_ids("where is my lamp?") == SHARED.response_ids("where is my lamp?")
    assert ChatFormat.from_tokenizer(tokenizer).tokenizer_hash == chat.tokenizer_hash
    tokenizer.backend_tokenizer.no_truncation()
    assert tokenizer.backend_tokenizer.to_str() == before


def test_hashes_tell_tokenizers_and_templates_apart() -> None:
    assert chat_format(CHATML).template_hash != chat_format(ALTERNATING).template_hash
    assert chat_format(CHATML).tokenizer_hash == chat_format(ALTERNATING).tokenizer_hash
    assert chat_format(CHATML).template_hash == chat_format(CHATML).template_hash


def test_a_missing_template_is_replaced_by_a_plain_one_and_reported() -> None:
    assert chat_format(None).fallback_template
    assert chat_format(None).template == PLAIN_TEMPLATE
    assert not chat_format(CHATML).fallback_template


def test_messages_that_the_template_refuses_are_an_input_error() -> None:
    chat = chat_format(ALTERNATING, "</s>")
    with pytest.raises(InputError, match=r"must alternate.*\(roles: assistant\)"):
        chat.render([Message("assistant", "hi")], for_generation=True)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ 1 / (messages | length - 1) }}", "ZeroDivisionError: division by zero"),
        ("{{ messages[0].name.first }}", "has no attribute 'name'"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ raise_exception('not one turn\nalone') }}", ": not one turn alone "),
    ],
)
def test_whatever_a_template_raises_is_an_input_error_in_words(template: str, words: str) -> None:
    answered = "{% if messages | length > 1 %}{{ messages[1].content }}{% else %}" + template + "{% endif %}"
    with pytest.raises(InputError, match=words):
        chat_format(answered, "</s>").render(QUESTION, for_generation=True)


def test_each_conversation_has_its_ids_or_a_reason() -> None:
    chat = chat_format(ALTERNATING, "</s>")
    refused = (Message("user", "a"), Message("user", "b"))
    broken = (Message("user", "half a pair: \ud83d"),)
    first, second, third, fourth = chat.prompt_ids_or_reasons([QUESTION, refused, broken, QUESTION])
    assert first == fourth == prompt_ids(chat, QUESTION)
    assert isinstance(second, str)
    assert "must alternate user/assistant (roles: user, user)" in second
    assert isinstance(third, str)
    assert third.startswith("the tokenizer refuses this text: ")
    assert chat.prompt_ids_or_reasons([]) == []


def test_each_rated_answer_has_its_ids_or_a_reason() -> None:
    chat = chat_format(ALTERNATING, "</s>")
    refused, good = chat.conversation_ids_or_reasons([((Message("assistant", "a"),), "b"), (QUESTION, "c")])
    assert isinstance(refused, str)
    assert "(roles: assistant, assistant)" in refused
    assert good == conversation_ids(chat, QUESTION, "c")


def test_a_tokenizer_without_any_stop_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="eos"):
        chat_format(CHATML, None)


def test_stops_come_from_the_generation_config(tmp_path: Path) -> None:
    make_tokenizer(CHATML, "</s>").save_pretrained(tmp_path)
    end = CONTROL.index("<|im_end|>")
    (tmp_path / "generation_config.json").write_text(f'{{"eos_token_id": [{end}, 1]}}')
    chat = load_chat_format(tmp_path)
    assert chat.stop_token_ids == (1, end)
    assert chat.end_of_turn_ids == (end,)


@pytest.mark.parametrize("exists", [True, False])
def test_a_directory_without_a_tokenizer_is_a_config_error_naming_it(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path if exists else tmp_path / "missing"
    with pytest.raises(ConfigError, match=str(directory)):
        load_chat_format(directory)
