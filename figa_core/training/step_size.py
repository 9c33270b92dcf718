"""The pairs of an optimizer step and the passes over the pairs, when the settings leave them to the data.

128 pairs a step suit thousands of pairs. With forty pairs they make one update an epoch, and a few updates at
a small learning rate hardly change a model. So "auto" takes the largest power of two that gives enough
updates. It is a power of two so that a few pairs more or fewer seldom change a training's id.

Epochs follow from the same number of updates: one pass if it has enough, otherwise more, up to the paper's
three (arXiv 2311.04072). What is behind it was measured on a model of 135 million parameters, with 96 pairs
in steps of 8 (figa_core/README.md, "What holds the unchanged tokens"): the edited tokens are learnt after 4
to 20 steps, and every further step only moves the others. So large data are seen once, and small data no more
often than is needed. No dependence on the model's size was measured: that is left to the learning rate.
"""

from math import ceil
from typing import Literal

AUTO = "auto"
SETTING = "training.pairs_per_step"
StepSize = int | Literal["auto"]
Epochs = int | Literal["auto"]
MOST_PAIRS = 128
ENOUGH_UPDATES = 24
MOST_EPOCHS = 3
_MEASURED_SIZE = 8
_FEW_UPDATES = 8


def number_of_epochs(setting: Epochs, *, pairs: int, size: StepSize) -> int:
    """Passes over the pairs: the setting itself, or for "auto" a number that fits the pairs and the step.

    "auto" is the fewest passes that make 24 updates, from 1 to 3. If the step's size is "auto" too, steps of
    8 pairs are counted, so that 185 pairs or more are seen once, and 88 or fewer three times.
    """
    if setting != "auto":
        return setting
    of_one_pass = updates(_MEASURED_SIZE if size == "auto" else size, pairs=max(1, pairs), epochs=1)
    return min(MOST_EPOCHS, ceil(ENOUGH_UPDATES / of_one_pass))


def pairs_per_step(setting: StepSize, *, pairs: int, epochs: Epochs) -> int:
    """Pairs of one step: the setting itself, or for "auto" a number that fits the pairs and epochs.

    "auto" gives at least 24 updates over all epochs and at most 128 pairs a step. If fewer than 24 pairs are
    seen over all epochs, a step has one pair.
    """
    if setting != "auto":
        return setting
    passes, size = number_of_epochs(epochs, pairs=pairs, size=setting), MOST_PAIRS
    while size > 1 and (size > pairs or updates(size, pairs=pairs, epochs=passes) < ENOUGH_UPDATES):
        size //= 2
    return size


def updates(size: int, *, pairs: int, epochs: int) -> int:
    """Optimizer steps over all epochs; the last one of each epoch may be smaller."""
    return epochs * ceil(pairs / size)


def about_steps(setting: StepSize, *, pairs: int, epochs: Epochs, max_steps: int | None) -> str | None:
    """A line for the log: that there are few updates, or what "auto" chose and why; None if all is well."""
    if line := about_few_updates(setting, pairs=pairs, epochs=epochs, max_steps=max_steps):
        return line
    automatic = [name for name, value in (("pairs_per_step", setting), ("epochs", epochs)) if value == "auto"]
    if not automatic:
        return None
    passes = number_of_epochs(epochs, pairs=pairs, size=setting)
    size = pairs_per_step(setting, pairs=pairs, epochs=epochs)
    steps = _at_most(updates(size, pairs=pairs, epochs=passes), max_steps)
    times = {1: "once", 2: "twice"}.get(passes, f"{passes:,} times")
    names = " and ".join(f"training.{name}" for name in automatic)
    return (
        f"{_count(size, 'pair')} a step: {_count(pairs, 'pair')} seen {times} make {_count(steps, 'update')} "
        f'({names} = "auto" {"looks" if len(automatic) == 1 else "look"} for {ENOUGH_UPDATES} or more)'
    )


def about_few_updates(setting: StepSize, *, pairs: int, epochs: Epochs, max_steps: int | None) -> str | None:
    """A warning that a number of pairs leaves only a few updates, if another would make more."""
    if setting == "auto":
        return None
    passes = number_of_epochs(epochs, pairs=pairs, size=setting)
    steps = _at_most(updates(setting, pairs=pairs, epochs=passes), max_steps)
    better = pairs_per_step("auto", pairs=pairs, epochs=epochs)
    if steps >= _FEW_UPDATES or better >= setting or max_steps == steps:
        return None
    return (
        f"training.pairs_per_step is {setting} and there are {_count(pairs, 'pair')}: "
        f'{_count(steps, "update")} in all, which hardly change a model. "auto" would take '
        f"{_count(better, 'pair')} a step."
    )


def _at_most(steps: int, max_steps: int | None) -> int:
    return steps if max_steps is None else min(steps, max_steps)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
