"""Stored answers, judged by the settings of another run. Pure; nothing is asked.

Runs that differ only in `max_edit_share` or `asked_again_max` have different revisions, made from answers to
the same questions.
"""

from figa_core.records import Revision, RevisionStatus, StoredAnswer
from figa_core.revision.validation import READS_AS_REFUSAL, REWRITE, judge_edit

_ASKED_AGAIN_BEFORE = 1  # if no number is stored with a revision


def judge_anew(answer: StoredAnswer, *, max_edit_share: float, asked_again_max: int) -> Revision | None:
    """The row's new state; None if its answer may be asked for again more often than before."""
    status, reason = answer.status, answer.reason
    # Whether the answer passed all rules but the last, the one about the edit.
    edit_decides = status is RevisionStatus.SUCCEEDED or (reason or "").startswith(
        (REWRITE, READS_AS_REFUSAL)
    )
    if answer.text is not None and edit_decides:
        status, reason = judge_edit(answer.draft, answer.text.strip(), answer.reference, max_edit_share)
    asked = _ASKED_AGAIN_BEFORE if answer.asked_again_max is None else answer.asked_again_max
    if status is RevisionStatus.REJECTED and asked_again_max > asked:
        return None
    return Revision(
        answer.revision_id, answer.response_id, status, answer.text, reason, attempts=answer.attempts
    )
