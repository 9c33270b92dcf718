"""Distances to edits, and tokens that the other answer contains."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.records import EditClass
from figa_core.weighting.alignment import edit_classes
from figa_core.weighting.places import PairTokens, absent_from_revision, distances_to_edit, fading
from figa_core.weighting.schemes import bag_of_words

END = (99, int(EditClass.END_OF_TURN))
ids = st.lists(st.integers(0, 6), min_size=1, max_size=15).map(tuple)


def pair_of(before: tuple[int, ...], after: tuple[int, ...], *, end: bool = True) -> PairTokens:
    """Both answers with Levenshtein classes."""
    return with_classes(before, after, *edit_classes(before, after), end=end)


def with_classes(
    before: tuple[int, ...],
    after: tuple[int, ...],
    before_classes: tuple[int, ...],
    after_classes: tuple[int, ...],
    *,
    end: bool = True,
) -> PairTokens:
    tail_id, tail_class = ((END[0],), (END[1],)) if end else ((), ())
    columns = (
        (*before, *tail_id),
        (*before_classes, *tail_class),
        (*after, *tail_id),
        (*after_classes, *tail_class),
    )
    return PairTokens(*(np.array(column, dtype=np.int64) for column in columns))


def slow_distances(pair: PairTokens) -> list[float]:
    """Both answers side by side, one unchanged token after the other; a deletion is a mark between tokens."""
    marks: list[float] = []
    response, place = list(pair.response_classes_R), 0
    for token, kind in enumerate(pair.revision_classes_V):
        if kind in (EditClass.INSERTED, EditClass.SUBSTITUTED):
            marks.append(token)
        else:  # an unchanged token or the end of turn: what was deleted since the last one is before it
            while place < len(response) and response[place] not in (EditClass.KEPT, EditClass.END_OF_TURN):
                if response[place] == EditClass.DELETED:
                    marks.append(token - 0.5)
                place += 1
            place += 1
    if any(kind == EditClass.DELETED for kind in response[place:]):
        marks.append(len(pair.revision_classes_V) - 0.5)
    tokens = range(len(pair.revision_classes_V))
    return [min((math.ceil(abs(mark - token)) for mark in marks), default=math.inf) for token in tokens]


@pytest.mark.parametrize("end", [True, False])
@given(before=ids, after=ids)
def test_distances_are_those_of_a_slow_walk_along_both_answers(
    before: tuple[int, ...], after: tuple[int, ...], end: bool
) -> None:
    pair = pair_of(before, after, end=end)
    assert distances_to_edit(pair).tolist() == slow_distances(pair)


def test_an_inserted_a_substituted_and_a_deleted_token_are_edits() -> None:
    assert distances_to_edit(pair_of((1, 2, 3, 4), (1, 2, 9, 3, 4))).tolist() == [2, 1, 0, 1, 2, 3]
    assert distances_to_edit(pair_of((1, 2, 3, 4), (1, 9, 3, 4))).tolist() == [1, 0, 1, 2, 3]
    assert distances_to_edit(pair_of((1, 2, 9, 3, 4), (1, 2, 3, 4))).tolist() == [2, 1, 1, 2, 3]
    assert distances_to_edit(pair_of((9, 1, 2), (1, 2))).tolist() == [1, 2, 3]
    assert distances_to_edit(pair_of((1, 2, 9, 9), (1, 2))).tolist() == [2, 1, 1]


def test_an_answer_that_was_cut_has_no_place_for_deletions_after_the_cut() -> None:
    whole = edit_classes((1, 2, 3, 4, 9, 5), (1, 2, 3, 4, 5))
    pair = with_classes((1, 2, 3, 4, 9, 5), (1, 2), whole[0], whole[1][:2], end=False)
    assert distances_to_edit(pair).tolist() == [math.inf, math.inf]
    assert fading(pair, 3.0).tolist() == [1, 1]


def test_without_an_order_deletions_have_no_place_and_the_weight_does_not_fade() -> None:
    before, after = (1, 9, 2, 3), (3, 2, 1)
    classes = bag_of_words(before, after, 1.0)
    pair = with_classes(before, after, classes.response_classes, classes.revision_classes)
    assert fading(pair, 2.0).tolist() == [1, 1, 1, 1]


@given(ids, ids, st.floats(0.1, 50))
def test_fading_is_one_at_an_edit_falls_with_the_distance_and_vanishes_with_a_long_reach(
    before: tuple[int, ...], after: tuple[int, ...], reach: float
) -> None:
    pair = pair_of(before, after)
    distances, faded = distances_to_edit(pair), fading(pair, reach)
    if np.isinf(distances).any():
        assert (faded == 1).all()
        return
    assert faded == pytest.approx([math.exp(-distance / reach) for distance in distances], rel=1e-6)
    assert (fading(pair, 1e9) == 1).all()
    order = np.argsort(distances, kind="stable")
    assert (np.diff(faded[order]) <= 0).all()


@given(ids, ids)
def test_a_token_is_absent_if_no_token_of_the_revision_has_its_id(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    pair = pair_of(before, after)
    assert absent_from_revision(pair)[:-1].tolist() == [token not in after for token in before]


def test_an_answer_without_tokens_has_no_distances() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert distances_to_edit(PairTokens(nothing, nothing, nothing, nothing)).tolist() == []
    assert fading(PairTokens(nothing, nothing, nothing, nothing), 1.0).tolist() == []
