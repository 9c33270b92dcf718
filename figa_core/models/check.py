"""Checks that a directory holds the model that a run needs. Headers and samples only: seconds at any size.

`examine` reports all problems at once. The engines call `require_model`, so that none of them runs on weights
that were initialised at random.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.models.adapter import base_of, is_adapter
from figa_core.models.adapter_check import adapter_problems, misfits
from figa_core.models.architecture import (
    NOT_CAUSAL,
    RATES_TOKENS,
    empty_model,
    named_class,
    weight_problems,
)
from figa_core.models.config_json import (
    CONFIG,
    NO_DIRECTORY,
    quantization,
    read_config,
    sections,
)
from figa_core.models.reward_head import (
    RewardHead,
    as_loaded,
    head_file,
    label_index,
    reward_head,
)
from figa_core.models.role import ModelRole
from figa_core.models.values import value_problems
from figa_core.models.weight_files import ADAPTER, Weights, irregular_files, lfs_pointers, read_weights

_DTYPES = {"float64", "float32", "float16", "bfloat16", "half", "float", "double", "auto"}


@dataclass
class Examined:
    """The problems of a model; `vocabulary` is the number of rows of its embedding, None if unknown.

    Without `has_config` its tokenizer cannot be checked either. `head`: a reward model's.
    """

    problems: list[str] = field(default_factory=list)
    vocabulary: int | None = None
    has_config: bool = False
    head: RewardHead | None = None


def examine(model: Path, role: ModelRole, label: int | str | None = None) -> Examined:
    """Check config.json and the headers of the weights; raises nothing.

    `label`: which one of a reward model is the reward, if it has several.

    Of an adapter both its own files and its base model are checked, but for the base's fingerprint, which
    takes reading all of it (`fingerprint.model_fingerprint`).
    """
    try:
        if not model.is_dir():
            return Examined([f"{model}: {NO_DIRECTORY}"])
        if irregular := irregular_files(model):
            return Examined(irregular)  # reading further would wait for them
        if is_adapter(model):
            return _examine_adapter(model, role)
        found = Examined([*lfs_pointers(model)])
        weights = read_weights(model)
    except (OSError, ValueError) as error:
        return Examined([f"{model}: cannot read it: {error}."])
    found.problems.extend(problem for problem in weights.problems if problem not in found.problems)
    try:
        config = read_config(model)
    except EngineError as error:
        if str(error) not in found.problems and not (model / ADAPTER).exists():
            found.problems.append(str(error))
        return found
    found.has_config = True
    found.problems.extend(_config_problems(model, config, role))
    if weights.problems:
        return found
    if role is ModelRole.REWARD:
        _find_head(model, config, weights, label, found)
    if not quantization(config):
        _compare(model, config, role, weights, found)
    elif role is ModelRole.REWARD and found.head is None:  # all that can be checked
        found.problems.append(
            f"{model}: has no classification head (score.weight). Set reward.model to another model."
        )
    return found


def _find_head(
    model: Path, config: dict[str, Any], weights: Weights, label: int | str | None, found: Examined
) -> None:
    try:
        weights.tensors.update(head_file(model))
        found.head = reward_head(model, config, weights.tensors)
        if found.head is not None:
            label_index(model, found.head, label)
    except EngineError as error:
        found.problems.append(str(error))


def _examine_adapter(adapter: Path, role: ModelRole) -> Examined:
    """What `examine` says of its base, with what is wrong with the adapter."""
    found = Examined([*lfs_pointers(adapter), *adapter_problems(adapter, role)])
    try:
        base = base_of(adapter)
    except EngineError as error:
        found.problems.append(str(error))
        return found
    of_base = examine(base.directory, role)
    found.vocabulary, found.has_config = of_base.vocabulary, of_base.has_config
    found.problems.extend(f"the base model of {adapter}: {problem}" for problem in of_base.problems)
    if not found.problems:
        weights = read_weights(base.directory)
        empty = empty_model(base.directory, read_config(base.directory), role, len(weights.tensors))
        found.problems.extend(misfits(adapter, base, empty))
    return found


def problems_to_load(model: Path, role: ModelRole) -> list[str]:
    """What `examine` finds, and whether it is an adapter, or a reward model in another form than engines
    load (`plain_reward.py`): nothing loads these as they are.
    """
    if is_adapter(model):
        return read_weights(model).problems
    return problems_to_serve(model) if role is ModelRole.REWARD else examine(model, role).problems


def problems_to_serve(model: Path, label: int | str | None = None) -> list[str]:
    """What `examine` finds in a reward model, and whether its head is one that nothing loads as it is."""
    found = examine(model, ModelRole.REWARD, label)
    if found.problems or found.head is None or not found.head.foreign:
        return found.problems
    return [
        f"{model}: its head is {found.head.said}, and engines load score.weight: transformers would make "
        "another one of random numbers, and vLLM's servers of whatever their memory holds. Give a copy with "
        'the head under that name; in a run, reward.engine = "vllm" or "transformers" makes it.'
    ]


def require_model(model: Path, role: ModelRole) -> None:
    """Raise EngineError, with all problems, unless `model` can be loaded and run as `role`."""
    if problems := problems_to_load(model, role):
        raise EngineError("\n".join(problems))


def _config_problems(model: Path, config: dict[str, Any], role: ModelRole) -> Iterator[str]:
    path = model / CONFIG
    if role is ModelRole.POLICY and (name := named_class(config, NOT_CAUSAL)):
        yield f"{path}: this is a {name}, not a causal language model. Set generation.model to one."
    if role is ModelRole.REWARD and (name := named_class(config, RATES_TOKENS)):
        yield f"{path}: this is a {name}, which rates tokens, not answers. Set reward.model to another."
    if role is ModelRole.POLICY and (kind := quantization(config)):
        yield (
            f"{path}: the weights are quantized ({kind}), and such weights cannot be trained. "
            "Give the model in full precision."
        )
    for section in sections(config):
        dtype = section.get("dtype") or section.get("torch_dtype")
        if dtype is not None and str(dtype).removeprefix("torch.") not in _DTYPES:
            yield f"{path}: weights of dtype {dtype!r} are not supported. Correct it (to bfloat16, say)."


def _compare(model: Path, config: dict[str, Any], role: ModelRole, weights: Weights, found: Examined) -> None:
    head = found.head
    labels = len(head.names) if head is not None and head.foreign else None
    try:
        empty = empty_model(model, config, role, len(weights.tensors), labels)
    except EngineError as error:
        found.problems.append(str(error))
        return
    found.vocabulary = int(empty.get_input_embeddings().weight.shape[0])
    found.problems.extend(weight_problems(model, config, empty, as_loaded(weights.tensors, head), role))
    try:
        found.problems.extend(value_problems(weights.tensors.values()))
    except OSError as error:
        found.problems.append(f"{model}: cannot read the weights: {error}.")
