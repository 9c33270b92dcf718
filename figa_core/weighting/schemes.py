"""Schemes turn two token sequences into classes and a scale; tables give the weight of each class.

Shards contain classes and scales. α, β, γ and the data set's mean scale are applied when a training loads
them: changing the former repeats no stage, and the latter need not be known while weighing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from figa_core.errors import ConfigError
from figa_core.records import EditClass
from figa_core.weighting.alignment import Classes, edit_classes


class PairEdits(NamedTuple):
    """A scheme's result for one pair."""

    response_classes: Classes  # `EditClass` of every token of Ŷ
    revision_classes: Classes  # of Ỹ
    scale: float  # of the pair's weights, relative to the data set's mean scale


Scheme = Callable[[Sequence[int], Sequence[int], float], PairEdits]
"""(ids of Ŷ, ids of Ỹ, R(Ỹ) − R(Ŷ)) → edits; the ids contain no end of turn."""

_CLASS_COUNT = len(EditClass)
_REMOVED = [EditClass.DELETED, EditClass.SUBSTITUTED]
_ADDED = [EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.END_OF_TURN]


def levenshtein(response_ids: Sequence[int], revision_ids: Sequence[int], _reward_gain: float) -> PairEdits:
    """The paper's scheme: classes by edit operations, the same scale for all pairs."""
    return PairEdits(*edit_classes(response_ids, revision_ids), scale=1.0)


def bag_of_words(response_ids: Sequence[int], revision_ids: Sequence[int], _reward_gain: float) -> PairEdits:
    """A token whose id does not occur in the other text is inserted (in Ỹ) or deleted (in Ŷ)."""
    before, after = frozenset(response_ids), frozenset(revision_ids)
    kept, deleted, inserted = map(int, (EditClass.KEPT, EditClass.DELETED, EditClass.INSERTED))
    return PairEdits(
        tuple(kept if token in after else deleted for token in response_ids),
        tuple(kept if token in before else inserted for token in revision_ids),
        scale=1.0,
    )


def reward_scaled(response_ids: Sequence[int], revision_ids: Sequence[int], reward_gain: float) -> PairEdits:
    """Levenshtein classes; the scale is R(Ỹ) − R(Ŷ).

    A pair without a gain gets a scale that is not positive and is left out: its weights would be zero or have
    the wrong sign.
    """
    return PairEdits(*edit_classes(response_ids, revision_ids), scale=reward_gain)


LLM_GRADED, LLM_BINARY = "llm_graded", "llm_binary"
HIGHEST_SCORES: Mapping[str, int] = {LLM_GRADED: 5, LLM_BINARY: 1}
"""The schemes for which an LLM gives every changed word of Ỹ a score from 0 to this number (`graded.py`)."""


def scheme_named(name: str) -> Scheme:
    """The scheme that a config names; for the schemes by an LLM, that of the pairs without scores.

    Raises:
        ConfigError: the name is unknown.
    """
    known = {scheme.__name__: scheme for scheme in (levenshtein, bag_of_words, reward_scaled)}
    known |= dict.fromkeys(HIGHEST_SCORES, levenshtein)
    if name not in known:
        raise ConfigError(f"weighting.scheme: no scheme named {name!r}; known: {', '.join(known)}")
    return known[name]


def response_weight_table(beta: float) -> npt.NDArray[np.float32]:
    """Weight by class of a token of Ŷ (paper eq. 6–7): deleted and substituted −β, all others 0."""
    table = np.zeros(_CLASS_COUNT, dtype=np.float32)
    table[_REMOVED] = -beta
    return table


def revision_weight_table(alpha: float, gamma: float) -> npt.NDArray[np.float32]:
    """Weight by class of a token of Ỹ (paper eq. 6–7): inserted, substituted and end of turn α, kept γ.

    What an LLM finds unimportant has weight 0.
    """
    table = np.zeros(_CLASS_COUNT, dtype=np.float32)
    table[_ADDED] = alpha
    table[EditClass.KEPT] = gamma
    return table


def counted_table(*, revision: bool) -> npt.NDArray[np.bool_]:
    """Which classes carry α (in Ỹ) or β (in Ŷ) and so enter N, whatever the values of α and β."""
    return np.isin(np.arange(_CLASS_COUNT), _ADDED if revision else _REMOVED)


def every_class() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Weight 1 for a token of any class, and all of them enter N."""
    return np.ones(_CLASS_COUNT, dtype=np.float32), np.ones(_CLASS_COUNT, dtype=np.bool_)
