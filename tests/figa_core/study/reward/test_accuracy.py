"""How often the better answer gets the higher reward."""

import pytest

from figa_core.study.reward.accuracy import Accuracy, accuracy


def test_a_tie_counts_half_and_a_missing_reward_is_left_out() -> None:
    found = accuracy([(2.0, 1.0), (1.0, 2.0), (1.0, 1.0), (None, 1.0), (1.0, None)])
    assert (found.right, found.pairs, found.left_out) == (1.5, 3, 2)
    assert found.share == 0.5


def test_the_interval_is_wilsons() -> None:
    # 81 of 263 at 95 %: Newcombe (1998), Statistics in Medicine 17, table I.
    assert Accuracy(81, 263).interval() == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Accuracy(0, 20).interval() == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Accuracy(1, 29).interval() == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_no_pair_has_neither_share_nor_interval() -> None:
    found = accuracy([])
    assert found.share is None
    assert found.interval() is None
