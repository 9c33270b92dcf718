"""Stored answers under other limits."""

import dataclasses

import pytest

from figa_core.records import Revision, RevisionStatus, StoredAnswer
from figa_core.revision.stored_answers import judge_anew
from figa_core.revision.validation import READS_AS_REFUSAL, REWRITE

DRAFT = "One two three four five six seven eight nine ten.\n"
HALF = "One two three four five and then some other words.\n"  # half of its words are edited
APOLOGY = "I'm sorry, but I cannot help you with any of this today.\n"
STORED = StoredAnswer("row", "response", DRAFT, None, RevisionStatus.SUCCEEDED, HALF, None, 2, None)
REJECTED = dataclasses.replace(STORED, status=RevisionStatus.REJECTED, reason=f"{REWRITE} 0.2 (it is 0.50)")


@pytest.mark.parametrize("stored", [STORED, REJECTED])
@pytest.mark.parametrize(("limit", "status"), [(0.9, "succeeded"), (0.3, "rejected")])
def test_the_edit_is_judged_by_the_new_limit(stored: StoredAnswer, limit: float, status: str) -> None:
    found = judge_anew(stored, max_edit_share=limit, asked_again_max=1)
    assert found is not None
    assert found == Revision("row", "response", RevisionStatus(status), HALF, found.reason, attempts=2)
    assert (found.reason is None) == (status == "succeeded")
    assert found.reason is None or found.reason.startswith(f"{REWRITE} 0.3 (it is 0.")


def test_an_answer_that_reads_as_a_refusal_is_one_only_above_the_limit() -> None:
    stored = dataclasses.replace(
        STORED, status=RevisionStatus.REFUSED, text=APOLOGY, reason=f"{READS_AS_REFUSAL} …"
    )
    below, above = (judge_anew(stored, max_edit_share=m, asked_again_max=1) for m in (0.1, 1.0))
    assert below is not None
    assert below.status is RevisionStatus.REFUSED
    assert above is not None
    assert above.status is RevisionStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        (RevisionStatus.UNCHANGED, "the reviser found nothing to change", DRAFT),
        (RevisionStatus.REJECTED, "the answer is empty", None),
        (RevisionStatus.REJECTED, "the answer begins with a preamble ('Sure')", HALF),
        (RevisionStatus.REJECTED, f"{REWRITE} 0.2 (it is 0.50); asked for another answer, …", None),
        (RevisionStatus.REFUSED, "the reviser refused: content filter", None),
        (RevisionStatus.FAILED, "context_too_long: …", None),
    ],
)
def test_a_status_that_no_limit_decided_stays(status: RevisionStatus, reason: str, text: str | None) -> None:
    stored = dataclasses.replace(STORED, status=status, reason=reason, text=text)
    found = judge_anew(stored, max_edit_share=1.0, asked_again_max=1)
    assert found == Revision("row", "response", status, text, reason, attempts=2)


@pytest.mark.parametrize(
    ("asked", "again", "open_"), [(None, 1, False), (None, 2, True), (0, 1, True), (2, 1, False)]
)
def test_an_unfit_answer_is_asked_for_again_only_if_more_often_than_before(
    asked: int | None, again: int, open_: bool
) -> None:
    stored = dataclasses.replace(REJECTED, asked_again_max=asked)
    assert (judge_anew(stored, max_edit_share=0.3, asked_again_max=again) is None) == open_
    assert judge_anew(stored, max_edit_share=0.9, asked_again_max=again) is not None
