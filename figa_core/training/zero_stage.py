"""The ZeRO stage of a training, which is not always that of its settings."""

from figa_core.config.training import TrainingConfig


def stage_in_use(training: TrainingConfig) -> int:
    """One rank has nothing to partition, but stage 2 would still copy every gradient once a micro-batch. In
    bf16 stage 2 stays, because DeepSpeed's stage 1 is another optimizer there.
    """
    alone = training.ranks == 1 and training.dtype == "float32"
    return 1 if alone and training.zero_stage == 2 else training.zero_stage
