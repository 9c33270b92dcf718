"""What weights may depend on besides a token's class: its distance to an edit, the other answer. Pure.

Shapes: R tokens of Ŷ, V tokens of Ỹ.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from figa_core.records import EditClass

_EDITED = [EditClass.INSERTED, EditClass.SUBSTITUTED]


@dataclass(frozen=True, eq=False, slots=True)
class PairTokens:
    """Ids and `EditClass`es of both answers of a pair, the end of turn included."""

    response_ids_R: npt.NDArray[np.integer]
    response_classes_R: npt.NDArray[np.integer]
    revision_ids_V: npt.NDArray[np.integer]
    revision_classes_V: npt.NDArray[np.integer]


def distances_to_edit(pair: PairTokens) -> npt.NDArray[np.float64]:
    """The distance of each token of Ỹ to the nearest edit, in tokens, (V); 0 for an edited token.

    The gap that deleted tokens leave is an edit too: the tokens beside it are at a distance of 1, as beside
    an inserted one. It is found through the unchanged tokens, which both answers have in the same order; if
    they do not (a bag of words has no order), deletions have no place in Ỹ. The end of turn is no edit: it
    follows every answer. Without any edit in Ỹ all distances are infinite.
    """
    edited = np.flatnonzero(np.isin(pair.revision_classes_V, _EDITED))
    places = np.sort(np.concatenate((edited.astype(np.float64), _gaps(pair) - 0.5)))
    tokens_V = np.arange(len(pair.revision_classes_V), dtype=np.float64)
    if not places.size:
        return np.full(len(tokens_V), np.inf)
    after_V = np.searchsorted(places, tokens_V)
    to_next_V = places[np.minimum(after_V, len(places) - 1)] - tokens_V
    to_last_V = tokens_V - places[np.maximum(after_V - 1, 0)]
    # Beyond the first and the last place, both are the same place.
    return np.ceil(np.minimum(np.abs(to_next_V), np.abs(to_last_V)))


def _gaps(pair: PairTokens) -> npt.NDArray[Any]:
    """For each run of deleted tokens, the place in Ỹ of the unchanged token after it."""
    kept_R = np.flatnonzero(pair.response_classes_R == EditClass.KEPT)
    kept_V = np.flatnonzero(pair.revision_classes_V == EditClass.KEPT)
    both = min(len(kept_R), len(kept_V))  # one of them may have been cut
    if not np.array_equal(pair.response_ids_R[kept_R[:both]], pair.revision_ids_V[kept_V[:both]]):
        return np.zeros(0)
    deleted = np.flatnonzero(pair.response_classes_R == EditClass.DELETED)
    before = np.unique(np.searchsorted(kept_R, deleted))  # unchanged tokens before each of them
    answer_end = np.flatnonzero(pair.revision_classes_V != EditClass.END_OF_TURN)
    end = answer_end[-1] + 1 if answer_end.size else 0
    places = np.append(kept_V, end)
    return places[before[before < len(places)]].astype(np.float64)


def fading(pair: PairTokens, tokens: float) -> npt.NDArray[np.float32]:
    """exp(−d / `tokens`) for each token of Ỹ at a distance d from the nearest edit, (V).

    1 for all of them if Ỹ has no edit that a distance could be measured to.
    """
    distances_V = distances_to_edit(pair)
    if len(distances_V) and np.isinf(distances_V[0]):
        return np.ones(len(distances_V), dtype=np.float32)
    return np.exp(-distances_V / tokens).astype(np.float32)


def absent_from_revision(pair: PairTokens) -> npt.NDArray[np.bool_]:
    """Which tokens of Ŷ have an id that Ỹ does not contain, (R)."""
    return ~np.isin(pair.response_ids_R, pair.revision_ids_V)
