"""QLoRA (arXiv 2305.14314): the frozen weights of a model are kept in 4 bits while updates are trained.

NF4 with double quantization, as in the paper, by bitsandbytes: 4 bits a weight, and 0.127 for the scales (§3,
"Double Quantization"). A layer's weights are dequantized when it runs. Quantization is deterministic, so a
training that resumes has the same weights. This module imports no torch.
"""

from importlib.util import find_spec
from typing import Any

from figa_core.config.training import DType, TrainingConfig
from figa_core.training.device_memory import Devices

BYTES_PER_WEIGHT = (4 + 0.127) / 8


def not_quantizable(training: TrainingConfig) -> str | None:
    """What is wrong with the other settings if the weights are to be quantized."""
    if not training.lora.quantize or training.zero_stage < 3:
        return None
    return (
        "training.lora.quantize: ZeRO-3 splits the weights over the ranks, and 4-bit weights are not split. "
        "Set training.zero_stage to 2; the updates are small."
    )


def cannot_quantize(training: TrainingConfig, devices: Devices) -> str | None:
    """What this machine lacks."""
    if not training.lora.quantize:
        return None
    if devices.kind != "gpu":
        return (
            "training.lora.quantize: 4-bit weights need an NVIDIA GPU, and there is none here. Train on a "
            "machine that has one, or set it to false."
        )
    if find_spec("bitsandbytes") is None:
        return (
            "training.lora.quantize: needs the package bitsandbytes, which is not installed here. Install it "
            "(pip install 'figa[bitsandbytes]'), or set it to false."
        )
    return None


def quantization(dtype: DType) -> Any:
    """transformers' configuration; a layer computes in `dtype`."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def weights_in(parameter: Any) -> int:
    """The number of weights of a parameter, which may be quantized or ZeRO-3's."""
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        return state.shape.numel()
    # With ZeRO-3 each rank has a part of a parameter, and the whole size in `ds_numel`.
    return getattr(parameter, "ds_numel", parameter.numel())
