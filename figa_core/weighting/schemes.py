"""Schemes turn two token sequences into classes and a scale; `token_weights` turns classes into weights.

Classes and scales are stored in the shards. α, β, γ and the data set's mean scale are applied when a training
loads them, so that changing the former repeats nothing and the latter need not be known while weighing.
Every scheme has the signature of `Scheme`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from figa_core.errors import ConfigError
from figa_core.records import EditClass
from figa_core.weighting.alignment import Classes, edit_classes


class PairEdits(NamedTuple):
    """What a scheme says of one pair.

    Attributes:
        response_classes: `EditClass` of every token of Ŷ.
        revision_classes: `EditClass` of every token of Ỹ.
        scale: what the pair's weights are multiplied by, relative to the data set's mean scale.
    """

    response_classes: Classes
    revision_classes: Classes
    scale: float


Scheme = Callable[[Sequence[int], Sequence[int], float], PairEdits]
"""(ids of Ŷ, ids of Ỹ, R(Ỹ) − R(Ŷ)) → edits; the ids contain no end of turn."""

_CLASS_COUNT = len(EditClass)


def levenshtein(response_ids: Sequence[int], revision_ids: Sequence[int], _reward_gain: float) -> PairEdits:
    """The paper's scheme: classes by edit operations (`alignment.edit_classes`), all pairs alike."""
    return PairEdits(*edit_classes(response_ids, revision_ids), scale=1.0)


def bag_of_words(response_ids: Sequence[int], revision_ids: Sequence[int], _reward_gain: float) -> PairEdits:
    """A token whose id does not occur on the other side is inserted (in Ỹ) or deleted (in Ŷ)."""
    before, after = frozenset(response_ids), frozenset(revision_ids)
    kept = int(EditClass.KEPT)
    return PairEdits(
        tuple(kept if token in after else int(EditClass.DELETED) for token in response_ids),
        tuple(kept if token in before else int(EditClass.INSERTED) for token in revision_ids),
        scale=1.0,
    )


def reward_scaled(response_ids: Sequence[int], revision_ids: Sequence[int], reward_gain: float) -> PairEdits:
    """Levenshtein classes, the pair's weights times R(Ỹ) − R(Ŷ) over the data set's mean of it.

    A pair without a gain gets a scale that is not positive: it is left out, since its weights would be zero
    or push the wrong way.
    """
    return PairEdits(*edit_classes(response_ids, revision_ids), scale=reward_gain)


def scheme_named(name: str) -> Scheme:
    """The scheme that a config names.

    Raises:
        ConfigError: there is none of that name.
    """
    known: dict[str, Scheme] = {
        scheme.__name__: scheme for scheme in (levenshtein, bag_of_words, reward_scaled)
    }
    if name not in known:
        raise ConfigError(f"weighting.scheme: no scheme named {name!r}; known: {', '.join(known)}")
    return known[name]


def response_weight_table(beta: float) -> npt.NDArray[np.float32]:
    """Weight by class of a token of Ŷ: deleted and substituted −β, all others 0 (end of turn included)."""
    table = np.zeros(_CLASS_COUNT, dtype=np.float32)
    table[[EditClass.DELETED, EditClass.SUBSTITUTED]] = -beta
    return table


def revision_weight_table(alpha: float, gamma: float) -> npt.NDArray[np.float32]:
    """Weight by class of a token of Ỹ: inserted, substituted and end of turn α, kept γ."""
    table = np.zeros(_CLASS_COUNT, dtype=np.float32)
    table[[EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.END_OF_TURN]] = alpha
    table[EditClass.KEPT] = gamma
    return table


def counted_table(*, revision: bool) -> npt.NDArray[np.bool_]:
    """Which classes carry α (in Ỹ) or β (in Ŷ) and so enter N, whatever the values of α and β."""
    table = np.zeros(_CLASS_COUNT, dtype=np.bool_)
    if revision:
        table[[EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.END_OF_TURN]] = True
    else:
        table[[EditClass.DELETED, EditClass.SUBSTITUTED]] = True
    return table


def every_class() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Weight 1 for a token of any class, and all of them enter N."""
    return np.ones(_CLASS_COUNT, dtype=np.float32), np.ones(_CLASS_COUNT, dtype=np.bool_)


def token_weights(
    response_classes: Sequence[int],
    revision_classes: Sequence[int],
    *,
    alpha: float,
    beta: float,
    gamma: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights of the tokens of Ŷ (−β or 0) and of Ỹ (α, γ or 0), as long as their classes (paper eq. 6–7)."""
    return (
        response_weight_table(beta)[np.asarray(response_classes, dtype=np.int64)],
        revision_weight_table(alpha, gamma)[np.asarray(revision_classes, dtype=np.int64)],
    )
