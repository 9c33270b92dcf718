"""What a method may generate, and in steps of which size."""

import pytest

from figa_core.rl.budget import (
    DataTokens,
    expected_steps,
    is_spent,
    samples_per_batch,
    samples_per_step,
)

DATA = DataTokens(drafts=100, drafted=6000, answered=2500)


def test_a_budget_is_what_drafts_and_revisers_answers_cost_times_a_number() -> None:
    assert DATA.budget(share=1.0, times=1.0) == 8500
    assert DATA.budget(share=0.25, times=1.0) == 2125
    assert DATA.budget(share=1.0, times=5.0) == 42_500


def test_a_sample_is_expected_to_cost_a_mean_draft() -> None:
    assert DATA.mean == 60
    assert DataTokens(0, 0, 0).mean == 0


@pytest.mark.parametrize(
    ("budget", "samples"),
    [
        (10_000_000, 128),  # no more than this
        (60 * 24 * 64, 64),  # 24 updates of 64
        (60 * 24 * 63, 32),  # a power of two
        (600, 8),  # no fewer, though that is one update
    ],
)
def test_a_budget_lasts_for_24_updates_of_8_to_128_samples(budget: int, samples: int) -> None:
    assert samples_per_step(budget, 60, of_prompt=4, prompts=1000) == samples


def test_a_step_has_all_samples_of_a_prompt_and_no_prompt_twice() -> None:
    assert samples_per_step(600, 60, of_prompt=16, prompts=1000) == 16
    assert samples_per_step(10_000_000, 60, of_prompt=1, prompts=20) == 16
    assert samples_per_step(600, 60, of_prompt=8, prompts=1) == 8


def test_the_expected_steps_follow_from_the_mean_draft() -> None:
    assert expected_steps(8500, 60, 16) == 9
    assert expected_steps(10, 60, 16) == 1


def test_a_training_ends_where_it_is_nearest_to_its_budget() -> None:
    """Steps of 100 tokens: 1 000 are ten of them, 949 nine and a half."""
    ends = {budget: next(n for n in range(20) if is_spent(budget, 100 * n, n)) for budget in (1000, 951, 949)}
    assert ends == {1000: 10, 951: 10, 949: 9}


def test_a_training_has_one_step_at_least() -> None:
    assert not is_spent(1, 0, 0)
    assert is_spent(1, 100, 1)


def test_a_batch_divides_a_step_and_fits_the_tokens() -> None:
    assert samples_per_batch(16, 100, 1000) == 8
    assert samples_per_batch(16, 100, 100_000) == 16
    assert samples_per_batch(16, 5000, 1000) == 1
