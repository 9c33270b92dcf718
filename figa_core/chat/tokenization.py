"""A tokenizer's control tokens and hash, and an encoder that does not depend on its call-time state."""

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def control_token_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that are not text."""
    # `all_special_ids` holds only those with a name (bos_token, eos_token …): not Llama 3's <|eot_id|>.
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {token_id for token_id, token in added if token.special}


def encoder(tokenizer: Any, *, control_tokens_as_text: bool) -> Any:
    """A function from texts to id tuples, adding no special tokens.

    It uses a copy of the tokenizer's Rust core, because truncation, padding and the treatment of control
    tokens are mutable state there, which all users of the tokenizer share.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:

        def encode_in_python(texts: Sequence[str]) -> list[tuple[int, ...]]:
            options = {"add_special_tokens": False, "split_special_tokens": control_tokens_as_text}
            return [tuple(tokenizer(text, **options)["input_ids"]) for text in texts]

        return encode_in_python

    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(core.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = control_tokens_as_text

    def encode(texts: Sequence[str]) -> list[tuple[int, ...]]:
        encodings = copy.encode_batch_fast(list(texts), add_special_tokens=False) if texts else []
        return [tuple(encoding.ids) for encoding in encodings]

    return encode


def span_encoder(tokenizer: Any) -> Any:
    """A function from a text to the place of each of its tokens, as (start, end) in characters.

    The tokens are those of `encoder` with control tokens as text; tokens of one character all have its place.
    A tokenizer in pure Python knows no places: there, a token ends where the text up to it does.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        encode_in_python = encoder(tokenizer, control_tokens_as_text=True)
        return lambda text: _decoded_spans(tokenizer, encode_in_python([text])[0], len(text))

    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(core.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = True
    return lambda text: list(copy.encode(text, add_special_tokens=False).offsets)


def _decoded_spans(tokenizer: Any, ids: Sequence[int], length: int) -> list[tuple[int, int]]:
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    ends = [0]
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(list(ids[:count]), **options).rstrip("\N{REPLACEMENT CHARACTER}")
        ends.append(min(max(len(text), ends[-1]), length))
    return list(pairwise(ends))


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 (hex) of the tokenizer's whole definition."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        return hash_of(type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.special_tokens_map)
    definition = json.loads(core.to_str())
    for call_time_state in ("truncation", "padding"):
        definition.pop(call_time_state, None)
    return hash_of(definition)


def hash_of(*values: object) -> str:
    """SHA-256 (hex) of the values as JSON."""
    body = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(body.encode()).hexdigest()
