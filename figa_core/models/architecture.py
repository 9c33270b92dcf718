"""Checks, without loading them, that the weights fit the model that config.json describes.

transformers itself loads empty tensors (device "meta") with the names and shapes of the headers. So its
renaming of keys, fusing of experts, tying and exceptions apply: what it can load is accepted, and weights
that it would initialise at random are found. A model of 70 billion parameters takes half a second.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError, one_line
from figa_core.models.config_json import CONFIG
from figa_core.models.reward_head import HEADS
from figa_core.models.role import ModelRole
from figa_core.models.safetensors import Tensor
from figa_core.models.weight_files import names

# Classes by the ends of their names.
RATES_TOKENS = ("ForTokenClassification", "ForQuestionAnswering")
NOT_CAUSAL = (*RATES_TOKENS, "ForSequenceClassification", "ForMaskedLM")
_SAME = "Fetch weights and config.json of the same model."
_FLOATS = {"F64", "F32", "F16", "BF16"}
# Settings of layers that predict further tokens; a checkpoint may hold their weights too.
_EXTRA_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")


def empty_model(
    model: Path, settings: Mapping[str, Any], role: ModelRole, weights: int, labels: int | None = None
) -> Any:
    """Build the model that config.json (`settings`) describes, on the device "meta".

    `weights` is how many weights the files hold; a model with more layers than that is not built. `labels` is
    the number of labels if config.json does not know it.

    Raises:
        EngineError: transformers cannot build it, or it is a model of another kind.
    """
    import torch
    import transformers

    path = model / CONFIG
    if "model_type" in settings and settings["model_type"] not in transformers.CONFIG_MAPPING:
        why = "it has its own code, which is not run" if settings.get("auto_map") else "it may be newer"
        raise EngineError(
            f"{path}: this transformers does not know model_type {settings['model_type']!r} ({why}). "
            f"Set {role.setting} to another model."
        )
    try:
        with _quiet():
            config = transformers.AutoConfig.from_pretrained(
                str(model), local_files_only=True, trust_remote_code=False
            )
        if labels is not None:
            config.num_labels = labels
    except Exception as error:  # with a file from outside, a library may raise anything
        raise EngineError(f"{path}: transformers cannot read it: {one_line(error)}.") from error
    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > weights:
        raise EngineError(
            f"{path}: names {layers:,} layers, but the files hold {weights:,} weights. Fetch the model again."
        )
    causal = role is ModelRole.POLICY
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForSequenceClassification
    try:
        with torch.device("meta"), _quiet():
            return kind.from_config(config, trust_remote_code=False)
    except Exception as error:
        if "Unrecognized configuration class" in str(error):
            raise EngineError(
                f"{path}: a model of type {config.model_type} is not a {role.kind}. "
                f"Set {role.setting} to another model."
            ) from error
        raise EngineError(
            f"{path}: the model that it describes cannot be built: {one_line(error)}. "
            "Correct it, or fetch the model again."
        ) from error


def named_class(settings: Mapping[str, Any], endings: tuple[str, ...]) -> str | None:
    """The class that config.json names, if its name ends in one of `endings`; else None."""
    named = settings.get("architectures")
    name = str(named[0]) if isinstance(named, list) and named else ""
    return name if name.endswith(endings) else None


def weight_problems(
    model: Path, settings: Mapping[str, Any], empty: Any, tensors: Mapping[str, Tensor], role: ModelRole
) -> list[str]:
    """Weights that are missing, have the wrong shape, cannot be used, or would be left out.

    `empty` is the model that `empty_model` made of config.json (`settings`).
    """
    quantized = sorted(
        name
        for name, tensor in tensors.items()
        if tensor.dtype not in _FLOATS
        and len(tensor.shape) > 1
        and name.endswith(("weight", "weight_packed"))
    )
    if quantized:
        return [
            f"{model}: holds quantized weights ({names(quantized)}), but config.json has no settings for "
            "them. Give the model in full precision."
        ]
    try:
        loading = _load(empty, tensors)
    except Exception as error:
        return [f"{model}: its weights do not fit config.json: {one_line(error)}. Fetch the model again."]
    return [
        *_missing(model, sorted(loading["missing_keys"]), role),
        *_other_shapes(model, loading["mismatched_keys"], tensors),
        *_left_out(model, settings, empty, sorted(loading["unexpected_keys"]), role),
    ]


def _load(empty: Any, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    import torch

    state = {name: torch.empty(tensor.shape, device="meta") for name, tensor in tensors.items()}
    with _quiet():
        _, loading = type(empty).from_pretrained(
            None,
            config=empty.config,
            state_dict=state,
            dtype=torch.float32,
            device_map="meta",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
        )
    return loading


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the table and the progress bar of transformers: our problems report their content."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _missing(model: Path, missing: list[str], role: ModelRole) -> Iterator[str]:
    head = [name for name in missing if name.split(".")[0] in HEADS]
    if role is ModelRole.REWARD and head:
        yield (
            f"{model}: the checkpoint lacks weights of the classification head ({names(head)}): it is not a "
            "reward model, or an incomplete one. Set reward.model to a trained one."
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
    yield f"{file}: {name} has the shape {list(theirs)}, config.json wants {list(ours)}{more}. {_SAME}"


def _left_out(
    model: Path, settings: Mapping[str, Any], empty: Any, unexpected: list[str], role: ModelRole
) -> Iterator[str]:
    """Weights that belong to this model and would not be loaded: the result would be another model."""
    import torch

    heads = [name for name in unexpected if name.split(".")[0] in HEADS]
    if role is ModelRole.POLICY and heads and not named_class(settings, NOT_CAUSAL):
        yield (
            f"{model}: is a classifier ({names(heads)}), not a causal language model. "
            "Set generation.model to one."
        )
    ours = {_pattern(name) for name in empty.state_dict()}
    predicts_further = any(getattr(empty.config.get_text_config(), name, 0) for name in _EXTRA_LAYERS)
    layers = [name for name in unexpected if _pattern(name) in ours]
    if layers and not predicts_further:
        yield (
            f"{model}: config.json describes fewer layers than the files hold; these would be left out: "
            f"{names(layers)}. {_SAME}"
        )
    linear = {name for name, module in empty.named_modules() if isinstance(module, torch.nn.Linear)}
    parts = [name for name in unexpected if name.removesuffix(".bias").removesuffix(".weight") in linear]
    if parts:
        yield f"{model}: config.json leaves out what the files hold: {names(parts)}. {_SAME}"


def _pattern(name: str) -> str:
    return ".".join("N" if part.isdigit() else part for part in name.split("."))
