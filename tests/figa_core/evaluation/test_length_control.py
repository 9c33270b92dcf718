"""The win rate at equal lengths: known effects are found again, and too small a sample is refused."""

import math

import numpy as np
import pytest

from figa_core.evaluation.length_control import LengthControlled, length_controlled


def sample(theta: float, phi: float, shift: float, n: int = 400) -> list[tuple[int, float]]:
    """Exact preferences of a judge whose model is the regression's."""
    lengths = np.round(np.linspace(-120, 120, n) + shift)
    chances = 1 / (1 + np.exp(-(theta + phi * np.tanh(lengths / lengths.std()))))
    return [(int(length), float(chance)) for length, chance in zip(lengths, chances, strict=True)]


@pytest.mark.parametrize(("theta", "phi", "shift"), [(0.0, 1.5, 40), (0.4, -0.7, -30), (-0.8, 1.5, 30)])
def test_the_effect_of_length_is_taken_out(theta: float, phi: float, shift: float) -> None:
    rows = sample(theta, phi, shift)
    found = length_controlled(rows)
    assert isinstance(found, LengthControlled)
    assert found.win_rate == pytest.approx(1 / (1 + math.exp(-theta)), abs=0.003)
    assert abs(np.mean([p for _, p in rows]) - found.win_rate) > 0.02


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(7), 0
    rows = sample(0.3, 1.0, 30, 120)
    for _ in range(200):
        drawn = length_controlled([(d, float(rng.random() < p)) for d, p in rows])
        assert isinstance(drawn, LengthControlled)
        covered += drawn.interval[0] <= 1 / (1 + math.exp(-0.3)) <= drawn.interval[1]
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "needs 50 prompts with the judge's answer, and there are 0"),
        (sample(0, 1, 0, 49), "there are 49"),
        (sample(0, 1, 500), "400 of 400 are longer, 0 shorter"),
        ([(d, 1.0) for d, _ in sample(0, 1, 0)], "never preferred one of the models"),
        ([(0, 1.0)] * 60, "0 of 60 are longer"),
    ],
)
def test_a_sample_that_cannot_say_it_is_refused_in_words(rows: list[tuple[int, float]], why: str) -> None:
    found = length_controlled(rows)
    assert isinstance(found, str)
    assert why in found
