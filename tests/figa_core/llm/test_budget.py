"""The budget is never exceeded, whatever the order and the size of calls."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import BudgetReachedError
from figa_core.llm.budget import Budget, Price
from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply

PRICE = Price(usd_per_million_prompt_tokens=2.0, usd_per_million_completion_tokens=8.0)
cents = st.integers(1, 100).map(lambda n: n / 100)


def test_a_million_tokens_of_each_kind_cost_the_stated_price():
    assert PRICE.cost(1_000_000, 0) == 2.0
    assert PRICE.cost(0, 1_000_000) == 8.0
    assert PRICE.cost(500, 125) == pytest.approx(0.002)


@given(st.text(), st.integers(1, 1000))
def test_no_call_costs_more_than_the_most_it_can(text: str, max_tokens: int):
    # A tokenizer over bytes makes at most one token of each.
    assert PRICE.cost(len(text.encode()), max_tokens) <= PRICE.most([text], max_tokens)


@pytest.mark.parametrize(
    ("reply", "usd"),
    [
        (Reply(CallOutcome.ANSWERED, prompt_tokens=1000, completion_tokens=100), 0.0028),
        (Reply(CallOutcome.MALFORMED, prompt_tokens=500, completion_tokens=0), 0.001),
        (Reply(CallOutcome.MALFORMED), None),
        (Reply(CallOutcome.TIMEOUT), None),
        (Reply(CallOutcome.RATE_LIMITED), 0.0),
        (Reply(CallOutcome.SERVER_ERROR), 0.0),
        (Reply(CallOutcome.NO_ACCESS), 0.0),
        (Reply(CallOutcome.WRONG_ADDRESS), 0.0),
        (Reply(CallOutcome.BAD_REQUEST), 0.0),
        # The model may have read the prompt, and some providers bill a prompt that their filter stopped.
        (Reply(CallOutcome.REFUSED), None),
        (Reply(CallOutcome.REFUSED, status=400), None),
        (Reply(CallOutcome.REFUSED, prompt_tokens=1000, completion_tokens=0), 0.002),
    ],
)
def test_a_reply_costs_its_usage_and_an_error_costs_nothing(reply: Reply, usd: float | None):
    assert PRICE.of(reply) == (usd if usd is None else pytest.approx(usd))


@given(
    cap=st.floats(0.5, 20),
    calls=st.lists(st.tuples(cents, st.floats(0, 1)), max_size=60),
    workers=st.integers(1, 8),
)
def test_with_exact_usage_the_cap_is_never_exceeded_and_nothing_that_fits_is_refused(
    cap: float, calls: list[tuple[float, float]], workers: int
):
    highest = 0.0

    async def work(budget: Budget, waiting: list[tuple[float, float]]) -> None:
        nonlocal highest
        while waiting:
            most, share = waiting.pop()
            await budget.reserve(most)
            await asyncio.sleep(0)
            budget.settle(most, most * share)
            highest = max(highest, budget.spent_usd)

    async def run() -> None:
        budget, waiting = Budget(cap), list(calls)
        ends = await asyncio.gather(*(work(budget, waiting) for _ in range(workers)), return_exceptions=True)
        refused = [end for end in ends if end is not None]
        assert all(isinstance(end, BudgetReachedError) for end in refused)
        if refused:
            # A refused call would not have fitted.
            assert budget.spent_usd + max(most for most, _ in calls) > cap

    asyncio.run(run())
    assert highest <= cap + 1e-9


async def test_a_call_that_does_not_fit_waits_for_those_under_way():
    budget = Budget(1.0)
    await budget.reserve(0.8)
    second = asyncio.create_task(budget.reserve(0.8))
    await asyncio.sleep(0.01)
    assert not second.done()
    budget.settle(0.8, 0.1)
    await second
    budget.settle(0.8, 0.9)
    assert budget.spent_usd == pytest.approx(1.0)


async def test_a_call_whose_cost_is_unknown_keeps_its_reservation():
    budget = Budget(1.0)
    await budget.reserve(0.6)
    budget.settle(0.6, None)
    with pytest.raises(BudgetReachedError, match=r"\$1\.00 is reached: \$0\.6000 are spent"):
        await budget.reserve(0.6)


async def test_earlier_spending_counts():
    with pytest.raises(BudgetReachedError, match="Raise spending"):
        await Budget(1.0, spent_usd=0.95).reserve(0.1)


async def test_without_a_cap_nothing_is_refused():
    budget = Budget(None)
    await budget.reserve(1e9)
    budget.settle(1e9, 1e9)
    await budget.reserve(1e9)


def test_a_token_may_be_a_single_byte_of_a_character():
    assert PRICE.most(["語" * 1000], 1) >= PRICE.cost(3000, 1)


def test_a_budget_knows_whether_it_has_a_cap():
    assert Budget(1.0).capped
    assert not Budget(None).capped
