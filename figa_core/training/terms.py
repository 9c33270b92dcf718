"""What the micro-batches of one rank add to the loss and the figures of a step.

Shapes: K weighted tokens of a micro-batch, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from figa_core.training.micro_batch import MicroBatch
from figa_core.training.model import token_nll
from figa_core.training.objectives.base import Objective, Predictions, Terms
from figa_core.training.top_tokens import kl_from_base, tensors


def terms_of(
    logits_KV: torch.Tensor, batch: MicroBatch, objective: Objective, tensor: Callable[[Any], torch.Tensor]
) -> Terms:
    """The terms of a micro-batch from the model's logits; `tensor` puts an array on their device."""
    predictions = _predict(logits_KV, batch, tensor)
    return objective.terms(predictions) if batch.pairs else _dummy_terms(predictions, objective)


def totals_of(objective: Objective, terms: Sequence[Terms]) -> list[float]:
    """The loss, then the sum and the count of each figure, over some micro-batches."""
    rows: list[torch.Tensor] = []
    for one in terms:
        row = (one.loss, *(value for figure in objective.reported for value in one.figures[figure.name]))
        doubles = [torch.as_tensor(value, dtype=torch.float64, device=one.loss.device) for value in row]
        rows.append(torch.stack(doubles))
    return torch.stack(rows).sum(dim=0).tolist()


def _predict(
    logits_KV: torch.Tensor, batch: MicroBatch, tensor: Callable[[Any], torch.Tensor]
) -> Predictions:
    weights_K, reference_K = tensor(batch.weights_K), batch.reference_log_probs_K
    base_kl_A = None
    if batch.top is not None:
        places_A, ids_AC, log_probs_AD = tensors(batch.top, tensor)
        base_kl_A = kl_from_base(logits_KV[places_A], ids_AC, log_probs_AD)
    return Predictions(
        nll_K=token_nll(logits_KV, tensor(batch.targets_K), weights_K),
        weights_K=weights_K,
        counts=batch.counts,
        pairs=batch.pairs,
        answers=batch.answers,
        rewards=batch.rewards,
        reference_log_probs_K=None if reference_K is None else tensor(reference_K),
        base_kl_A=base_kl_A,
    )


def _dummy_terms(predictions: Predictions, objective: Objective) -> Terms:
    """The terms of a dummy: zero, with a gradient of zeros for the collectives of the backward pass."""
    zero = (predictions.weights_K * predictions.nll_K).sum()
    return Terms(zero, {figure.name: (zero.detach(), zero.detach()) for figure in objective.reported})
