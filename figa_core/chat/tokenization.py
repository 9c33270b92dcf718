"""A tokenizer's ids without its call-time state, its control tokens, and its hash."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def control_token_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that are not text."""
    # `all_special_ids` knows only those with a name (bos_token, eos_token …): not Llama 3's <|eot_id|>.
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {token_id for token_id, token in added if token.special}


def encoder(tokenizer: Any, *, control_tokens_as_text: bool) -> Any:
    """A function from texts to id tuples, adding no special tokens.

    It works on a copy of the tokenizer's Rust core, because truncation, padding and the treatment of control
    tokens are mutable state there, shared by everyone who holds the tokenizer.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:

        def encode_slowly(texts: Sequence[str]) -> list[tuple[int, ...]]:
            return [
                tuple(
                    tokenizer(text, add_special_tokens=False, split_special_tokens=control_tokens_as_text)[
                        "input_ids"
                    ]
                )
                for text in texts
            ]

        return encode_slowly

    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(core.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = control_tokens_as_text

    def encode(texts: Sequence[str]) -> list[tuple[int, ...]]:
        if not texts:
            return []
        return [
            tuple(encoding.ids) for encoding in copy.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    return encode


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 (hex) of the tokenizer's whole definition."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        return hash_of(type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.special_tokens_map)
    definition = json.loads(core.to_str())
    # Call-time state, not part of what the tokenizer is.
    definition.pop("truncation", None)
    definition.pop("padding", None)
    return hash_of(definition)


def hash_of(*values: object) -> str:
    """SHA-256 (hex) of the values as JSON."""
    body = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(body.encode()).hexdigest()
