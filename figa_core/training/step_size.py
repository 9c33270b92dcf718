"""How many pairs make an optimizer step, where the settings leave that to the data.

A hundred and twenty-eight pairs a step suit thousands of pairs. Of forty they make one update an epoch, and
a few updates at a small learning rate leave a model as it was. So "auto" takes the largest power of two that
still gives enough updates; powers of two, so that a few pairs more or less seldom change a training's id.
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
    """Pairs of one step: the number that is set, or the one that fits so many pairs seen so many times.

    "auto" gives at least 24 updates over all epochs, and at most 128 pairs a step; with fewer than 24 pairs
    seen in all, steps of one pair.
    """
    if setting != "auto":
        return setting
    size = MOST_PAIRS
    while size > 1 and (size > pairs or updates(size, pairs=pairs, epochs=epochs) < ENOUGH_UPDATES):
        size //= 2
    return size


def updates(size: int, *, pairs: int, epochs: int) -> int:
    """Optimizer steps over all epochs; the last of each may be smaller."""
    return epochs * ceil(pairs / size)


def about_steps(setting: StepSize, *, pairs: int, epochs: int, max_steps: int | None) -> str | None:
    """What people should know about the number of updates: the reason for an "auto", or that they are few."""
    size = pairs_per_step(setting, pairs=pairs, epochs=epochs)
    steps = updates(size, pairs=pairs, epochs=epochs)
    steps = steps if max_steps is None else min(steps, max_steps)
    if setting == "auto":
        return (
            f"{_count(size, 'pair')} a step: {_count(pairs, 'pair')} seen {_times(epochs)} make "
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


def _times(epochs: int) -> str:
    return {1: "once", 2: "twice"}.get(epochs, f"{epochs:,} times")
