"""The methods beside FIGA, one pair at a time in plain torch, from their papers' formulas.

It shares only the records with the implementation. Log-probabilities of a whole answer are plain sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from figa_core.config.training import LossConfig
from figa_core.records import WeighedPair
from tests.figa_core.training.oracle import answer_nlls


@dataclass
class Expected:
    """The loss of one step, what it was divided by, and what each pair adds, in order."""

    loss: torch.Tensor
    divisor: int
    margins: list[float] = field(default_factory=list)


Losses = Callable[..., tuple[torch.Tensor, float]]


def sigmoid(value: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-value))


def dpo(chosen: torch.Tensor, rejected: torch.Tensor, base: tuple[float, float], loss: LossConfig):
    """arXiv 2305.18290, eq. 7."""
    beta = 0.1 if loss.preference_beta == "auto" else float(loss.preference_beta)
    margin = beta * ((chosen.sum() - rejected.sum()) - (base[0] - base[1]))
    return torch.log(1 + torch.exp(-margin)), float(margin.detach())


def apo_zero(chosen: torch.Tensor, rejected: torch.Tensor, base: tuple[float, float], loss: LossConfig):
    """arXiv 2408.06266, eq. 7, plus 1."""
    beta = 0.1 if loss.preference_beta == "auto" else float(loss.preference_beta)
    better, worse = beta * (chosen.sum() - base[0]), beta * (rejected.sum() - base[1])
    return 1 - sigmoid(better) + sigmoid(worse), float((better - worse).detach())


def simpo(chosen: torch.Tensor, rejected: torch.Tensor, _base: object, loss: LossConfig):
    """arXiv 2405.14734, eq. 6."""
    beta = 2.0 if loss.preference_beta == "auto" else float(loss.preference_beta)
    margin = beta / len(chosen) * chosen.sum() - beta / len(rejected) * rejected.sum()
    return -torch.log(sigmoid(margin - loss.preference_margin)), float(margin.detach())


def rrhf(pair: WeighedPair, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """arXiv 2304.05302, with the pair's two candidates."""
    candidates = [(pair.revision_reward, chosen), (pair.response_reward, rejected)]
    total = torch.zeros((), dtype=torch.float64)
    for lower, one in candidates:
        for higher, other in candidates:
            if lower < higher and one.mean() > other.mean():
                total = total + one.mean() - other.mean()
    best = chosen if pair.revision_reward >= pair.response_reward else rejected
    return total - best.sum()


PREFERENCES: dict[str, Losses] = {"dpo": dpo, "apo_zero": apo_zero, "simpo": simpo}
GOOD, BAD = (5, 6, 7), (8, 9)
"""The ids that "A helpful answer" and "An unhelpful answer" have in these tests."""
DFT = {"dft": "revision_ids", "dft_reference": "reference_ids"}


def log_probs(model: torch.nn.Module, pair: WeighedPair, answer: Sequence[int]) -> torch.Tensor:
    return -torch.stack(answer_nlls(model, pair.prompt_ids, answer))


def stored(reference: torch.nn.Module, pair: WeighedPair, answer: Sequence[int]) -> float:
    """The sum over the tokens of the base model's log-probabilities, which are stored in float32."""
    with torch.no_grad():
        return sum(float(np.float32(value)) for value in log_probs(reference, pair, answer))


def plain_step(
    model: torch.nn.Module, reference: torch.nn.Module, step: Sequence[WeighedPair], loss: LossConfig
) -> Expected:
    """One optimizer step of these pairs."""
    if loss.objective == "coh":
        return _coh(model, step)
    if loss.objective in DFT:
        return _dft(model, step, DFT[loss.objective])
    total, margins, pairs = torch.zeros((), dtype=torch.float64), list[float](), 0
    for pair in step:
        if not (pair.revision_ids and pair.response_ids):
            continue
        pairs += 1
        chosen, rejected = (log_probs(model, pair, ids) for ids in (pair.revision_ids, pair.response_ids))
        if loss.objective == "rrhf":
            total = total + rrhf(pair, chosen, rejected)
            continue
        base = (stored(reference, pair, pair.revision_ids), stored(reference, pair, pair.response_ids))
        value, margin = PREFERENCES[loss.objective](chosen, rejected, base, loss)
        total, margins = total + value, [*margins, margin]
    return Expected(total / max(pairs, 1), pairs, margins)


def _coh(model: torch.nn.Module, step: Sequence[WeighedPair]) -> Expected:
    """arXiv 2302.02676: NLL of the answers only, each after its words, alone and after the other one."""
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for pair in step:
        good, bad = (GOOD, pair.revision_ids), (BAD, pair.response_ids)
        for sequence in ([good], [bad], [bad, good], [good, bad]):
            if not all(answer for _, answer in sequence):
                continue
            before = [*pair.prompt_ids]
            for words, answer in sequence:
                before += words
                total = total + torch.stack(answer_nlls(model, before, answer)).sum()
                tokens += len(answer)
                before += answer
    return Expected(total / max(tokens, 1), tokens)


def _dft(model: torch.nn.Module, step: Sequence[WeighedPair], ids: str) -> Expected:
    """arXiv 2508.05629: the probability is a number, so no gradient goes through it."""
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for pair in step:
        if not getattr(pair, ids):
            continue
        for value in log_probs(model, pair, getattr(pair, ids)):
            total = total - float(torch.exp(value.detach())) * value
            tokens += 1
    return Expected(total / max(tokens, 1), tokens)
