"""What an objective is: all that loop, batches, metrics and report know of one.

    class Mine(Objective):
        name, label = "mine", "Mine"            # in the settings, in reports
        answers = ("revision",)                 # what it reads of a pair

        def terms(self, predictions):           # what it sums, in one micro-batch
            return Terms(predictions.nll_K.sum(), {})

    register_objective(Mine)                    # registry.py

An objective is made from the `[loss]` section of the settings. Its loss of a step is the sum of its terms
over all ranks and micro-batches, divided by one number that is known before the forward pass.

This module and its neighbours import neither numpy nor torch: settings are read with them.

Shapes: K weighted tokens of a micro-batch, S sequences of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from figa_core.config import LossConfig

Answer = Literal["response", "revision", "reference"]
"""Ŷ, Ỹ and Y."""


class Per(Enum):
    """What the sum of a step is divided by."""

    TOKEN = auto()
    """The step's tokens that `ClassTables.counted` names."""
    PAIR = auto()
    """The step's pairs that have such a token."""


@dataclass(frozen=True, eq=False, slots=True)
class ClassTables:
    """By `EditClass`: the weight of an answer's token, and whether it enters the number that is divided by.

    Tokens of weight 0 are not run through the head, and `Objective.terms` does not see them. The reference
    has no classes of its own: all its tokens count as KEPT.
    """

    weights: "npt.NDArray[np.float32]"
    counted: "npt.NDArray[np.bool_]"


class Figure(NamedTuple):
    """A figure of a step besides its loss: the name in metrics.jsonl, and the title of its curve."""

    name: str
    title: str


class Terms(NamedTuple):
    """What one micro-batch adds to its step.

    Attributes:
        loss: a sum, not yet divided; the gradient goes through it.
        figures: for each of the objective's figures a sum, and the count to divide it by. Both are added up
            over the step; a figure whose count is 0 then is None.
    """

    loss: "torch.Tensor"
    figures: "Mapping[str, tuple[torch.Tensor | float, torch.Tensor | float]]"


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """What the model says of the weighted tokens of one micro-batch.

    Attributes:
        nll_K: −log p(token | prompt, tokens before it), in fp32 at least.
        weights_K: their weights, those of `scaled` objectives times the pair's scale.
        counts: how many of the K tokens each of the S sequences has, in their order.
        pairs: the pair of each sequence.
        answers: which of its answers each sequence is.
        reference_log_probs_K: log p of the same tokens under the reference model; None unless the objective
            asks for them.
    """

    nll_K: "torch.Tensor"
    weights_K: "torch.Tensor"
    counts: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    reference_log_probs_K: "torch.Tensor | None" = None

    def by_sequence(self, values_K: "torch.Tensor") -> "torch.Tensor":
        """The sum of each sequence's values, (S)."""
        import torch

        return torch.stack([values.sum() for values in values_K.split(list(self.counts))])

    def places(self, answer: Answer) -> list[int]:
        """Which of the S sequences are this answer, in the order of their pairs."""
        found = [place for place, name in enumerate(self.answers) if name == answer]
        return sorted(found, key=lambda place: self.pairs[place])


class Objective(ABC):
    """How a model is trained on pairs.

    Attributes:
        name: what `loss.objective` is set to.
        label: what a model trained with it is called in reports.
        answers: which answers of a pair are read.
        reads: which settings of `[loss]` besides `objective`; others do not enter a training's id.
        per: what the sum of a step is divided by.
        scaled: a pair's weights are multiplied by its scale over the data set's mean scale.
        whole_pairs: all answers of a pair are in one micro-batch, on one rank; a pair that lacks one of them
            is left out.
        reference_log_probs: the log-probabilities of the model that the training begins from are needed.
        figures: what is reported of a step besides its loss.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    answers: ClassVar[tuple[Answer, ...]]
    reads: ClassVar[tuple[str, ...]] = ()
    per: ClassVar[Per] = Per.TOKEN
    scaled: ClassVar[bool] = False
    whole_pairs: ClassVar[bool] = False
    reference_log_probs: ClassVar[bool] = False
    figures: ClassVar[tuple[Figure, ...]] = ()

    def __init__(self, loss: "LossConfig") -> None:
        self.loss = loss

    @abstractmethod
    def terms(self, predictions: Predictions) -> Terms:
        """What a micro-batch adds to the loss and to the figures."""

    def class_tables(self, _answer: Answer, /) -> ClassTables:
        """How the tokens of an answer are weighed and counted; by default each once."""
        from figa_core.weighting.schemes import every_class

        return ClassTables(*every_class())

    @cached_property
    def tables(self) -> Mapping[Answer, ClassTables]:
        """The tables of the answers that are read."""
        return {answer: self.class_tables(answer) for answer in self.answers}

    @property
    def weighs_nothing(self) -> bool:
        """Whether no token can have a weight with these settings."""
        return not any(tables.weights.any() for tables in self.tables.values())

    @classmethod
    def settled(cls, loss: "LossConfig") -> "LossConfig":
        """`loss` with what is not read at its default, so that equal trainings have equal ids."""
        return type(loss)(**{name: getattr(loss, name) for name in ("objective", *cls.reads)})
