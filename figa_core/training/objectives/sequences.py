"""From tokens to whole answers, for objectives that compare the answers of a pair.

Shapes: K tokens of a micro-batch, S sequences of it, P pairs of it.
"""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Answer, Predictions

if TYPE_CHECKING:
    import torch


def sums(values_K: "torch.Tensor", predictions: Predictions) -> "torch.Tensor":
    """The sum over the tokens of each sequence, (S)."""
    import torch

    return torch.stack([values.sum() for values in values_K.split(list(predictions.counts))])


def means(values_K: "torch.Tensor", predictions: Predictions) -> "torch.Tensor":
    """The mean over the tokens of each sequence, (S)."""
    return sums(values_K, predictions) / values_K.new_tensor(predictions.counts)


def of_answer(values_S: "torch.Tensor", predictions: Predictions, answer: Answer) -> "torch.Tensor":
    """The values of the sequences of one kind of answer, (P), in the order of `places_by_pair`."""
    return values_S[[places[answer] for places in places_by_pair(predictions)]]


def places_by_pair(predictions: Predictions) -> list[dict[Answer, int]]:
    """For each pair in the order of its index, the place of each of its answers among the S sequences."""
    places: dict[int, dict[Answer, int]] = {}
    for place, (pair, answer) in enumerate(zip(predictions.pairs, predictions.answers, strict=True)):
        places.setdefault(pair, {})[answer] = place
    return [places[pair] for pair in sorted(places)]
