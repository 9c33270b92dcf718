"""FIGA with its anchors in plain torch: one pair and one token at a time, both models in memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from figa_core.config.training import LossConfig
from figa_core.records import EditClass, WeighedPair
from figa_core.weighting.places import PairTokens
from tests.figa_core.weighting.test_places import slow_distances


@dataclass
class Plain:
    """`loss` is divided by `counted`; `divergences` are those at the unchanged tokens of Ỹ."""

    loss: torch.Tensor
    counted: int
    divergences: list[float]


def plain_step(
    model: torch.nn.Module, base: torch.nn.Module, step: Sequence[WeighedPair], loss: LossConfig
) -> Plain:
    """The loss of one optimizer step; without a gate, and the divergence over the whole vocabulary."""
    total, counted, divergences = torch.zeros((), dtype=torch.float64), 0, list[float]()
    for pair in step:
        log_probs, of_base = (predictions(each, pair.prompt_ids, pair.revision_ids) for each in (model, base))
        distances = distances_of(pair)
        for place, (token, kind) in enumerate(zip(pair.revision_ids, pair.revision_classes, strict=True)):
            nll = -log_probs[place, token]
            if kind == EditClass.KEPT:
                faded = (
                    math.exp(-distances[place] / loss.gamma_fade_tokens) if loss.gamma_fade_tokens else 1.0
                )
                total = total + loss.gamma * faded * nll
                kl = functional.kl_div(
                    log_probs[place], of_base[place].detach(), reduction="sum", log_target=True
                )
                total = total + loss.kl_weight * kl
                divergences.append(float(kl.detach()))
            else:
                total, counted = total + loss.alpha * nll, counted + 1
        log_probs = predictions(model, pair.prompt_ids, pair.response_ids)
        for place, (token, kind) in enumerate(zip(pair.response_ids, pair.response_classes, strict=True)):
            if kind in (EditClass.DELETED, EditClass.SUBSTITUTED):
                counted += 1
                if loss.negatives == "all" or token not in pair.revision_ids:
                    total = total + loss.beta * log_probs[place, token]
    return Plain(total / counted, counted, divergences)


def predictions(model: torch.nn.Module, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of the whole vocabulary at each token of the answer."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def distances_of(pair: WeighedPair) -> list[float]:
    """`slow_distances` of an aligned pair."""
    columns = (pair.response_ids, pair.response_classes, pair.revision_ids, pair.revision_classes)
    return slow_distances(PairTokens(*map(np.array, columns)))
