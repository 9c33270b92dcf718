"""How much room a training needs on its disk: estimates from sizes alone, for a check before it starts."""

from figa_core.config.training import DType

# Weights, and what AdamW keeps of each: a float32 master and two moments. As DeepSpeed 0.19 writes them.
_CHECKPOINT_BYTES: dict[DType, int] = {"float32": 4 + 12, "bfloat16": 2 + 12}
_CHECKPOINTS_AT_ONCE = 3  # two are kept while the next is written


def training_bytes(
    parameters: int, *, dtype: DType, exported_bytes: int, steps: int, checkpoint_steps: int
) -> int:
    """The most bytes that a training has on its disk at once, checkpoints and the exported model.

    `parameters` is the model's number of weights (tied ones once), `exported_bytes` the size of its weights
    in the dtype they are exported in, that of the model the training begins from. A training that is asked
    to stop writes one checkpoint more.
    """
    checkpoints = min(_CHECKPOINTS_AT_ONCE, (steps - 1) // checkpoint_steps + 1)
    return checkpoints * parameters * _CHECKPOINT_BYTES[dtype] + exported_bytes
