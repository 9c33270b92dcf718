"""A training's model is examined often enough, on enough tokens, and within its share of the cost."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.training.probe_plan import COST_MAX, Candidate, ProbePlan, Size, plan_probe

SIZE = Size(body=100, head=50)
PLENTY = 10**9


def plan(
    candidates: list[Candidate], *, steps: int = 100, tokens: float = 1e6, positions_max: int = PLENTY
) -> ProbePlan | None:
    return plan_probe(
        candidates, SIZE, steps=steps, tokens=tokens, positions=tokens / 10, positions_max=positions_max
    )


def pairs(count: int, *, tokens: int = 100, positions: int = 40) -> list[Candidate]:
    return [Candidate(pair, tokens, positions) for pair in range(count)]


def cost(found: ProbePlan, candidates: list[Candidate], tokens: float) -> float:
    """Probes in forward passes over the training's in forward and backward passes, counted one by one."""
    chosen = [candidates[pair] for pair in found.pairs]
    one = sum(c.tokens * SIZE.body + c.positions * SIZE.head for c in chosen)
    probes = 1 + sum(found.due(step) for step in range(1, found.steps + 1))
    return probes * one / (3 * (tokens * SIZE.body + tokens / 10 * SIZE.head))


@given(
    steps=st.integers(1, 400),
    tokens_per_step=st.integers(1, 20_000),
    candidates=st.lists(st.builds(Candidate, st.just(0), st.integers(1, 800), st.integers(0, 300))),
)
def test_no_plan_costs_more_than_its_share(
    steps: int, tokens_per_step: int, candidates: list[Candidate]
) -> None:
    candidates = [Candidate(i, c.tokens, c.positions) for i, c in enumerate(candidates)]
    tokens = steps * tokens_per_step
    found = plan(candidates, steps=steps, tokens=tokens)
    if found is None:
        return
    assert cost(found, candidates, tokens) == pytest.approx(found.share)
    assert found.share <= COST_MAX
    assert found.due(steps), "the result itself is always examined"


def test_a_long_training_is_examined_a_hundred_times_on_two_thousand_tokens() -> None:
    found = plan(pairs(50), steps=1000, tokens=1e8)
    assert found == ProbePlan(tuple(range(20)), every=10, steps=1000, share=found.share if found else 0)


def test_a_short_training_has_fewer_pairs_before_it_has_fewer_probes() -> None:
    """31 steps of 8 pairs, each with two answers of 200 tokens."""
    found = plan(pairs(50, tokens=200, positions=60), steps=31, tokens=31 * 8 * 400.0)
    assert found is not None
    assert len(found.pairs) == 2
    assert found.every == 3


def test_a_training_of_a_few_pairs_is_examined_at_its_end_at_least_or_not_at_all() -> None:
    found = plan(pairs(5), steps=2, tokens=4000)
    assert found is not None
    assert (found.pairs, found.every) == ((0,), 2)
    assert plan(pairs(5), steps=2, tokens=1000) is None
    assert plan([], steps=2) is None
    assert plan(pairs(5, positions=0)) is None


def test_pairs_for_which_there_is_no_room_are_passed_over() -> None:
    candidates = [Candidate(0, 100, 40), Candidate(1, 3000, 40), Candidate(2, 100, 90), Candidate(3, 100, 0)]
    found = plan([*candidates, Candidate(4, 100, 10)], positions_max=100)
    assert found is not None
    assert found.pairs == (0, 4)


@given(steps=st.integers(1, 200), every=st.integers(1, 50))
def test_an_alarm_goes_back_to_the_time_before(steps: int, every: int) -> None:
    found = ProbePlan((0,), every, steps, 0.01)
    examined = [step for step in range(1, steps + 1) if found.due(step)]
    for before, step in pairwise([0, *examined]):
        assert found.last_before(step) == before
