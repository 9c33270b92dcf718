"""Where DeepSpeed keeps optimizer and weights, by `training.deepspeed`, without importing DeepSpeed."""

from typing import Any

from figa_core.config import TrainingConfig

OFFLOADED_NAME = "offloaded_tensors"
"""What a checkpoint has of an optimizer on disk; DeepSpeed's name."""

_TABLE = "training.deepspeed.zero_optimization"
_HIERARCHICAL = "zero_hpz_partition_size"


def optimizer_on_disk(training: TrainingConfig) -> bool:
    """Whether the optimizer is offloaded to disk, where it is not a part of DeepSpeed's checkpoints."""
    return training.zero_stage == 3 and _device(training, "offload_optimizer") == "nvme"


def impossible(training: TrainingConfig) -> str | None:
    """What is wrong if DeepSpeed cannot divide or offload what the table says with the other settings."""
    for part in ("offload_optimizer", "offload_param"):
        if problem := _offload_problem(training, part):
            return f"{_TABLE}.{part}: {problem}"
    if problem := _groups_problem(training):
        return f"{_TABLE}.{_HIERARCHICAL}: {problem}"
    return None


def _offload_problem(training: TrainingConfig, part: str) -> str | None:
    device = _device(training, part)
    if device is None:
        return None
    if part == "offload_param" and training.zero_stage < 3:
        return (
            f"the weights are divided, and can be offloaded, with ZeRO-3 only, and training.zero_stage is "
            f"{training.zero_stage}. Set training.zero_stage = 3, or offload the optimizer alone."
        )
    if device != "nvme":
        return None
    if training.zero_stage < 3:
        return (
            f'to disk ("nvme") an optimizer is offloaded with ZeRO-3 only, and training.zero_stage is '
            f'{training.zero_stage}. Set training.zero_stage = 3, or device = "cpu".'
        )
    if not training.deepspeed.zero_optimization[part].get("nvme_path"):
        return 'device is "nvme", and nvme_path names no directory. Set it to one on a fast disk.'
    return None


def _groups_problem(training: TrainingConfig) -> str | None:
    size = training.deepspeed.zero_optimization.get(_HIERARCHICAL, 1)
    if not isinstance(size, int) or size < 1:
        return f"{size!r} is no number of ranks. Set the number of a node's GPUs, or leave it out."
    if size > 1 and training.zero_stage < 3:
        return (
            f"it divides the weights, which ZeRO-3 does only, and training.zero_stage is "
            f"{training.zero_stage}. Set training.zero_stage = 3, or leave it out."
        )
    if training.ranks % size:
        return f"{training.ranks} ranks are no multiple of {size}. Set a number that divides them."
    return None


def _device(training: TrainingConfig, part: str) -> Any:
    device = (training.deepspeed.zero_optimization.get(part) or {}).get("device", "none")
    return None if device == "none" else device
