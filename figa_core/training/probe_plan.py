"""How often a training's model is examined for damage, and on which pairs, within a share of its cost.

A forward pass costs a multiply-add for each token and parameter of the body, and one for each position and
parameter of the output projection; a backward pass costs twice that. So a training costs three times the
work of the forward passes over its tokens, and a probe costs the work of one over its own. The optimizer's
update is left out, which makes the share of the probes smaller than the one stated.

The plan follows from the data, the settings and the model's size alone: it is the same on all ranks and
after a resumption.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

COST_MAX = 0.03
"""The probes' share of a training's time."""
_PLANNED = 0.02  # the rest is for what the arithmetic leaves out: small batches, starting a forward pass
_FORWARDS = 3  # forward and backward, in forward passes
_WANTED = 10  # probes: a shorter training gets a smaller probe
_MOST = 100  # probes: nobody needs more
_TOKENS = (
    2048  # of a probe: then the mean over its tokens is within a few hundredths of a nat of the whole set's
)


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters of a model that a token passes through: the `body`, and the `head` at chosen positions."""

    body: int
    head: int

    def work(self, tokens: float, positions: float) -> float:
        """Multiply-adds of a forward pass over `tokens`, with logits at `positions`."""
        return tokens * self.body + positions * self.head


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair that a probe could use: its index, its tokens, and the positions that are looked at."""

    pair: int
    tokens: int
    positions: int


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Examine these `pairs` of the shard set every so many steps, and after the last of the `steps`.

    `share` is the probes' share of the training's cost, the one of the base model included.
    """

    pairs: tuple[int, ...]
    every: int
    steps: int
    share: float

    def due(self, step: int) -> bool:
        """Whether the model is examined after this step."""
        return step % self.every == 0 or step == self.steps

    def last_before(self, step: int) -> int:
        """The last step before this one after which the model was examined; 0 is the base model."""
        return (step - 1) // self.every * self.every


def plan_probe(
    candidates: Iterable[Candidate],
    size: Size,
    *,
    steps: int,
    tokens: float,
    positions: float,
    positions_max: int,
) -> ProbePlan | None:
    """The plan of a training of `steps`, whose `tokens` pass through the model once each.

    Candidates are taken in their order; those for which there is no room are passed over.

    Args:
        tokens: of all steps together; their logits are needed at `positions`.
        positions_max: the most positions of a probe, for the memory of the base model's predictions.

    Returns:
        None if even one probe of one pair is too much, or there is no candidate.
    """
    budget = _PLANNED * _FORWARDS * size.work(tokens, positions)
    chosen = _chosen(candidates, size, budget, positions_max)
    if not chosen:
        return None
    each = size.work(sum(c.tokens for c in chosen), sum(c.positions for c in chosen))
    affordable = min(int(budget / each) - 1, _MOST)  # one is the base model's
    if affordable < 1:
        return None
    every = math.ceil(steps / affordable)
    share = (1 + math.ceil(steps / every)) * each / (budget / _PLANNED)
    return ProbePlan(tuple(c.pair for c in chosen), every, steps, share)


def _chosen(
    candidates: Iterable[Candidate], size: Size, budget: float, positions_max: int
) -> list[Candidate]:
    chosen: list[Candidate] = []
    tokens = positions = 0
    for one in candidates:
        after = tokens + one.tokens, positions + one.positions
        # The first pair may cost more than its share of the wanted probes: then there are fewer.
        probes = _WANTED if chosen else 1
        affordable = (probes + 1) * size.work(*after) <= budget
        if one.positions and affordable and after[0] <= _TOKENS and after[1] <= positions_max:
            chosen.append(one)
            tokens, positions = after
    return chosen
