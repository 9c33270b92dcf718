"""Edit classes: the tests compare their number with the distance, since several edit scripts are optimal."""

from hypothesis import given
from hypothesis import strategies as st

from figa_core.records import EditClass
from figa_core.weighting.alignment import edit_classes

K, I, S, D = EditClass.KEPT, EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.DELETED  # noqa: E741

ids = st.lists(st.integers(0, 5), max_size=12).map(tuple)


def distance(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Levenshtein distance by the textbook recurrence."""
    row = list(range(len(after) + 1))
    for i, left in enumerate(before, start=1):
        previous, row[0] = row[0], i
        for j, right in enumerate(after, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


@given(ids, ids)
def test_edits_cost_the_levenshtein_distance(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    left, right = edit_classes(before, after)
    assert (len(left), len(right)) == (len(before), len(after))
    assert left.count(S) == right.count(S)
    assert left.count(D) + right.count(I) + left.count(S) == distance(before, after)


@given(ids, ids)
def test_kept_tokens_are_the_same_on_both_sides(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    left, right = edit_classes(before, after)
    kept = [token for token, token_class in zip(before, left, strict=True) if token_class == K]
    assert kept == [token for token, token_class in zip(after, right, strict=True) if token_class == K]


def test_a_worked_example() -> None:
    assert edit_classes((5, 6, 7, 8), (5, 9, 7, 8, 8)) == ((K, S, K, K), (K, S, K, K, I)) or edit_classes(
        (5, 6, 7, 8), (5, 9, 7, 8, 8)
    ) == ((K, S, K, K), (K, S, K, I, K))


def test_ids_beyond_the_unicode_range_are_distinguished() -> None:
    assert edit_classes((2_000_000, 1), (2_000_001, 1)) == ((S, K), (S, K))


def test_an_empty_side_is_all_insertion_or_deletion() -> None:
    assert edit_classes((), (1, 2)) == ((), (I, I))
    assert edit_classes((1, 2), ()) == ((D, D), ())
