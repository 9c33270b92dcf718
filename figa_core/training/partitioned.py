"""A model for ZeRO-3 whose weights are partitioned over the ranks as they are read.

transformers reads the files of a model weight by weight and assigns each to its module. A hook on that
assignment makes it a parameter of ZeRO-3, of which this rank keeps only its part. So a rank holds its part of
the model and one weight at a time: the whole model need not fit anywhere.

transformers has a way of its own (`HfDeepSpeedConfig`), which is not used: it first makes every parameter,
tied ones twice, joins the files into one dictionary, fuses the experts of all layers at once, and gives the
model's buffers the dtype of the training.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from figa_core.errors import TrainingError
from figa_core.models.safetensors import Tensor
from figa_core.models.weight_files import read_weights
from figa_core.training.model import load_model_with_report

_ONE_BY_ONE = "HF_DEACTIVATE_ASYNC_LOAD"  # otherwise threads of transformers read ahead, all weights at once


def partitions_as_read(zero: dict[str, Any]) -> bool:
    """Whether a model is loaded like this with these settings of DeepSpeed's `zero_optimization`.

    With an offload of the weights to disk it is not: their parts are then changed after they were written.
    """
    return zero["stage"] == 3 and (zero.get("offload_param") or {}).get("device") != "nvme"


def load_partitioned(directory: Path, config: dict[str, Any], device: torch.device) -> Any:
    """A causal language model in float32, in parameters of ZeRO-3. `config` is DeepSpeed's configuration.

    All ranks must call it; it needs their process group.

    Raises:
        TrainingError: transformers cannot load a model from the directory, or a weight is missing.
    """
    with _partitioning(config), _environment(_ONE_BY_ONE, "1"):
        model, report = load_model_with_report(directory)
    # A missing weight could not be initialized in parts.
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(parameters.intersection(report["missing_keys"]))
    if missing:
        raise TrainingError(f"{directory}: weights are missing: {', '.join(missing[:5])}. Fetch it again.")
    _check_tied(directory, model)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)  # DeepSpeed does not move the buffers of such a model
    return model


@contextlib.contextmanager
def whole_while_running(model: Any) -> Iterator[None]:
    """Let a partitioned model run without DeepSpeed's engine: the weights of a layer are whole while it runs.

    All ranks must run it at the same time.
    """
    layers = list(_layers(model))
    inside = {id(module) for layer in layers for module in layer.modules()}
    others = [module for module in model.modules() if id(module) not in inside]
    units = [(layer, list(layer.parameters())) for layer in layers]
    units += [(module, list(module.parameters(recurse=False))) for module in others]
    handles = [
        handle for module, parameters in units if parameters for handle in _gathering(module, parameters)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def to_bfloat16(model: Any, *, keep: bool) -> dict[str, torch.Tensor]:
    """Round the weights of a partitioned model.

    With `keep`, returns this rank's parts of those that are trained as they were; a parameter that was added
    later has no parts yet, and is returned whole.
    """
    kept: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        part = getattr(parameter, "ds_tensor", None)
        if keep and parameter.requires_grad:
            kept[name] = (parameter if part is None else part).detach().cpu()
        if part is not None:
            rounded = part.data.to(torch.bfloat16)
            part.data = rounded.pin_memory() if part.is_pinned() else rounded
        parameter.data = parameter.data.to(torch.bfloat16)
    return kept


@contextlib.contextmanager
def _partitioning(config: dict[str, Any]) -> Iterator[None]:
    """Every weight that is assigned to a module becomes a parameter of ZeRO-3."""
    init = _init_of_rank(config)

    def partition(_module: nn.Module, _name: str, parameter: Any) -> None:
        if parameter is None or parameter.is_meta or hasattr(parameter, "ds_id"):
            return
        init._convert_to_zero_parameters([parameter])
        part = parameter.ds_tensor
        filled = parameter.ds_numel - part.numel() * parameter.ds_zero_partition_rank
        part[max(filled, 0) :].zero_()  # DeepSpeed leaves what was there before
        _return_memory()

    handle = register_module_parameter_registration_hook(partition)
    try:
        yield
    finally:
        handle.remove()
        init.reads = False


def _return_memory() -> None:
    """Give freed memory back to the system, where the C library is glibc.

    Weights come and go between the parts that stay, and what glibc allocates with an alignment does not fit
    into the hole that a tensor of the same size leaves: on a CPU they can take a third of a model.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _init_of_rank(config: dict[str, Any]) -> Any:
    """DeepSpeed's `zero.Init`, which takes each weight from rank 0; here every rank has read the same file.

    What is received would also have to be written into the mapped file, and stay in memory.
    """
    import deepspeed

    class Init(deepspeed.zero.Init):
        reads = True

        def _zero_init_param(self, param: Any) -> None:
            if self.reads:
                self._convert_to_deepspeed_param(param)
                param.partition()
            else:  # a parameter that was added to the model, such as an adapter's
                super()._zero_init_param(param)

    return Init(module=nn.Module(), config_dict_or_path=config)


def _check_tied(directory: Path, model: Any) -> None:
    """Raises TrainingError if the files hold two values of weights that were made one.

    transformers compares them itself, and leaves them apart if they differ, but here it saw parts only.
    """
    tensors = read_weights(directory).tensors
    for target, source in model.all_tied_weights_keys.items():
        both = target in tensors and source in tensors
        if both and not torch.equal(_read(tensors[target]), _read(tensors[source])):
            raise TrainingError(
                f"{directory}: {target} and {source} are one weight by its config.json, but its files have "
                'two different ones. Set "tie_word_embeddings" to false there.'
            )


def _read(tensor: Tensor) -> torch.Tensor:
    """Mapped from its file, so that it takes no memory of its own."""
    from safetensors import safe_open

    with safe_open(tensor.file, "pt") as file:
        handle: Any = file
        return handle.get_tensor(tensor.name)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)


def _gathering(module: nn.Module, parameters: list[nn.Parameter]) -> Iterator[Any]:
    import deepspeed

    begun: list[Any] = []

    def gather(*_: Any) -> None:
        begun.append(deepspeed.zero.GatheredParameters(parameters))
        begun[-1].__enter__()

    def release(*_: Any) -> None:
        begun.pop().__exit__(None, None, None)

    yield module.register_forward_pre_hook(gather)
    yield module.register_forward_hook(release, always_call=True)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
