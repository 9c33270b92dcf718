"""Figures within sentences."""

import pytest

from figa_core.report.sentences import percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.99, "99 %"), (0.5, "50 %"), (0.017, "1.7 %"), (1.2e-6, "0.00012 %"), (1.0, "100 %")],
)
def test_a_share_has_two_digits_that_say_something(share: float, text: str) -> None:
    assert percent(share) == text
