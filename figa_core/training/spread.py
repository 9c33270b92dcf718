"""A model that is only run forward, on one device, or spread over all there are if one is too small.

accelerate places whole layers: on the GPUs first, then in the host's memory. The rest stays in the model's
files, from which a layer is read when it runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from figa_core.models.weight_files import read_weights
from figa_core.training.model import load_model, load_model_with_report

_FOR_WEIGHTS = 0.7  # of the free memory; the rest is for logits and activations

Room = Mapping[int | str, int]
"""Bytes for weights by device: the number of a GPU, or "cpu"."""


def room_here() -> Room:
    """Of the devices of this process."""
    gpus = {number: _share(torch.cuda.mem_get_info(number)[0]) for number in range(torch.cuda.device_count())}
    return {**gpus, "cpu": _share(psutil.virtual_memory().available)}


def load_to_read(directory: Path, room: Room, scratch: Path) -> Any:
    """A causal language model in float32 in evaluation mode, on the first device of `room` if it fits there.

    `scratch` is a directory for weights that do not fit into any memory and whose files do not have them as
    they are used. The model takes its inputs on the first device.

    Raises:
        TrainingError: transformers cannot load one from the directory.
    """
    if bytes_in_float32(directory) <= next(iter(room.values())):
        return load_model(directory).to(first_device(room)).eval()
    how = {"device_map": "auto", "max_memory": dict(room), "offload_folder": str(scratch)}
    return load_model_with_report(directory, **how)[0].eval()


def first_device(room: Room) -> torch.device:
    first = next(iter(room))
    return torch.device("cuda", first) if isinstance(first, int) else torch.device(first)


def bytes_in_float32(directory: Path) -> int:
    """Of the weights in the model's files."""
    return 4 * sum(_elements(tensor.shape) for tensor in read_weights(directory).tensors.values())


def _elements(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _share(size: int) -> int:
    return int(_FOR_WEIGHTS * size)
