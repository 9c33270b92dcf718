"""Checks that a directory holds the model that a run needs. Headers and samples only: seconds at any size.

`examine` finds everything at once, in words; the engines refuse by `require_model` what it finds, so that
none of them runs on weights that were made up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.models.architecture import (
    NotLoadableError,
    described,
    head_is_there,
    other_class,
    rates_tokens,
    weight_problems,
)
from figa_core.models.config_json import CONFIG, label_count, quantization, read_config, sections
from figa_core.models.role import ModelRole
from figa_core.models.values import value_problems
from figa_core.models.weight_files import Weights, irregular_files, lfs_pointers, read_weights

_DTYPES = {"float64", "float32", "float16", "bfloat16", "half", "float", "double", "auto"}
_NO_DIRECTORY = "no such model directory. Give the path of a Hugging Face model directory."


@dataclass
class Examined:
    """What is wrong with a model, in words; `vocabulary` is the rows of its embedding, where known;
    without `has_config` nothing can be said of its tokenizer either."""

    problems: list[str] = field(default_factory=list)
    vocabulary: int | None = None
    has_config: bool = False


def examine(model: Path, role: ModelRole) -> Examined:
    """Look at config.json and at the headers of the weights; raises nothing."""
    try:
        if not model.is_dir():
            return Examined([f"{model}: {_NO_DIRECTORY}"])
        if irregular := irregular_files(model):
            return Examined(irregular)  # who reads further waits
        found = Examined([*lfs_pointers(model)])
        weights = read_weights(model)
    except (OSError, ValueError) as error:
        return Examined([f"{model}: cannot read it: {error}."])
    found.problems.extend(problem for problem in weights.problems if problem not in found.problems)
    try:
        config = read_config(model)
    except EngineError as error:
        if str(error) not in found.problems and not (model / "adapter_config.json").exists():
            found.problems.append(str(error))
        return found
    found.has_config = True
    found.problems.extend(_config_problems(model, config, role))
    if weights.problems:
        return found
    if not quantization(config):
        _compare(model, config, role, weights, found)
    elif role is ModelRole.REWARD and not head_is_there(weights.tensors):  # transformers cannot tell then
        found.problems.append(
            f"{model}: has no classification head (score.weight). Set reward.model to another."
        )
    return found


def require_model(model: Path, role: ModelRole) -> None:
    """Raise EngineError, with everything that is wrong, unless `model` can be loaded and run as `role`."""
    if problems := examine(model, role).problems:
        raise EngineError("\n".join(problems))


def _config_problems(model: Path, config: dict[str, Any], role: ModelRole) -> Iterator[str]:
    path = model / CONFIG
    if role is ModelRole.REWARD and (labels := label_count(config)) != 1:
        yield f"{model}: a reward model has one label, this one has {labels}. Set reward.model to another."
    if role is ModelRole.POLICY and (name := other_class(config)):
        yield f"{path}: this is a {name}, not a causal language model. Set generation.model to one."
    if role is ModelRole.REWARD and (name := rates_tokens(config)):
        yield f"{path}: this is a {name}, which rates tokens, not answers. Set reward.model to another."
    if role is ModelRole.POLICY and (kind := quantization(config)):
        yield (
            f"{path}: the weights are quantized ({kind}), and such weights cannot be trained. "
            "Give the model in full precision."
        )
    for section in sections(config):
        dtype = section.get("dtype") or section.get("torch_dtype")
        if dtype is not None and str(dtype).removeprefix("torch.") not in _DTYPES:
            yield f"{path}: dtype {dtype!r} is none that weights can have here. Correct it (bfloat16, say)."


def _compare(model: Path, config: dict[str, Any], role: ModelRole, weights: Weights, found: Examined) -> None:
    try:
        built = described(model, config, role, len(weights.tensors))
    except NotLoadableError as error:
        found.problems.append(str(error))
        return
    found.vocabulary = built.vocabulary
    found.problems.extend(weight_problems(model, built, weights.tensors, role))
    try:
        found.problems.extend(value_problems(weights.tensors.values()))
    except OSError as error:
        found.problems.append(f"{model}: cannot read the weights: {error}.")
