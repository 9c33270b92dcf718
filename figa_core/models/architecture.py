"""Checks, without loading them, that the weights fit the model that config.json describes.

transformers itself loads tensors without content (device "meta") that have the names and shapes of the
headers: its own renaming of keys, fusing of experts, tying and exceptions apply, so that what it would load
is not refused, and what it would make up is found. A model of 70 billion parameters takes half a second.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core.errors import one_line
from figa_core.models.config_json import CONFIG
from figa_core.models.role import ModelRole
from figa_core.models.safetensors import Tensor
from figa_core.models.weight_files import names

_SAME = "Fetch weights and config.json of the same model."
_HEADS = ("score", "classifier", "classification_head")
_NOT_CAUSAL = ("ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForQuestionAnswering")
_SILENT = 50
_FLOATS = {"F64", "F32", "F16", "BF16"}
# Weights that a checkpoint may carry for later layers that predict further tokens.
_EXTRA_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")


@dataclass(frozen=True, slots=True)
class Described:
    """The model that config.json describes, without content, and its config."""

    model: Any
    config: Any

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: every token id is below it."""
        return int(self.model.get_input_embeddings().weight.shape[0])


class NotLoadableError(ValueError):
    """config.json does not describe a model of the wanted kind; the message says why."""


def described(model: Path, settings: Mapping[str, Any], role: ModelRole, weights: int) -> Described:
    """Build the model that config.json (`settings`) describes, without content.

    `weights` is how many the files hold: no model is built that has more layers than that.

    Raises:
        NotLoadableError: transformers cannot, or it is a model of another kind.
    """
    from transformers import (
        CONFIG_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )

    path = model / CONFIG
    if "model_type" in settings and settings["model_type"] not in CONFIG_MAPPING:
        why = "it brings code of its own, which is not run" if settings.get("auto_map") else "it may be newer"
        raise NotLoadableError(
            f"{path}: transformers here does not know model_type {settings['model_type']!r} ({why}). "
            f"Set {role.setting} to another model."
        )
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(str(model), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a file from outside may make a library raise anything
        raise NotLoadableError(f"{path}: transformers cannot read it: {one_line(error)}.") from error
    text = config.get_text_config()
    layers = getattr(text, "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > weights:
        raise NotLoadableError(
            f"{path}: names {layers:,} layers, and the files hold {weights:,} weights. Fetch the model again."
        )
    kind = AutoModelForCausalLM if role is ModelRole.POLICY else AutoModelForSequenceClassification
    try:
        return Described(_without_content(kind, config), config)
    except Exception as error:
        if "Unrecognized configuration class" in str(error):
            raise NotLoadableError(
                f"{path}: a model of type {config.model_type} is no {role.kind}. "
                f"Set {role.setting} to another."
            ) from error
        raise NotLoadableError(
            f"{path}: the model that it describes cannot be built: {one_line(error)}. "
            "Correct it, or fetch the model again."
        ) from error


def other_class(settings: Mapping[str, Any]) -> str | None:
    """The class that config.json names, if that is not a causal language model; else None."""
    name = _named_class(settings)
    return name if name.endswith(_NOT_CAUSAL) else None


def rates_tokens(settings: Mapping[str, Any]) -> str | None:
    """The class that config.json names, where it gives a value to every token: its head looks like that of
    a reward model.
    """
    name = _named_class(settings)
    return name if name.endswith(("ForTokenClassification", "ForQuestionAnswering")) else None


def _named_class(settings: Mapping[str, Any]) -> str:
    named = settings.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def head_is_there(tensors: Mapping[str, Tensor]) -> bool:
    """Whether any weight belongs to a classification head, by its name."""
    return any(name.removeprefix("model.").split(".")[0] in _HEADS for name in tensors)


def weight_problems(
    model: Path, found: Described, tensors: Mapping[str, Tensor], role: ModelRole
) -> list[str]:
    """Weights that are missing, have another shape, are useless, or would be left out."""
    if quantized := sorted(name for name, tensor in tensors.items() if _is_quantized(tensor)):
        return [
            f"{model}: holds quantized weights ({names(quantized)}) and config.json does not say how. "
            "Give the model in full precision."
        ]
    try:
        loading = _load(found, tensors)
    except Exception as error:
        return [f"{model}: its weights do not fit config.json: {one_line(error)}. Fetch the model again."]
    return [
        *_missing(model, sorted(loading["missing_keys"]), role),
        *_other_shapes(model, loading["mismatched_keys"], tensors),
        *_left_out(model, found, sorted(loading["unexpected_keys"]), role),
    ]


def _without_content(kind: Any, config: Any) -> Any:
    import torch

    with torch.device("meta"), _quiet():
        return kind.from_config(config, trust_remote_code=False)


def _load(found: Described, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    import torch

    hollow = {name: torch.empty(tensor.shape, device="meta") for name, tensor in tensors.items()}
    with _quiet():
        _, loading = type(found.model).from_pretrained(
            None,
            config=found.model.config,
            state_dict=hollow,
            dtype=torch.float32,
            device_map="meta",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
        )
    return loading


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the table and the progress bar of transformers: what they say is a problem here."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(_SILENT)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _is_quantized(tensor: Tensor) -> bool:
    return (
        tensor.dtype not in _FLOATS
        and len(tensor.shape) > 1
        and tensor.name.endswith(("weight", "weight_packed"))
    )


def _missing(model: Path, missing: list[str], role: ModelRole) -> Iterator[str]:
    head = [name for name in missing if name.split(".")[0] in _HEADS]
    if role is ModelRole.REWARD and head:
        yield (
            f"{model}: the checkpoint lacks weights of the classification head ({names(head)}): it is no "
            "reward model, or not the whole of one. Set reward.model to a trained one."
        )
        missing = [name for name in missing if name not in head]
    if missing:
        yield f"{model}: the checkpoint lacks weights ({names(missing)}). Give a complete one."


def _other_shapes(model: Path, mismatched: Any, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    others = sorted((str(name), tuple(theirs), tuple(ours)) for name, theirs, ours in mismatched)
    if not others:
        return
    name, theirs, ours = others[0]
    file = tensors[name].file if name in tensors else model
    more = f", and {len(others) - 1:,} more do not fit" if len(others) > 1 else ""
    yield (f"{file}: {name} has the shape {list(theirs)}, config.json wants {list(ours)}{more}. {_SAME}")


def _left_out(model: Path, found: Described, unexpected: list[str], role: ModelRole) -> Iterator[str]:
    """Weights that belong to this model and would not be loaded: the result would be another model."""
    heads = [name for name in unexpected if name.split(".")[0] in _HEADS]
    if role is ModelRole.POLICY and heads and not other_class(found.config.to_dict()):
        yield (
            f"{model}: is a classifier ({names(heads)}), not a causal language model. "
            "Set generation.model to one."
        )
    ours = {_pattern(name) for name in found.model.state_dict()}
    further = any(getattr(found.config.get_text_config(), name, 0) for name in _EXTRA_LAYERS)
    layers = [name for name in unexpected if _pattern(name) in ours]
    if layers and not further:
        yield (
            f"{model}: config.json describes fewer layers than the files hold; these would be left out: "
            f"{names(layers)}. {_SAME}"
        )
    linear = _linear_layers(found.model)
    parts = [name for name in unexpected if name.removesuffix(".bias").removesuffix(".weight") in linear]
    if parts:
        yield (f"{model}: config.json leaves out what the files hold: {names(parts)}. {_SAME}")


def _pattern(name: str) -> str:
    return ".".join("N" if part.isdigit() else part for part in name.split("."))


def _linear_layers(model: Any) -> set[str]:
    import torch

    return {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
