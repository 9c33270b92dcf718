"""Which pairs are kept apart, and what their loss means: the best step, and the end of a training."""

import math
import re

import pytest

from figa_core.config import HeldOutConfig
from figa_core.errors import TrainingError
from figa_core.training.held_out import (
    HELD_OUT_LOSS,
    Look,
    best_of,
    check_apart,
    drawn_apart,
    looks_in,
    out_of_patience,
    pairs_apart,
)
from figa_core.training.metrics import StepMetrics


def looks(*losses: float) -> list[Look]:
    return [Look(10 * place, loss) for place, loss in enumerate(losses, start=1)]


def test_the_pairs_do_not_depend_on_their_order_and_fewer_are_among_more() -> None:
    ids = [f"pair-{number}" for number in range(200)]
    apart = drawn_apart(ids, 20)
    assert apart == drawn_apart(reversed(ids), 20)
    assert len(apart) == 20
    assert apart < {*ids}
    assert all(drawn_apart(ids, fewer) < apart for fewer in range(20))


@pytest.mark.parametrize(
    ("share", "pairs", "apart"), [(0.0, 50, 0), (0.1, 50, 5), (0.1, 59, 5), (0.29, 100, 29), (0.5, 7, 3)]
)
def test_a_share_is_rounded_down(share: float, pairs: int, apart: int) -> None:
    assert pairs_apart(HeldOutConfig(share=share), pairs) == apart


@pytest.mark.parametrize(
    ("settings", "pairs", "message"),
    [
        (
            {"share": 0.1},
            39,
            "0.1 of 39 pairs leaves 3 to judge by, and at least 4 are needed. Raise it to 0.11",
        ),
        (
            {"share": 0.5},
            7,
            "0.5 of 7 pairs leaves 3 to judge by, and at least 4 are needed. Give more",
        ),
        ({"patience": 2}, 100, "training.held_out.patience: no pairs are kept apart"),
        ({"result": "best"}, 100, "training.held_out.result: no pairs are kept apart"),
    ],
)
def test_too_few_pairs_and_settings_without_any_are_named(
    settings: dict[str, object], pairs: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=re.escape(message)):
        check_apart(HeldOutConfig.model_validate(settings), pairs)


@pytest.mark.parametrize("pairs", [40, 41, 400])
def test_what_is_advised_is_enough(pairs: int) -> None:
    with pytest.raises(TrainingError) as caught:
        check_apart(HeldOutConfig(share=3.5 / pairs), pairs)
    [advised] = re.findall(r"Raise it to ([\d.]+),", str(caught.value))
    check_apart(HeldOutConfig(share=float(advised)), pairs)


def test_the_best_is_the_first_of_the_lowest_finite_losses() -> None:
    assert best_of(looks(3.0, -1.0, math.inf, -1.0, 2.0)) == Look(20, -1.0)
    assert best_of(looks(math.inf)) is None
    assert best_of([]) is None


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ((), False),
        ((5.0,), False),
        ((5.0, 5.0), False),
        ((5.0, 5.0, 5.0), True),
        ((5.0, 6.0, 4.9, 6.0), False),
        ((5.0, 6.0, 4.9, 6.0, 4.9), True),
        ((5.0, math.inf, math.inf), True),
        ((math.inf, math.inf), True),
    ],
)
def test_patience_counts_looks_in_a_row_without_a_lower_loss(losses: tuple[float, ...], over: bool) -> None:
    assert out_of_patience(looks(*losses), 2) is over
    assert not out_of_patience(looks(*losses), None)


def test_looks_are_read_from_the_metrics_and_a_loss_that_is_not_finite_is_infinite() -> None:
    def line(step: int, **figures: float | None) -> StepMetrics:
        return StepMetrics(step, 1.0, 1, 1, 1, 1.0, 1e-5, None, figures=figures)

    metrics = [line(1), line(2, **{HELD_OUT_LOSS.name: 0.5}), line(4, **{HELD_OUT_LOSS.name: None}), line(5)]
    assert looks_in(metrics) == [Look(2, 0.5), Look(4, math.inf)]
