"""Loads a model directory's tokenizer, and checks that it is usable.

If the vocabulary file is missing, transformers builds an empty tokenizer, which encodes every text as nothing
or as unknown tokens. So a known sentence must survive encoding and decoding. It may lose case, accents and
spaces (the tokenizer of an uncased encoder), but no letter.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from figa_core.errors import ConfigError, EngineError, one_line
from figa_core.models.config_json import CONFIG, NO_DIRECTORY, read_object
from figa_core.models.weight_files import irregular_files

_SENTENCE = "Where is my lamp? I ordered 2 on Monday."
_VOCABULARY_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "*.spm", "*.tiktoken",
)  # fmt: skip
_UNKNOWN_SHARE_MAX = 0.5
_MARKS_OF_SPACES = "Ġ▁Ċ"
_NO_FILE = (
    "has no tokenizer (tokenizer.json, tokenizer.model or another vocabulary file). Copy the tokenizer's "
    "files from the model's source."
)


def load_tokenizer(model: Path) -> Any:
    """The transformers tokenizer of a model directory; nothing is downloaded, and no code from it is run.

    Raises:
        ConfigError: the directory does not exist, or has no tokenizer that can encode a sentence.
    """
    if not model.is_dir():
        raise ConfigError(f"{model}: {NO_DIRECTORY}")
    if irregular := irregular_files(model):
        raise ConfigError("\n".join(irregular))
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model), local_files_only=True, trust_remote_code=False)
        fault = _fault(tokenizer)
    except Exception as error:  # the Rust core raises a bare Exception for a damaged file
        if not any(path for pattern in _VOCABULARY_FILES for path in model.glob(pattern)):
            raise ConfigError(f"{model}: {_NO_FILE}") from error
        raise ConfigError(
            f"{model}: cannot load a tokenizer from it: {one_line(error)}. Fetch its tokenizer files again."
        ) from error
    if fault:
        raise ConfigError(f"{model}: {fault}")
    return tokenizer


def generation_stops(model: Path) -> set[int]:
    """``eos_token_id`` (one or a list) of generation_config.json, or of config.json if that is missing.

    Raises:
        ConfigError: the file cannot be read, or its ids are not whole numbers.
    """
    paths = (model / "generation_config.json", model / CONFIG)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return set()
    try:
        value = read_object(path, "").get("eos_token_id")
    except EngineError as error:
        raise ConfigError(str(error)) from error
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token_id, int) and not isinstance(token_id, bool) for token_id in ids):
        raise ConfigError(
            f"{path}: eos_token_id is {value!r}, not a token id or a list of token ids. Correct it."
        )
    return {token_id for token_id in ids if token_id >= 0}  # -1 means none


def vocabulary_problems(
    known: Mapping[str, int], stops: Iterable[int], vocabulary: int, model: Path
) -> Iterator[str]:
    """Mismatches between a tokenizer, the ids that end a response, and a model.

    `known` maps the tokenizer's tokens to their ids; the model's embedding has `vocabulary` rows.
    """
    beyond = sorted((token_id, token) for token, token_id in known.items() if token_id >= vocabulary)
    if beyond:
        token_id, token = beyond[0]
        yield (
            f"{model}: the tokenizer has {len(beyond):,} tokens that the model does not know: the embedding "
            f"ends at id {vocabulary - 1}, and {token!r} is {token_id}. Give the tokenizer of this model, or "
            "resize its embedding (resize_token_embeddings)."
        )
    ids = set(known.values())
    if not any(stop in ids and stop < vocabulary for stop in stops):
        yield (
            f"{model}: none of the ids that end a response ({', '.join(map(str, sorted(stops)))}) is a token "
            "of its tokenizer. Correct eos_token_id in generation_config.json."
        )


def _fault(tokenizer: Any) -> str | None:
    """What is wrong with a loaded tokenizer; None if a known sentence survives it."""
    ids = tokenizer(_SENTENCE, add_special_tokens=False)["input_ids"]
    if not ids:
        return _NO_FILE
    unknown = ids.count(tokenizer.unk_token_id) if tokenizer.unk_token_id is not None else 0
    if unknown > _UNKNOWN_SHARE_MAX * len(ids):
        return (
            f"its tokenizer knows almost no words ({unknown} of {len(ids)} tokens of a plain sentence are "
            f"{tokenizer.unk_token!r}). Fetch its tokenizer files again."
        )
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    marked = any(mark in decoded for mark in _MARKS_OF_SPACES)  # as without a decoder
    if marked or (not unknown and _letters(decoded) != _letters(_SENTENCE)):
        return f"its tokenizer turns {_SENTENCE!r} into {decoded!r}. Fetch its tokenizer files again."
    return None


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isascii() and c.isalnum())
