"""A judge's choices become a win rate; a judge that goes by the place is found out."""

import pytest

from figa_core.evaluation.preference import Compared, preference


def row(number: int, behind: float | None, in_front: float | None, *, same: bool = False) -> Compared:
    return Compared(str(number), behind, in_front, same, 100, 100 + number)


def test_a_win_in_both_orders_counts_one_and_contradictions_and_ties_count_half() -> None:
    rows = [
        row(0, 1.0, 1.0),
        row(1, 1.0, 0.0),  # the same place twice
        row(2, 0.5, 0.5),
        row(3, 0.5, 1.0),
        row(4, 0.0, 0.0),
        row(5, None, None, same=True),
        row(6, 1.0, None),  # one order has no answer
    ]
    found = preference(rows)
    assert found.win_rate.mean == pytest.approx((1 + 0.5 + 0.5 + 0.75 + 0 + 0.5) / 6)
    assert (found.win_rate.n, found.wins, found.ties, found.losses) == (6, 2, 3, 1)
    assert (found.same, found.left_out, found.by_place, found.asked) == (1, 1, 1, 5)
    assert found.doubt is None
    assert isinstance(found.length, str)


@pytest.mark.parametrize(
    ("behind", "in_front", "place", "first"), [(0.0, 1.0, "first", 1), (1.0, 0.0, "second", 0)]
)
def test_a_judge_that_always_chooses_one_place_is_not_to_be_relied_on(
    behind: float, in_front: float, place: str, first: float
) -> None:
    found = preference([row(i, behind, in_front) for i in range(20)])
    assert (found.win_rate.mean, found.first.mean) == (0.5, first)
    assert found.doubt is not None
    assert "position bias: for 20 of 20 prompts" in found.doubt
    assert f"mostly the {place}" in found.doubt


@pytest.mark.parametrize(
    ("behind", "in_front", "place"),
    [(0.0, 0.5, "first"), (0.5, 1.0, "first"), (1.0, 0.5, "second"), (0.5, 0.0, "second")],
    ids=["first, tie", "tie, first", "second, tie", "tie, second"],
)
@pytest.mark.parametrize(("prompts", "doubted"), [(20, True), (1, False)])
def test_a_judge_that_chooses_one_place_or_a_tie_is_not_to_be_relied_on(
    behind: float, in_front: float, place: str, prompts: int, doubted: bool
) -> None:
    """It contradicts itself for no prompt. One prompt says nothing of a judge."""
    found = preference([row(i, behind, in_front) for i in range(prompts)])
    assert found.by_place == 0
    said = f"position bias: ties counted as half, the judge chose the {place} answer in 75 % of its answers"
    assert found.doubt == (said if doubted else None)


def test_a_lean_that_may_be_chance_is_no_position_bias() -> None:
    found = preference([row(0, 0.0, 0.5), row(1, 0.0, 1.0), row(2, 1.0, 1.0)])
    assert found.first.mean == pytest.approx(0.75)
    assert found.doubt is None


def test_a_judge_that_always_prefers_one_model_has_no_position_bias() -> None:
    found = preference([row(i, 1.0, 1.0) for i in range(20)])
    assert (found.win_rate.mean, found.first.mean, found.by_place, found.doubt) == (1.0, 0.5, 0, None)


def test_without_a_prompt_there_is_no_figure() -> None:
    found = preference([])
    assert (found.win_rate.mean, found.first.n, found.doubt, found.agreement.n) == (None, 0, None, 0)


def test_a_judge_that_seldom_answers_is_not_to_be_relied_on() -> None:
    found = preference([row(i, None, None) for i in range(3)] + [row(9, 1.0, 1.0)])
    assert found.doubt == "3 prompts have no answer of the judge in both orders"


def test_agreement_counts_the_prompts_on_which_judge_and_verifier_both_decide() -> None:
    rows = [row(0, 1.0, 1.0), row(1, 0.0, 0.0), row(2, 1.0, 1.0), row(3, 1.0, 0.0), row(4, 1.0, 1.0)]
    verifier = {"0": 0.5, "1": 0.5, "2": 0.2, "3": 0.1, "4": 0.0, "unknown": 1.0}
    found = preference(rows, verifier).agreement
    assert (found.n, found.mean) == (3, pytest.approx(2 / 3))
