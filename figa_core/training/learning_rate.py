"""The learning rate when the settings leave it to a short sweep: what is tried, on what, and what wins.

The proposal is a rule of thumb, which is why three rates around it are tried. Its level is that of the paper
(1e-5 for 7 billion parameters, arXiv 2311.04072). Its slope is that of the rates with which GPT-3's models
were trained: 6e-4 with 125 million parameters and 1.2e-4 with 6.7 billion (Brown et al. 2020, arXiv
2005.14165, table 2.1), a fall with the power 0.4 of the size. That table is about training from scratch; that
fine-tuning follows the same slope is an assumption. LoRA gets ten times the rate at any size, as measured for
many models and tasks by Schulman et al. 2025, "LoRA Without Regret".

A rate is judged on held-out pairs by a yardstick that is the same for every objective (`Yardstick`), never by
the objective's own loss: a signed loss falls without end, and its level depends on its weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

AUTO = "auto"
LearningRate = float | Literal["auto"]

_PAPERS_RATE, _PAPERS_SIZE = 1e-5, 7e9
_SLOPE = math.log(6e-4 / 1.2e-4) / math.log(6.7e9 / 125e6)
_LOWEST, _HIGHEST = 1e-6, 1e-3
_APART = 3
_OF_LORA = 10

_HELD_OUT_SHARE = 10
_HELD_OUT_LEAST, _HELD_OUT_MOST = 4, 256
PAIRS_LEAST = 20
"""With fewer pairs nothing is swept: what a few held-out pairs say is mostly chance."""

_STEPS_SHARE = 10
_STEPS_LEAST = 4


def proposed_rate(parameters: int, *, lora: bool = False) -> float:
    """The rate for a model of this size, with two digits; from 1e-6 to 1e-3, with LoRA ten times that.

    Raises:
        ValueError: `parameters` is not positive.
    """
    if parameters < 1:
        raise ValueError(f"a model has at least one parameter, got {parameters}")
    rate = _PAPERS_RATE * (_PAPERS_SIZE / parameters) ** _SLOPE
    return _two_digits(min(max(rate, _LOWEST), _HIGHEST) * (_OF_LORA if lora else 1))


def rates_to_try(parameters: int, *, lora: bool = False) -> tuple[float, float, float]:
    """The proposal, a third of it and three times it, in rising order."""
    centre = proposed_rate(parameters, lora=lora)
    return (_two_digits(centre / _APART), centre, _two_digits(centre * _APART))


def sweep_steps(steps: int) -> int:
    """Optimizer steps of each short training: a tenth of the training's, at least four of them."""
    return min(steps, max(_STEPS_LEAST, math.ceil(steps / _STEPS_SHARE)))


def held_out_count(pairs: int) -> int:
    """How many of the pairs judge a sweep (`held_out.drawn_apart`): a tenth, 4 to 256 of them."""
    return min(max(pairs // _HELD_OUT_SHARE, _HELD_OUT_LEAST), _HELD_OUT_MOST)


def _two_digits(rate: float) -> float:
    return float(f"{rate:.1e}")


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A model on held-out revisions Ỹ, next to the base: mean NLL of the model − that of the base, in nats.

    `edited` is over the tokens that the reviser put in, end of turn included; `unchanged` over the others.
    Each kind has its own mean, so that few edits count as much as many unchanged tokens. Their sum falls if a
    model learns the edits, and rises if that costs it the rest: neither a weight nor a sign can improve it.
    """

    edited: float
    unchanged: float

    @property
    def total(self) -> float:
        return self.edited + self.unchanged


@dataclass(frozen=True, slots=True)
class Trial:
    """A short training with one rate; `found` is None if it diverged, and `problem` says how."""

    rate: float
    found: Yardstick | None
    problem: str | None = None

    @property
    def usable(self) -> bool:
        return self.found is not None and math.isfinite(self.found.total)


def best_rate(trials: Sequence[Trial]) -> float | None:
    """The rate with the lowest yardstick, the lower of two equal ones; None if every trial diverged."""
    usable = [(trial.found.total, trial.rate) for trial in trials if trial.found and trial.usable]
    return min(usable)[1] if usable else None
