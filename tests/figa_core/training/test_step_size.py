"""A step size and a number of epochs that fit the number of pairs, and the log line about them."""

from typing import Any

import pytest

from figa_core.training.step_size import (
    about_few_updates,
    about_steps,
    number_of_epochs,
    pairs_per_step,
    updates,
)


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


@pytest.mark.parametrize(
    ("pairs", "size", "epochs"),
    [
        (0, 8, 3),
        (1, 8, 3),  # never more than the paper's three, however few the updates are
        (88, 8, 3),
        (89, 8, 2),  # 12 steps twice
        (184, 8, 2),
        (185, 8, 1),
        (1_000_000, 8, 1),  # never less than one
        (40, 1, 1),  # small steps make enough updates of a few pairs
        (1000, 128, 3),
        (3000, 128, 1),
        (88, "auto", 3),  # steps of 8 are counted
        (185, "auto", 1),
    ],
)
def test_automatic_epochs_are_the_fewest_from_one_to_three_that_make_enough_updates(
    pairs: int, size: Any, epochs: int
) -> None:
    found = number_of_epochs("auto", pairs=pairs, size=size)
    assert found == epochs
    if size != "auto" and found > 1:
        assert updates(size, pairs=pairs, epochs=found - 1) < 24


def test_a_number_of_epochs_is_used_as_it_is() -> None:
    assert number_of_epochs(7, pairs=1_000_000, size=8) == 7


@pytest.mark.parametrize("pairs", [8, 24, 40, 88, 89, 184, 185, 500, 3072, 100_000])
def test_step_size_and_epochs_that_are_both_automatic_make_enough_updates(pairs: int) -> None:
    size = pairs_per_step("auto", pairs=pairs, epochs="auto")
    epochs = number_of_epochs("auto", pairs=pairs, size="auto")
    assert updates(size, pairs=pairs, epochs=epochs) >= 24


def test_automatic_epochs_give_their_reason_and_the_steps_that_are_allowed() -> None:
    assert about_steps(8, pairs=100, epochs="auto", max_steps=20) == (
        '8 pairs a step: 100 pairs seen twice make 20 updates (training.epochs = "auto" looks for 24 or more)'
    )
    assert about_steps("auto", pairs=3072, epochs="auto", max_steps=None) == (
        "128 pairs a step: 3,072 pairs seen once make 24 updates (training.pairs_per_step and "
        'training.epochs = "auto" look for 24 or more)'
    )
    few = about_steps(128, pairs=40, epochs="auto", max_steps=None)
    assert few == about_few_updates(128, pairs=40, epochs=3, max_steps=None) is not None
