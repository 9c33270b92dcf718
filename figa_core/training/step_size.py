"""The number of pairs of an optimizer step, when the settings leave it to the data.

128 pairs a step suit thousands of pairs. With forty pairs they make one update an epoch, and a few updates at
a small learning rate hardly change a model. So "auto" takes the largest power of two that gives enough
updates. It is a power of two so that a few pairs more or fewer seldom change a training's id.
"""

from math import ceil
from typing import Literal

AUTO = "auto"
SETTING = "training.pairs_per_step"
StepSize = int | Literal["auto"]
MOST_PAIRS = 128
ENOUGH_UPDATES = 24
_FEW_UPDATES = 8


def pairs_per_step(setting: StepSize, *, pairs: int, epochs: int) -> int:
    """Pairs of one step: the setting itself, or for "auto" a number that fits the pairs and epochs.

    "auto" gives at least 24 updates over all epochs and at most 128 pairs a step. If fewer than 24 pairs are
    seen over all epochs, a step has one pair.
    """
    if setting != "auto":
        return setting
    size = MOST_PAIRS
    while size > 1 and (size > pairs or updates(size, pairs=pairs, epochs=epochs) < ENOUGH_UPDATES):
        size //= 2
    return size


def updates(size: int, *, pairs: int, epochs: int) -> int:
    """Optimizer steps over all epochs; the last one of each epoch may be smaller."""
    return epochs * ceil(pairs / size)


def about_steps(setting: StepSize, *, pairs: int, epochs: int, max_steps: int | None) -> str | None:
    """A line for the log: why "auto" chose its size, or that there are few updates; None if all is well."""
    size = pairs_per_step(setting, pairs=pairs, epochs=epochs)
    steps = updates(size, pairs=pairs, epochs=epochs)
    steps = steps if max_steps is None else min(steps, max_steps)
    if setting == "auto":
        times = {1: "once", 2: "twice"}.get(epochs, f"{epochs:,} times")
        return (
            f"{_count(size, 'pair')} a step: {_count(pairs, 'pair')} seen {times} make "
            f'{_count(steps, "update")} (training.pairs_per_step = "auto" looks for {ENOUGH_UPDATES} or more)'
        )
    better = pairs_per_step("auto", pairs=pairs, epochs=epochs)
    if steps >= _FEW_UPDATES or better >= size or max_steps == steps:
        return None
    return (
        f"training.pairs_per_step is {size} and there are {_count(pairs, 'pair')}: {_count(steps, 'update')} "
        f'in all, which hardly change a model. "auto" would take {_count(better, "pair")} a step.'
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
