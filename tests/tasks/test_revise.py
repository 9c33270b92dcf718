"""The revise stage when the reviser misbehaves: no row is lost, and a later run asks for what is open."""

from typing import Any

import pytest

from figa_core.config import AdmissionConfig
from figa_core.errors import NothingToDoError, ReviserError
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault
from figa_core.storage import summary
from tasks.filter import admit
from tasks.revise import revise
from tasks.score import score_revisions

NOBODY = "http://127.0.0.1:9/v1"


async def test_a_reviser_that_is_down_stops_the_run_and_a_later_run_asks_for_every_row(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    down = make_chain(NOBODY)
    down.up_to_scores()
    kept = down.filter()
    with pytest.raises(ReviserError, match=r"127\.0\.0\.1:9"):
        await revise.fn(down.workspace, down.run_id, down.revision)
    store = down.workspace.store
    assert store.count_unsettled_revisions(down.run_id) == kept

    up = make_chain(teacher.base_url)  # another address is the same work
    result = await revise.fn(up.workspace, up.run_id, up.revision)

    assert result.n_in == kept == teacher.requests()
    assert store.count_unsettled_revisions(up.run_id) == 0


async def test_answers_that_are_no_revision_are_rejected_and_admit_says_so(
    make_chain: Any,
) -> None:
    with TeacherProcess(faults={TeacherFault.LENGTH: 1.0}) as teacher:
        chain = make_chain(teacher.base_url)
        chain.up_to_scores()
        kept = chain.filter()
        result = await revise.fn(chain.workspace, chain.run_id, chain.revision)

    assert result.n_out == 0
    assert result.reasons == {"rejected": kept}
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
        first = await revise.fn(chain.workspace, chain.run_id, chain.revision)
        failed = first.reasons.get("failed", 0)
        assert 0 < failed < kept
        before = teacher.requests()

        await revise.fn(chain.workspace, chain.run_id, chain.revision)

        assert teacher.requests() == before + failed
