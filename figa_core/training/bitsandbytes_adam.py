"""What bitsandbytes' 8-bit AdamW needs (`training.optimizer.kind = "adamw_8bit"`), without importing it."""

from importlib.util import find_spec

from figa_core.config import TrainingConfig

_LIBRARY = "bitsandbytes"


def not_installed(training: TrainingConfig, library: str = _LIBRARY) -> str | None:
    """What this machine lacks."""
    if training.optimizer.kind != "adamw_8bit" or find_spec(library) is not None:
        return None
    return (
        f"training.optimizer.kind: adamw_8bit needs the library {library}, which is not installed here. "
        f"Install it: pip install 'figa[{_LIBRARY}]', or use adamw."
    )


def offloaded_to_disk(training: TrainingConfig) -> str | None:
    """What is wrong if DeepSpeed is to keep its states on disk."""
    offload = training.deepspeed.zero_optimization.get("offload_optimizer") or {}
    if training.optimizer.kind != "adamw_8bit" or offload.get("device") != "nvme":
        return None
    return (
        "training.optimizer.kind: adamw_8bit has states that DeepSpeed cannot keep on disk. Offload the "
        'optimizer to { device = "cpu" }, or use adamw.'
    )
