"""What an objective makes of a pair: which answers are trained on, each token's weight, the per-token term.

Objectives differ in nothing else; loop, batching and normalisation are the same for all of them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from figa_core.records import EditClass, Objective
from figa_core.weighting.schemes import counted_table, response_weight_table, revision_weight_table

Answer = Literal["response", "revision", "reference"]


@dataclass(frozen=True, eq=False)
class AnswerWeights:
    """One answer of every pair, with tables from `EditClass` to weight and to "enters N".

    The reference has no classes of its own: all its tokens count as KEPT.
    """

    answer: Answer
    weight_by_class: npt.NDArray[np.float32]
    counted_by_class: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Recipe:
    """An objective with its settings filled in.

    `negative_nll_max` is the gate; with `unlikelihood` a negative token's term is −log(1 − p), not +log p;
    with `scaled` a pair's weights are multiplied by its scale over the data set's mean scale.
    """

    answers: tuple[AnswerWeights, ...]
    negative_nll_max: float | None
    unlikelihood: bool
    scaled: bool


def recipe(
    objective: Objective, *, alpha: float, beta: float, gamma: float, negative_nll_max: float | None
) -> Recipe:
    """The recipe of an objective; FIGA reads α, β, γ and the gate, unlikelihood the first three, SFT none."""
    if objective is Objective.SFT:
        return Recipe((_every_token("reference"),), None, unlikelihood=False, scaled=False)
    if objective is Objective.SFT_REVISED:
        return Recipe((_every_token("revision"),), None, unlikelihood=False, scaled=False)
    answers = (
        AnswerWeights("response", response_weight_table(beta), counted_table(revision=False)),
        AnswerWeights("revision", revision_weight_table(alpha, gamma), counted_table(revision=True)),
    )
    unlikelihood = objective is Objective.UNLIKELIHOOD
    gate = None if unlikelihood else negative_nll_max
    return Recipe(answers, gate, unlikelihood=unlikelihood, scaled=True)


def _every_token(answer: Answer) -> AnswerWeights:
    classes = len(EditClass)
    return AnswerWeights(answer, np.ones(classes, dtype=np.float32), np.ones(classes, dtype=np.bool_))
