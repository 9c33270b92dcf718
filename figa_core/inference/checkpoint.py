"""A model's dtype and size, read from its files without loading it.

vLLM runs in another interpreter, so facts that both engines must agree on are read here.
"""

from pathlib import Path

from figa_core.inference.choice import ModelSize
from figa_core.models.config_json import read_config, sections
from figa_core.models.weight_files import read_weights

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_SAFETENSORS_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def checkpoint_dtype(model: Path) -> str:
    """The dtype in which transformers loads `model` with ``dtype="auto"``, by its name in torch.

    It is the one in config.json, or else the first floating-point weight's; "auto" without either.

    Raises EngineError if there is no readable config.json in `model`.
    """
    for section in sections(read_config(model)):
        if dtype := section.get("dtype") or section.get("torch_dtype"):
            return str(dtype).removeprefix("torch.")
    found = (tensor.dtype for tensor in read_weights(model).tensors.values())
    return next((_SAFETENSORS_DTYPES[name] for name in found if name in _SAFETENSORS_DTYPES), "auto")


def weights_bytes(model: Path) -> int:
    """The size of all safetensors files in `model`."""
    return sum(path.stat().st_size for path in model.glob("*.safetensors"))


def model_size(model: Path) -> ModelSize:
    """The model's size, for estimates. Raises EngineError if there is no readable config.json."""
    size = weights_bytes(model)
    found = (section.get(name) for section in sections(read_config(model)) for name in _LAYERS)
    layers = next((count for count in found if isinstance(count, int)), 32)  # as usual, under another name
    width = _BYTES.get(checkpoint_dtype(model), 4)
    return ModelSize(parameters=size / width, weights_bytes=size, layers=layers)
