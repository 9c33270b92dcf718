"""Two models' scores are compared question by question where that can be done, and else by their errors."""

import dataclasses
import math

import pytest

from figa_core.harness.comparison import score_difference
from figa_core.harness.results import BenchmarkScore

BEFORE = BenchmarkScore(
    "t", "acc", "none", 0.5, 0.3, 4, 4, True, questions=("a", "b", "c", "d"), values=(0, 0, 1, 1)
)


def test_questions_are_paired_by_what_they_are_not_by_their_place() -> None:
    after = dataclasses.replace(BEFORE, value=0.75, questions=("d", "c", "b", "a"), values=(1, 1, 1, 0))
    found = score_difference(BEFORE, after)
    assert found.paired
    assert (found.change.mean, found.change.n) == (0.25, 4)
    assert found.change.standard_error == pytest.approx(0.25)  # of 0, 1, 0, 0


def test_other_questions_or_no_values_are_compared_by_both_errors() -> None:
    other = dataclasses.replace(BEFORE, value=0.9, standard_error=0.4, questions=("a", "b", "c", "e"))
    none = dataclasses.replace(BEFORE, value=0.9, standard_error=0.4, questions=(), values=())
    for before, after in ((BEFORE, other), (BEFORE, none), (none, dataclasses.replace(none, value=1.3))):
        found = score_difference(before, after)
        assert not found.paired
        assert found.change.mean == pytest.approx(0.4)
        assert found.change.standard_error == pytest.approx(
            math.hypot(before.standard_error or 0, after.standard_error or 0)
        )


def test_without_an_error_there_is_no_interval() -> None:
    none = dataclasses.replace(BEFORE, standard_error=None, questions=(), values=())
    found = score_difference(none, dataclasses.replace(none, value=0.6))
    assert found.change.mean == pytest.approx(0.1)
    assert found.change.interval is None
