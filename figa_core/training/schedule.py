"""The learning rate of each step, from its number alone: a resumed training needs nothing else to go on.

The formulas are those of transformers (`get_constant_schedule_with_warmup`, `get_linear_schedule_with_warmup`
and `get_cosine_schedule_with_warmup`), so the first step of a warm-up has the rate 0, and a rate that falls
would reach 0 in the step after the last one.
"""

import math

from figa_core.config.optimization import ScheduleKind


def learning_rate_at(
    step: int, *, steps: int, highest: float, kind: ScheduleKind = "constant", warmup_share: float = 0.0
) -> float:
    """The learning rate of this step, of `steps` that are counted from 1.

    `warmup_share` of the steps, rounded up, lead from 0 to the `highest` rate.

    Raises:
        ValueError: there is no such step, or the share is not from 0 to 1.
    """
    if not 1 <= step <= steps:
        raise ValueError(f"a training of {steps} steps has no step {step}")
    if not 0 <= warmup_share <= 1:
        raise ValueError(f"a share of the steps is from 0 to 1, got {warmup_share}")
    warmup, done = math.ceil(steps * warmup_share), step - 1
    if done < warmup:
        return highest * (done / warmup)
    progress = (done - warmup) / max(1, steps - warmup)
    return highest * _left(kind, progress)


def _left(kind: ScheduleKind, progress: float) -> float:
    """The rate's share of its highest value, after this share of the steps that follow the warm-up."""
    if kind == "linear":
        return 1 - progress
    if kind == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0
