"""The interface of an objective: all that loop, batches, metrics and report know about one.

    class Mine(Objective):
        name, label = "mine", "Mine"            # in the settings, in reports
        answers = ("revision",)                 # what it reads of a pair

        def terms(self, predictions):           # what it sums, in one micro-batch
            return Terms(predictions.nll_K.sum(), {})

    register_objective(Mine)                    # registry.py

An objective is made from the `[loss]` section of the settings. The loss of a step is the sum of its terms
over all ranks and micro-batches, divided by one number that is known before the forward pass.

The modules of this package do not import numpy or torch when they are imported: the settings need them.

Shapes: K weighted tokens of a micro-batch, S sequences of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from figa_core.config import LossConfig
    from figa_core.weighting.places import PairTokens

Answer = Literal["response", "revision", "reference", "best"]
"""Ŷ, Ỹ, Y, and the sample of the prompt with the highest reward."""


class Part(NamedTuple):
    """An answer within a training sequence, and the words before it, which are not trained on."""

    answer: Answer
    words: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class ClassTables:
    """Indexed by `EditClass`: the weight of an answer's token, and whether it counts towards the divisor.

    Tokens of weight 0 do not go through the head and do not reach `Objective.terms`. Reference and best
    sample have no classes: all their tokens are KEPT.
    """

    weights: "npt.NDArray[np.float32]"
    counted: "npt.NDArray[np.bool_]"


class Figure(NamedTuple):
    """A figure of a step besides its loss: the name in metrics.jsonl, and the title of its curve."""

    name: str
    title: str


class Terms(NamedTuple):
    """What one micro-batch adds to its step.

    `loss` is a sum, not yet divided; the gradient goes through it. `figures` has a sum and a count for each
    of the objective's figures. Both are added up over the step, then divided; with a count of 0 it is None.
    """

    loss: "torch.Tensor"
    figures: "Mapping[str, tuple[torch.Tensor | float, torch.Tensor | float]]"


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """The model's predictions of the weighted tokens of one micro-batch.

    Attributes:
        nll_K: −log p(token | prompt, tokens before it), in fp32 at least.
        weights_K: weights of the tokens; for `scaled` objectives times the pair's scale.
        counts: how many of the K tokens each of the S sequences has, in order.
        pairs: the pair of each sequence.
        answers: the kind of answer of each sequence; of a chain, the last.
        rewards: the reward model's value of each sequence's answer; NaN for a reference or best sample.
        reference_log_probs_K: log p under the reference model; None unless the objective needs them.
        base_kl_A: KL divergence of the model from its base at the A unchanged tokens of Ỹ, a lower bound from
            the base model's most likely tokens; None unless the objective needs it, or without such tokens.
    """

    nll_K: "torch.Tensor"
    weights_K: "torch.Tensor"
    counts: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    rewards: tuple[float, ...] = ()
    reference_log_probs_K: "torch.Tensor | None" = None
    base_kl_A: "torch.Tensor | None" = None


class Objective(ABC):
    """How a model is trained on pairs.

    Attributes:
        name: the value of `loss.objective`.
        label: the name of a trained model in reports.
        answers: the answers of a pair that it reads.
        reads: the settings of `[loss]` that it reads besides `objective`; no others enter a training's id.
        per_pair: the sum of a step is divided by its pairs that have a counted token, not by those tokens.
        scaled: a pair's weights are multiplied by its scale over the data set's mean scale, and those of Ỹ by
            the factors that an LLM's grades give its tokens.
        whole_pairs: all answers of a pair are in one micro-batch, on one rank; a pair that lacks one of them
            is left out.
        reference_log_probs: it needs the log-probabilities of the base model.
        chains: the training sequences of a pair, if they are not one for each of `answers`: the prompt, then
            each part's words and its answer with its end of turn. A chain that lacks an answer is left out.
            Not together with `whole_pairs` or `reference_log_probs`.
        prompt_words: what the trained model must be asked with, after the prompt. The chat template of the
            exported model prints it.
        figures: what is reported of a step besides its loss.
        ranks_models: a lower loss on pairs that were not trained on means a better model. If not, the NLL of
            their answers judges (`judge.py`).
    """

    name: ClassVar[str]
    label: ClassVar[str]
    answers: ClassVar[tuple[Answer, ...]]
    reads: ClassVar[tuple[str, ...]] = ()
    per_pair: ClassVar[bool] = False
    scaled: ClassVar[bool] = False
    whole_pairs: ClassVar[bool] = False
    reference_log_probs: ClassVar[bool] = False
    chains: ClassVar[tuple[tuple[Part, ...], ...]] = ()
    prompt_words: ClassVar[str] = ""
    figures: ClassVar[tuple[Figure, ...]] = ()
    ranks_models: ClassVar[bool] = True

    def __init__(self, loss: "LossConfig") -> None:
        self.loss = loss

    @abstractmethod
    def terms(self, predictions: Predictions) -> Terms:
        """What a micro-batch adds to the loss and to the figures."""

    def class_tables(self, _answer: Answer, /) -> ClassTables:
        """How the tokens of an answer are weighed and counted; by default, each has weight 1 and counts."""
        from figa_core.weighting.schemes import every_class

        return ClassTables(*every_class())

    def token_weights(self, _answer: Answer, _pair: "PairTokens", /) -> "npt.NDArray[np.float32] | None":
        """The weight of every token of Ŷ or Ỹ, if it depends on more than the token's class.

        `class_tables` still says which tokens count towards the divisor, and a class whose weight is 0 there
        has none here.
        """
        return None

    @property
    def reference_answers(self) -> tuple[Answer, ...]:
        """The answers whose tokens' log-probabilities under the base model it needs."""
        return self.answers if self.reference_log_probs else ()

    @property
    def held_to_base(self) -> bool:
        """Whether it needs `Predictions.base_kl_A`."""
        return False

    @property
    def reported(self) -> tuple[Figure, ...]:
        """Those of its figures that it reports with these settings."""
        return self.figures

    @cached_property
    def tables(self) -> Mapping[Answer, ClassTables]:
        """`class_tables` of each answer that it reads."""
        return {answer: self.class_tables(answer) for answer in self.answers}

    @classmethod
    def words(cls) -> tuple[str, ...]:
        """All words in its chains, each once."""
        return tuple(dict.fromkeys(part.words for chain in cls.chains for part in chain if part.words))

    @classmethod
    def tokens_at_once(cls, max_length: int) -> int:
        """The most tokens that go through the model together; `max_length`: of a prompt and an answer.

        A word has at most as many tokens as bytes.
        """
        if cls.chains:
            words = [sum(len(part.words.encode()) for part in chain) for chain in cls.chains]
            return max(len(c) * max_length + w for c, w in zip(cls.chains, words, strict=True))
        return len(cls.answers) * max_length if cls.whole_pairs else max_length

    @property
    def weighs_nothing(self) -> bool:
        """Whether no token can have a weight with these settings."""
        return not any(tables.weights.any() for tables in self.tables.values())

    @classmethod
    def settled(cls, loss: "LossConfig") -> "LossConfig":
        """`loss` with unread settings at their first defaults, so that equal trainings have equal ids."""
        from figa_core.config.decisions import changed_defaults

        read = {name: getattr(loss, name) for name in ("objective", *cls.reads)}
        return type(loss)(**{**changed_defaults(type(loss)), **read})
