"""The cost of calls, and the end of the budget."""

import pytest

from figa_core.errors import BudgetReachedError
from figa_core.llm.budget import Budget, Price
from figa_core.llm.calls import CallSent
from figa_core.records import Revision
from figa_core.revision.reviser import LLMReviser
from tests.figa_core.llm.misbehaving import REVISED
from tests.figa_core.llm.runs import Runner, make_rows

PRICE = Price(usd_per_million_prompt_tokens=100.0, usd_per_million_completion_tokens=1000.0)


EACH = 100 * 100e-6 + 20 * 1000e-6  # the usage that the misbehaving server states


async def test_every_call_is_journalled_with_what_was_reserved_and_what_it_cost(server, runner: Runner):
    server.in_turn(server.error(500), server.completion(REVISED, usage=None))
    await runner.revise(make_rows(3), price=PRICE, max_concurrency=1)
    sent = [record for record in runner.records() if isinstance(record, CallSent)]
    assert [answer.cost_usd for answer in runner.answers()] == [
        0.0,
        None,
        pytest.approx(EACH),
        pytest.approx(EACH),
    ]
    assert all(call.reserved_usd is not None and call.reserved_usd > EACH for call in sent)


async def test_at_the_end_of_the_budget_no_more_is_sent_and_no_answer_is_lost(server, runner: Runner):
    cap = 3.0
    settled: list[Revision] = []

    async def collect(reviser: LLMReviser) -> None:
        async for revision in reviser.revise(make_rows(1000)):
            settled.append(revision)  # noqa: PERF401 (an error ends it, and what came before counts)

    async with runner.reviser(price=PRICE, budget=Budget(cap)) as reviser:
        with pytest.raises(BudgetReachedError):
            await collect(reviser)
    answers = runner.answers()
    spent = sum(answer.cost_usd or 0.0 for answer in answers)
    most = max(r.reserved_usd or 0.0 for r in runner.records() if isinstance(r, CallSent))
    assert cap - most < spent <= cap
    assert len(settled) == len(answers) == len(server.received)
