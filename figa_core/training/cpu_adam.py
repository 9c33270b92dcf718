"""What DeepSpeed's AdamW for the CPU needs (`training.optimizer.kind = "adamw_cpu"`), without importing it.

It is C++ that DeepSpeed compiles at its first use, for several minutes; PyTorch keeps the result in
``TORCH_EXTENSIONS_DIR``.
"""

import os
import shutil
from collections.abc import Mapping

from figa_core.config import TrainingConfig

_COMPILERS = ("c++", "g++", "clang++")


def not_offloaded(training: TrainingConfig) -> str | None:
    """What is wrong if it is to work on states that are not on the CPU."""
    zero = training.deepspeed.zero_optimization
    if training.optimizer.kind != "adamw_cpu" or "offload_optimizer" in zero:
        return None
    return (
        "training.optimizer.kind: adamw_cpu works on an optimizer that is offloaded. Set "
        'training.deepspeed.zero_optimization.offload_optimizer, such as to { device = "cpu" }, or use adamw.'
    )


def no_compiler(training: TrainingConfig, environment: Mapping[str, str] = os.environ) -> str | None:
    """What this machine lacks to compile it."""
    if training.optimizer.kind != "adamw_cpu":
        return None
    compilers = (environment["CXX"],) if "CXX" in environment else _COMPILERS
    if any(map(shutil.which, compilers)):
        return None
    return (
        f"training.optimizer.kind: adamw_cpu is compiled at its first use, and there is no C++ compiler "
        f"here ({', '.join(compilers)}). Install one, or use adamw."
    )
