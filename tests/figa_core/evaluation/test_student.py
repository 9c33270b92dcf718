"""Student's t with any number of degrees of freedom."""

import math

import pytest

from figa_core.evaluation.statistics import student_t_quantile
from figa_core.evaluation.student import two_sided_p, two_sided_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 30, 500])
def test_whole_degrees_agree_with_the_closed_form(degrees: int) -> None:
    expected = student_t_quantile(0.975, degrees)
    assert two_sided_quantile(0.95, degrees) == pytest.approx(expected, rel=1e-10)
    assert two_sided_p(expected, degrees) == pytest.approx(0.05, abs=1e-12)


def test_known_values_between_whole_degrees_lie_between_their_neighbours() -> None:
    assert two_sided_quantile(0.95, 3) < two_sided_quantile(0.95, 2.5) < two_sided_quantile(0.95, 2)
    assert two_sided_p(0.0, 2.5) == 1.0
    assert two_sided_p(math.inf, 2.5) == 0.0
    assert two_sided_p(-2.0, 2.5) == two_sided_p(2.0, 2.5)


def test_one_degree_is_the_cauchy_distribution() -> None:
    assert two_sided_p(1.0, 1) == pytest.approx(0.5)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_a_level_outside_its_bounds_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        two_sided_quantile(confidence, 3)
