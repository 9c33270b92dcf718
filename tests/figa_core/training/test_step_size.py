"""A step size that fits the number of pairs, and the log line about it."""

import pytest

from figa_core.training.step_size import about_steps, pairs_per_step, updates


@pytest.mark.parametrize(
    ("pairs", "epochs", "size", "steps"),
    [
        (1, 3, 1, 3),  # nothing to choose from
        (8, 3, 1, 24),
        (20, 3, 2, 30),
        (40, 3, 4, 30),
        (100, 3, 8, 39),
        (500, 3, 64, 24),
        (1000, 3, 128, 24),
        (100_000, 3, 128, 2346),
        (1000, 1, 32, 32),
    ],
)
def test_auto_is_the_largest_power_of_two_that_makes_enough_updates(
    pairs: int, epochs: int, size: int, steps: int
) -> None:
    assert pairs_per_step("auto", pairs=pairs, epochs=epochs) == size
    assert updates(size, pairs=pairs, epochs=epochs) == steps


def test_no_step_of_auto_is_larger_than_the_data() -> None:
    assert pairs_per_step("auto", pairs=3, epochs=100) == 2


def test_more_pairs_never_make_a_smaller_step() -> None:
    sizes = [pairs_per_step("auto", pairs=pairs, epochs=3) for pairs in range(1, 2000)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 128


def test_a_number_is_used_as_it_is() -> None:
    assert pairs_per_step(128, pairs=4, epochs=3) == 128


def test_auto_gives_its_reason() -> None:
    assert about_steps("auto", pairs=40, epochs=3, max_steps=None) == (
        '4 pairs a step: 40 pairs seen 3 times make 30 updates (training.pairs_per_step = "auto" looks for '
        "24 or more)"
    )
    assert (about_steps("auto", pairs=1, epochs=1, max_steps=None) or "").startswith(
        "1 pair a step: 1 pair seen once make"
    )


def test_few_updates_give_a_warning_with_the_size_that_would_make_more() -> None:
    assert about_steps(128, pairs=40, epochs=3, max_steps=None) == (
        "training.pairs_per_step is 128 and there are 40 pairs: 3 updates in all, which hardly change a "
        'model. "auto" would take 4 pairs a step.'
    )


@pytest.mark.parametrize(
    ("size", "pairs", "max_steps"),
    [
        (8, 100, None),  # enough of them
        (128, 40, 3),  # max_steps allows no more
        (1, 2, None),  # no size would make more
    ],
)
def test_there_is_no_warning_if_nothing_could_be_better(size: int, pairs: int, max_steps: int | None) -> None:
    assert about_steps(size, pairs=pairs, epochs=3, max_steps=max_steps) is None
