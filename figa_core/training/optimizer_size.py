"""How much an optimizer keeps of each weight, beside the weight in float32."""

from figa_core.config.optimization import OptimizerKind

# AdamW has two moments: in float32, or in one byte each with a factor in float32 for 256 of them.
_BYTES: dict[OptimizerKind, float] = {"adamw": 8, "adamw_cpu": 8, "adamw_8bit": 2 * (1 + 4 / 256)}


def state_bytes(kind: OptimizerKind, weights: int) -> int:
    """The size of the states of so many weights."""
    return round(_BYTES[kind] * weights)
