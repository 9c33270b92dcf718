"""Estimates the disk space a training needs from sizes alone, for a check before it starts."""

from figa_core.config.training import DType

# Of each weight: itself, and AdamW's float32 master and two moments, as DeepSpeed 0.19 writes them.
_CHECKPOINT_BYTES: dict[DType, int] = {"float32": 4 + 12, "bfloat16": 2 + 12}
_CHECKPOINTS_AT_ONCE = 4  # two, and one that an alarm may go back to, while the next is written


def training_bytes(
    parameters: int, *, dtype: DType, exported_bytes: int, steps: int, checkpoint_steps: int
) -> int:
    """The most bytes that checkpoints and exported model take at once.

    `parameters` is the model's number of weights (tied ones once), `exported_bytes` the size of its weights
    in the dtype of the base model. A training that is asked to stop writes one more checkpoint.
    """
    checkpoints = min(_CHECKPOINTS_AT_ONCE, (steps - 1) // checkpoint_steps + 1)
    return checkpoints * parameters * _CHECKPOINT_BYTES[dtype] + exported_bytes
