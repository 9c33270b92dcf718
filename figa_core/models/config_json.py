"""Reads a model's config.json: a file from outside, which may hold anything."""

import json
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.files import read_regular
from figa_core.models.safetensors import LFS_ADVICE, git_lfs_pointer

CONFIG = "config.json"
NO_DIRECTORY = "no such model directory. Give the path of a Hugging Face model directory."
_DEFAULT_LABELS = 2  # what transformers assumes if config.json names none
_CONTEXT_LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_sequence_length", "max_seq_length", "max_target_positions",
)  # fmt: skip
_WIDTHS = ("hidden_size", "n_embd", "d_model")
_POSITIONS_AFTER_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert"}
# With these, max_position_embeddings is already the stretched length.
_STRETCHED_ALREADY = {"default", "llama3", "longrope", "su", "mrope"}


def read_config(model: Path) -> dict[str, Any]:
    """The object in `model`'s config.json.

    Raises:
        EngineError: it cannot be read; the message names the file.
    """
    return read_object(model / CONFIG, "Give the path of a Hugging Face model directory.")


def read_object(path: Path, if_missing: str) -> dict[str, Any]:
    """The JSON object in a file of a model directory.

    Raises:
        EngineError: it cannot be read; if it cannot be opened, the message ends with `if_missing`.
    """
    try:
        body = read_regular(path)
    except OSError as error:
        raise EngineError(f"{path}: cannot read it: {error.strerror}. {if_missing}") from error
    try:
        found = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if git_lfs_pointer(body):
            raise EngineError(f"{path}: cannot be read: {LFS_ADVICE}") from error
        raise EngineError(f"{path}: not valid JSON: {error}. Fetch the model again.") from error
    if not isinstance(found, dict):
        raise EngineError(f"{path}: not a JSON object. Fetch the model again.")
    return found


def label_count(config: dict[str, Any]) -> int:
    """How many labels a classifier with this config.json has."""
    number = config.get("num_labels")
    if isinstance(number, int) and number > 0:
        return number
    labels = config.get("id2label")
    return len(labels) if isinstance(labels, dict | list) and labels else _DEFAULT_LABELS


def label_names(config: dict[str, Any], count: int) -> tuple[str, ...]:
    """The names of `count` labels; LABEL_0 and so on where config.json does not name as many."""
    named = config.get("id2label")
    labels = [str(named[key]) for key in sorted(named, key=_place)] if isinstance(named, dict) else []
    return tuple(labels) if len(labels) == count else tuple(f"LABEL_{number}" for number in range(count))


def hidden_size(config: dict[str, Any]) -> int | None:
    """The width of the language model; None if config.json does not say it."""
    found = (section.get(name) for section in sections(config)[::-1] for name in _WIDTHS)
    return next((width for width in found if isinstance(width, int)), None)


def _place(key: object) -> int:
    return int(str(key)) if str(key).isdecimal() else 0


def sections(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config, and the one of the language model that is nested in it, if any."""
    nested = (config.get(name) for name in ("text_config", "llm_config", "language_config"))
    return [config, *(section for section in nested if isinstance(section, dict))]


def quantization(config: dict[str, Any]) -> str | None:
    """How the weights are quantized ("gptq", "fp8", or "an unknown way"); None if they are not."""
    for section in sections(config):
        settings = section.get("quantization_config") or section.get("compression_config")
        if isinstance(settings, dict):
            return str(settings.get("quant_method") or "an unknown way")
        if settings:
            return "an unknown way"
    return None


def longest_input(config: dict[str, Any]) -> tuple[int, str] | None:
    """How many tokens the model accepts, and the setting in config.json; None if it has no such setting."""
    for section in sections(config):
        for name in _CONTEXT_LENGTHS:
            length = section.get(name)
            if isinstance(length, int) and not isinstance(length, bool) and length > 0:
                return _usable(section, length), name
    return None


def _usable(section: dict[str, Any], length: int) -> int:
    if section.get("model_type") in _POSITIONS_AFTER_PADDING:  # positions begin after the padding token's
        padding = section.get("pad_token_id")
        return length - 1 - (padding if isinstance(padding, int) else 1)
    rope = section.get("rope_scaling") or section.get("rope_parameters")
    if not isinstance(rope, dict):
        return length
    kind, factor = rope.get("rope_type") or rope.get("type"), rope.get("factor")
    if kind is None or kind in _STRETCHED_ALREADY or not isinstance(factor, int | float) or not factor > 1:
        return length
    before = rope.get("original_max_position_embeddings") if kind == "yarn" else length
    return max(length, int((before if isinstance(before, int) else length) * factor))
