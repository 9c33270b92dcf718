"""Durations in words."""

import pytest

from flows.terminal.durations import duration


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0, "0 s"),
        (1.5, "90 s"),
        (2, "2 min"),
        (119, "119 min"),
        (120, "2 hours"),
        (60 * 47, "47 hours"),
        (60 * 48, "2 days"),
        (60 * 24 * 700, "700 days"),
        (60 * 24 * 365 * 3, "3 years"),
        (1e300, "more than 100 years"),
        (float("inf"), "more than 100 years"),
    ],
)
def test_a_duration_has_a_suitable_unit(minutes: float, text: str) -> None:
    assert duration(minutes) == text
