"""The revise stage when the reviser misbehaves: no row is lost, and a later run asks for what is open."""

from typing import Any

import pytest

from figa_core.config import AdmissionConfig, ModelPrice, SpendingConfig
from figa_core.errors import NothingToDoError, OpenRevisionsError, ReviserError
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault
from figa_core.storage import revisions, summary
from tasks.filter import admit
from tasks.revise import revise
from tasks.revised import check_open_rows
from tasks.score import score_revisions

NOBODY = "http://127.0.0.1:9/v1"


async def test_a_reviser_that_is_down_stops_the_run_and_a_later_run_asks_for_every_row(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    down = make_chain(NOBODY)
    down.up_to_scores()
    kept = down.filter()
    with pytest.raises(ReviserError, match=r"127\.0\.0\.1:9"):
        await revise(down.workspace, down.run_id, down.sections)
    store = down.workspace.store
    assert revisions.count_open(store.database, down.run_id) == kept

    up = make_chain(teacher.base_url)  # another address is the same work
    result = await revise(up.workspace, up.run_id, up.sections)

    assert result.result.n_in == kept == teacher.requests()
    assert revisions.count_open(store.database, up.run_id) == 0


async def test_answers_that_are_no_revision_are_rejected_and_admit_says_so(
    make_chain: Any,
) -> None:
    with TeacherProcess(faults={TeacherFault.LENGTH: 1.0}) as teacher:
        chain = make_chain(teacher.base_url)
        chain.up_to_scores()
        kept = chain.filter()
        result = await revise(chain.workspace, chain.run_id, chain.sections)

    assert result.result.n_out == 0
    assert result.result.reasons == {"rejected": kept}
    score_revisions.fn(chain.workspace, chain.run_id, chain.reward)
    with pytest.raises(NothingToDoError, match="'rejected'"):
        admit.fn(chain.workspace, chain.run_id, AdmissionConfig(), chain.scorer)
    counts = summary.counts(chain.workspace.store.database, chain.run_id, chain.generator)
    assert sum(counts.not_revised.values()) == kept
    assert all(reason.startswith("rejected: ") for reason in counts.not_revised)


async def test_a_row_whose_call_failed_for_now_is_asked_again_by_the_next_run(make_chain: Any) -> None:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=5) as teacher:
        chain = make_chain(teacher.base_url)
        chain.revision = chain.revision.model_copy(update={"max_attempts": 1})
        chain.up_to_scores()
        kept = chain.filter()
        first = await revise(chain.workspace, chain.run_id, chain.sections)
        failed = first.result.reasons.get("failed", 0)
        assert 0 < failed < kept
        before = teacher.requests()

        await revise(chain.workspace, chain.run_id, chain.sections)

        assert teacher.requests() == before + failed


def _spending(budget_usd: float | None) -> SpendingConfig:
    price = ModelPrice(usd_per_million_prompt_tokens=100.0, usd_per_million_completion_tokens=400.0)
    return SpendingConfig(budget_usd=budget_usd, prices={"sandbox-teacher": price})


async def test_at_the_cap_the_rest_stays_pending_and_a_higher_cap_goes_on(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    kept = chain.filter()
    database = chain.workspace.store.database
    chain.revision = chain.revision.model_copy(update={"max_tokens": 64})
    chain.spending = _spending(0.5)

    first = await revise(chain.workspace, chain.run_id, chain.sections)

    spent = revisions.spent(database, chain.run_id)
    assert first.stopped_by is not None
    assert 0.25 < (spent.usd or 0.0) <= 0.5
    assert spent.estimated_usd == 0.0  # the teacher states its usage
    assert first.open_by_kind == {"not asked": kept - teacher.requests()}
    assert 0 < teacher.requests() < kept
    with pytest.raises(OpenRevisionsError, match=r"budget of \$0\.50 is reached"):
        check_open_rows(first, 0.0)
    check_open_rows(first, 1.0)

    asked = teacher.requests()
    again = await revise(chain.workspace, chain.run_id, chain.sections)
    assert again.open_rows == first.open_rows  # what is spent stays spent
    assert teacher.requests() == asked

    chain.spending = _spending(100.0)
    last = await revise(chain.workspace, chain.run_id, chain.sections)
    assert (last.open_rows, last.stopped_by) == (0, None)
    assert teacher.requests() == kept


async def test_what_calls_cost_is_stored_and_agrees_with_the_usage(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    chain.filter()
    chain.spending = _spending(None)
    await revise(chain.workspace, chain.run_id, chain.sections)
    with chain.workspace.store.database.open() as connection:
        rows = connection.execute(
            "SELECT prompt_tokens, completion_tokens, cost_usd, reserved_usd, estimated FROM calls"
        ).fetchall()
    assert len(rows) == teacher.requests()
    for prompt, completion, cost, reserved, estimated in rows:
        assert cost == pytest.approx((prompt * 100 + completion * 400) * 1e-6)
        assert cost <= reserved
        assert not estimated


async def test_rows_that_stay_open_are_counted_by_kind_and_tolerated_up_to_a_share(
    make_chain: Any,
) -> None:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=5) as teacher:
        chain = make_chain(teacher.base_url)
        chain.revision = chain.revision.model_copy(update={"max_attempts": 1})
        chain.up_to_scores()
        kept = chain.filter()
        revised = await revise(chain.workspace, chain.run_id, chain.sections)
    assert set(revised.open_by_kind) == {"server_error"}
    assert 0 < revised.open_rows < kept
    with pytest.raises(OpenRevisionsError, match=r"server_error.*figa retry-revisions"):
        check_open_rows(revised, 0.0)
    check_open_rows(revised, revised.open_rows / kept)
    reasons = revisions.failures(chain.workspace.store.database, chain.run_id)
    assert sum(row["rows"] for row in reasons if row["asked again"] == "yes") == revised.open_rows
