"""The paper's three tests, quantiles, and the guard on revisions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.filtering import (
    Candidate,
    Thresholds,
    admit,
    decide,
    keep,
    most_frequent_first,
    resolve_threshold,
    resolve_thresholds,
)
from figa_core.records import Decision

DEFAULTS = Thresholds(1.0, 3.0, 3.5)
reward = st.floats(-10, 10)
candidates = st.lists(
    st.builds(Candidate, st.uuids().map(str), st.sampled_from("abc"), reward, reward | st.none()),
    unique_by=lambda c: c.response_id,
)


def reward_of(candidate: Candidate) -> float:
    assert candidate.response_reward is not None
    return candidate.response_reward


@pytest.mark.parametrize(
    ("response", "reference", "reason"),
    [
        (0.9, 4.5, "weak and the reference is better"),
        (1.0, 9.0, "response_reward_below"),
        (0.0, 3.0, "reference_reward_above"),
        (0.5, 4.0, "reward_gap_above"),
        (0.9, None, "no reference"),
        (1.1, None, "response_reward_below"),
    ],
)
def test_the_reason_names_the_first_test_that_fails(
    response: float, reference: float | None, reason: str
) -> None:
    decision = decide(Candidate("r", "p", response, reference), DEFAULTS)
    assert reason in decision.reason
    assert decision.accepted == (not decision.reason.endswith(")"))


@given(candidates, reward, reward, reward)
def test_kept_rows_pass_all_tests_and_every_row_gets_a_decision(
    rows: list[Candidate], below: float, above: float, gap: float
) -> None:
    decisions = keep(rows, Thresholds(below, above, gap), lowest_only=False)
    assert decisions.keys() == {c.response_id for c in rows}
    for c in rows:
        response = reward_of(c)
        passes = response < below and (
            c.reference_reward is None or (c.reference_reward > above and c.reference_reward - response > gap)
        )
        assert decisions[c.response_id].accepted == passes


@given(candidates, reward)
def test_lowest_only_keeps_the_lowest_scored_sample_of_each_prompt_that_passes(
    rows: list[Candidate], below: float
) -> None:
    thresholds, before = Thresholds(below, -math.inf, -math.inf), list(rows)
    every = keep(rows, thresholds, lowest_only=False)
    lowest = keep(rows, thresholds, lowest_only=True)
    for prompt in {c.prompt_id for c in rows}:
        passed = [c for c in rows if c.prompt_id == prompt and every[c.response_id].accepted]
        kept = [c for c in passed if lowest[c.response_id].accepted]
        assert len(kept) == (1 if passed else 0)
        assert all(reward_of(kept[0]) <= reward_of(c) for c in passed)
    assert rows == before


def test_a_quantile_is_taken_of_the_runs_scores() -> None:
    assert resolve_threshold("q0.5", [1.0, 2.0, 10.0]) == 2.0
    assert resolve_threshold("q0.25", [0.0, 1.0]) == 0.25
    assert resolve_threshold(3, [0.0]) == 3.0
    assert math.isnan(resolve_threshold("q0.5", []))


def test_gaps_and_references_come_from_rows_with_a_reference() -> None:
    rows = [Candidate("a", "p", 0.0, 4.0), Candidate("b", "q", 8.0, None)]
    assert resolve_thresholds("q1", "q0", "q1", rows) == Thresholds(8.0, 4.0, 4.0)


def test_a_revision_must_raise_the_reward_by_more_than_the_setting() -> None:
    assert admit(1.0, 1.1, 0.0).accepted
    assert not admit(1.0, 1.0, 0.0).accepted
    assert not admit(1.0, 1.4, 0.5).accepted
    assert admit(1.0, -5.0, None).accepted


def test_reasons_are_ordered_by_frequency_and_then_by_name() -> None:
    counts = {"some": 1, "b": 2, "a": 2, "other": 5}
    assert list(most_frequent_first(counts).items()) == [("other", 5), ("a", 2), ("b", 2), ("some", 1)]


@given(candidates)
def test_a_quantile_lets_about_its_share_pass_and_does_not_change_the_rows(rows: list[Candidate]) -> None:
    before = list(rows)
    thresholds = resolve_thresholds("q0.5", 0, 0, rows)
    below = sum(reward_of(c) < thresholds.response_reward_below for c in rows)
    assert below <= (len(rows) + 1) / 2
    assert rows == before


def test_without_references_their_quantiles_do_not_affect_the_first_test() -> None:
    rows = [Candidate("a", "p", 0.0, None), Candidate("b", "q", 2.0, None)]
    decisions = keep(rows, resolve_thresholds("q0.5", "q0.5", "q0.5", rows), lowest_only=False)
    assert {k: d.accepted for k, d in decisions.items()} == {"a": True, "b": False}


def test_of_equally_low_samples_the_same_one_is_kept_in_any_order() -> None:
    rows = [Candidate("b", "p", 0.0, None), Candidate("a", "p", 0.0, None), Candidate("c", "p", 0.5, None)]
    for order in (rows, rows[::-1]):
        decisions = keep(order, DEFAULTS, lowest_only=True)
        assert [k for k, d in decisions.items() if d.accepted] == ["a"]
        assert "samples_kept" in decisions["b"].reason


def test_a_sample_that_fails_does_not_exclude_one_that_passes() -> None:
    rows = [Candidate("low", "p", -1.0, 1.0), Candidate("high", "p", 0.5, 9.0)]
    decisions = keep(rows, DEFAULTS, lowest_only=True)
    assert (decisions["low"].accepted, decisions["high"].accepted) == (False, True)


def test_a_row_with_a_nan_reward_is_never_kept_or_admitted() -> None:
    assert not decide(Candidate("r", "p", math.nan, 9.0), DEFAULTS).accepted
    assert not decide(Candidate("r", "p", 0.0, math.nan), DEFAULTS).accepted
    assert not admit(0.0, math.nan, 0.0).accepted


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("odd", [NAN, INFINITE, -INFINITE, None])
def test_a_missing_or_infinite_reward_changes_no_quantile_and_is_rejected_with_the_reason(
    odd: float | None,
) -> None:
    rows = [Candidate(f"r{i}", f"p{i}", float(i), 100.0 + 2 * i) for i in range(20)]
    settings = ("q0.5", "q0.1", "q0.1")
    without = [row for i, row in enumerate(rows) if i not in (3, 4)]
    rows[3], rows[4] = Candidate("r3", "p3", odd, 103.0, "odd"), Candidate("r4", "p4", odd, None)
    known = resolve_thresholds(*settings, [*without, Candidate("x", "y", odd, 103.0)])
    assert resolve_thresholds(*settings, rows).response_reward_below == known.response_reward_below
    assert known.reward_gap_above == resolve_thresholds(*settings, without).reward_gap_above

    decisions = keep(rows, known, lowest_only=True)
    assert decisions["r3"] == Decision(False, "no reward: odd")
    assert decisions["r4"] == Decision(False, "no reward: the value is not a finite number")
    assert sum(d.accepted for d in decisions.values()) > 0


@pytest.mark.parametrize("odd", [NAN, INFINITE, -INFINITE])
def test_a_row_whose_reference_has_no_finite_reward_is_rejected(odd: float) -> None:
    thresholds = Thresholds(1.0, 0.0, 0.0)
    expected = Decision(False, "no reward of the reference: the value is not a finite number")
    assert decide(Candidate("r", "p", 0.0, odd), thresholds) == expected
    failed = decide(Candidate("r", "p", 0.0, None, None, "refused"), thresholds)
    assert failed == Decision(False, "no reward of the reference: refused")


@pytest.mark.parametrize("guard", [None, 0.0, -INFINITE])
@pytest.mark.parametrize("rewards", [(NAN, 1.0), (1.0, INFINITE), (None, 1.0), (1.0, None), (-INFINITE, 1.0)])
def test_nothing_is_admitted_without_both_rewards(
    rewards: tuple[float | None, float | None], guard: float | None
) -> None:
    assert admit(*rewards, guard) == Decision(False, "no reward: the value is not a finite number")
    assert admit(*rewards, guard, "refused") == Decision(False, "no reward: refused")
