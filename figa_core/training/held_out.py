"""Pairs that are kept apart from a training, and what follows from its loss on them.

The pairs are chosen by a hash of their ids, so a smaller share is part of a larger one, and those of a sweep
(`sweep.py`) and of the training that follows it are the same as far as they go.

Nothing is stored but the loss, in the line of its step in metrics.jsonl. The best step, and whether the
training is over, follow from these lines: on every rank, in the process that started them, and after a
resumption.

A training whose result is an earlier step than its last goes back as after an alarm: the ranks start again
and repeat the steps from the last checkpoint before it. So no look at the pairs costs a checkpoint.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from figa_core.config import HeldOutConfig
from figa_core.errors import TrainingError
from figa_core.training.metrics import StepMetrics
from figa_core.training.objectives.base import Figure

HELD_OUT_LOSS = Figure("held_out_loss", "loss on held-out pairs")
BEFORE = "held_out_loss_before"
"""A figure of the first step: the loss on held-out pairs before it."""

_LEAST = 4  # what fewer pairs say is mostly chance


class Look(NamedTuple):
    """The loss on the held-out pairs after a step; infinite if it is not finite."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a training's held-out pairs said.

    `before` is the base model's loss on the `pairs`, None if it is not known, and `best_loss` the lowest of
    the `looks` at them. `patience_ended`: the training ended early, because the loss did not get lower.
    """

    pairs: int
    before: float | None
    looks: int
    best_step: int
    best_loss: float
    patience_ended: bool


def pairs_apart(settings: HeldOutConfig, pairs: int) -> int:
    """How many of the `pairs` are kept apart."""
    return math.floor(settings.share * pairs + 1e-9)  # 0.29 · 100 is a little less than 29


def check_apart(settings: HeldOutConfig, pairs: int) -> None:
    """Raises TrainingError if the settings do not fit each other, or the number of pairs."""
    if problem := useless_setting(settings) or too_few(settings, pairs):
        raise TrainingError(problem)


def useless_setting(settings: HeldOutConfig) -> str | None:
    """What is wrong with settings that need held-out pairs where there are none."""
    if settings.share:
        return None
    for name, is_set in (("patience", settings.patience is not None), ("result", settings.result == "best")):
        if is_set:
            return (
                f"training.held_out.{name}: no pairs are kept apart to judge the training by. Set "
                "training.held_out.share, such as to 0.1, or take this setting out."
            )
    return None


def too_few(settings: HeldOutConfig, pairs: int) -> str | None:
    """What is wrong with a share that leaves too few pairs to judge by."""
    apart = pairs_apart(settings, pairs)
    if not settings.share or apart >= _LEAST:
        return None
    larger = math.ceil(100 * _LEAST / max(pairs, 1)) / 100
    advice = f"Raise it to {larger:g}" if larger <= 0.5 else "Give more pairs"
    return (
        f"training.held_out.share: {settings.share:g} of {pairs:,} pairs leaves {apart} to judge by, and "
        f"at least {_LEAST} are needed. {advice}, or set it to 0."
    )


def drawn_apart(pair_ids: Iterable[str], wanted: int) -> frozenset[str]:
    """So many of the pairs, by a hash of their ids; their order does not matter."""
    return frozenset(heapq.nsmallest(wanted, pair_ids, key=_hash))


def _hash(pair_id: str) -> str:
    return hashlib.sha256(f"held out of the sweep: {pair_id}".encode()).hexdigest()


def looks_in(metrics: Iterable[StepMetrics]) -> list[Look]:
    """The looks at held-out pairs in the lines of metrics.jsonl."""
    looked = [step for step in metrics if HELD_OUT_LOSS.name in step.figures]
    losses = [step.figures[HELD_OUT_LOSS.name] for step in looked]
    return [
        Look(step.step, math.inf if loss is None else loss) for step, loss in zip(looked, losses, strict=True)
    ]


def best_of(looks: Iterable[Look]) -> Look | None:
    """The look with the lowest loss, the first of equal ones; None if there is none with a finite loss."""
    finite = [look for look in looks if math.isfinite(look.loss)]
    return min(finite, key=lambda look: (look.loss, look.step), default=None)


def out_of_patience(looks: Sequence[Look], patience: int | None) -> bool:
    """Whether so many looks in a row brought no lower loss."""
    best = best_of(looks)
    since = [look for look in looks if best is None or look.step > best.step]
    return patience is not None and len(since) >= patience
