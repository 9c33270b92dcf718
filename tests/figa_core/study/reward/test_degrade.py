"""Pairs made worse on purpose."""

import pytest

from figa_core.study.reward.degrade import FULL, TRAINED, Degradation, degraded, parts, turn

from .made import pair, pairs


def wrong(count: int, noise: float) -> set[str]:
    """The ids of the pairs with a wrong label."""
    given = pairs(count)
    chosen = {each.pair_id: each.chosen for each in given}
    return {
        each.pair_id
        for each in degraded(given, Degradation("noisy", "noisy", noise=noise))
        if each.chosen != chosen[each.pair_id]
    }


def test_all_pairs_are_all_pairs() -> None:
    given = pairs(50)
    assert sorted(each.pair_id for each in degraded(given, FULL)) == sorted(each.pair_id for each in given)
    assert {each.chosen for each in degraded(given, FULL)} == {each.chosen for each in given}


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_exactly_that_share_of_the_labels_is_wrong(noise: float) -> None:
    assert len(wrong(100, noise)) == 100 * noise


def test_more_noise_adds_to_less_noise() -> None:
    assert wrong(100, 0.1) < wrong(100, 0.2) < wrong(100, 0.4)


def test_a_tenth_is_the_same_in_whatever_order_the_pairs_come() -> None:
    tenth, given = TRAINED[1], pairs(100)
    assert tenth.share == 0.1
    assert degraded(given, tenth) == degraded(given[::-1], tenth)
    assert len(degraded(given, tenth)) == 10
    assert len(degraded(given[:3], tenth)) == 1


def test_what_is_turned_twice_is_as_it_was() -> None:
    one = pair(1)
    assert turn(one).chosen == one.rejected
    assert turn(one).chosen_id == one.rejected_id
    assert turn(turn(one)) == one


def test_the_pairs_of_a_prompt_are_on_one_side() -> None:
    given = [pair(number, f"question {number % 30}") for number in range(90)]
    training, held_out = parts(given, 0.2)
    assert len(training) + len(held_out) == 90
    assert len(held_out) == 18  # three pairs of each of six prompts
    assert not {each.prompt_id for each in training} & {each.prompt_id for each in held_out}
    assert given == [pair(number, f"question {number % 30}") for number in range(90)]
