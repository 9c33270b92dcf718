"""Hashes of tokenizers and templates, of which stored ids are made."""

from figa_core.chat.tokenization import hash_of
from tests.figa_core.chat.test_format import CHATML, chat_format, make_tokenizer


def test_a_hash_of_values_stays_what_it_is() -> None:
    """Golden: another value would repeat all that is stored."""
    values = ("{{ x }}", {"eos_token": "</s>", "bos_token": "é"}, (2, 1))
    assert hash_of(*values) == "b02e5f259b99222e9b21f6b32988f40b8631e359964d06ee5a289fb592529d89"
    assert hash_of(values[0], dict(reversed(values[1].items())), [2, 1]) == hash_of(*values)
    assert hash_of(*values[:2]) != hash_of(*values)


def test_a_templates_hash_is_of_its_text_the_special_tokens_and_the_end_of_turn() -> None:
    chat, special = chat_format(CHATML), make_tokenizer(CHATML, "<|im_end|>").special_tokens_map
    assert chat.template_hash == hash_of(CHATML, special, chat.end_of_turn_ids)
