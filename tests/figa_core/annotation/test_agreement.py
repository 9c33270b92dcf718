"""Shares and agreement against values computed by hand and from the literature."""

import math
from dataclasses import replace
from typing import cast

import pytest

from figa_core.annotation.agreement import judged_by_scheme, krippendorff_alpha
from figa_core.annotation.changes import Verdict
from figa_core.annotation.store import Judgement

M, D, W = Verdict


def said(*rows: tuple[str, str, str, Verdict], scheme: str = "levenshtein") -> list[Judgement]:
    return [Judgement(scheme, pair, key, name, verdict, False, "2026") for pair, key, name, verdict in rows]


def test_alpha_is_that_of_the_literature_s_example_with_missing_values() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: nominal alpha 0.743."""
    ratings = {
        "A": "1 2 3 3 2 1 4 1 2 . . .",
        "B": "1 2 3 3 2 2 4 1 2 5 . 3",
        "C": ". 3 3 3 2 3 4 2 2 5 1 .",
        "D": "1 2 3 3 2 4 4 1 2 5 1 .",
    }
    rows = [
        ("p", str(unit), name, cast(Verdict, rating))  # five values, of which ours are three
        for name, line in ratings.items()
        for unit, rating in enumerate(line.split())
        if rating != "."
    ]
    assert krippendorff_alpha(said(*rows)) == pytest.approx(0.743, abs=0.0005)


def test_alpha_is_one_if_all_agree_and_below_zero_if_they_contradict_each_other() -> None:
    agree = said(*[("p", key, name, verdict) for key, verdict in (("a", M), ("b", W)) for name in ("x", "y")])
    assert krippendorff_alpha(agree) == 1.0
    contradict = said(("p", "a", "x", M), ("p", "a", "y", W), ("p", "b", "x", W), ("p", "b", "y", M))
    assert krippendorff_alpha(contradict) == pytest.approx(-0.5)


def test_without_two_people_on_a_change_or_two_verdicts_alpha_is_not_defined() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha(said(("p", "a", "x", M), ("p", "b", "y", W))) is None
    assert krippendorff_alpha(said(("p", "a", "x", M), ("p", "a", "y", M))) is None


def test_shares_are_of_changes_whoever_judged_them_and_their_error_is_over_pairs() -> None:
    rows = said(
        ("p", "a", "x", M), ("p", "a", "y", D), ("p", "b", "x", M), ("q", "a", "x", W), ("q", "a", "y", W)
    )
    other = said(("p", "a", "x", D), scheme="bag_of_words")
    bag, found = judged_by_scheme([*rows, *other])
    assert (bag.scheme, bag.changes, bag.does_not.mean, bag.matters.interval) == (
        "bag_of_words",
        1,
        1.0,
        None,
    )
    assert (found.annotators, found.pairs, found.changes, found.judged_twice) == (("x", "y"), 2, 3, 2)
    shares = (found.matters.mean, found.does_not.mean, found.worse.mean)
    assert shares == pytest.approx((0.5, 1 / 6, 1 / 3))
    # Pairs p (1.5 of 2) and q (0 of 1): √(2 · (0.5² + 0.5²)) / 3.
    assert found.matters.standard_error == pytest.approx(math.sqrt(2 * 0.5) / 3)
    assert found.matters.n == 2


def test_judgements_with_hidden_sides_are_counted() -> None:
    first, *others = said(("p", "a", "x", M), ("p", "a", "y", M), ("q", "b", "x", W))
    [found] = judged_by_scheme([replace(first, blind=True), *others])
    assert (found.judgements, found.blind) == (3, 1)


def test_nobody_has_said_anything() -> None:
    assert judged_by_scheme([]) == ()
