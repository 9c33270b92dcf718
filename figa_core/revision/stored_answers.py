"""Answers that are stored already, judged by the settings of another run. Pure; nobody is asked.

Runs that differ in `max_edit_share` or `asked_again_max` have revisions of their own, made from answers to
the same questions.
"""

from figa_core.records import Revision, RevisionStatus, StoredAnswer
from figa_core.revision.validation import READS_AS_REFUSAL, REWRITE, judge_edit

_ASKED_AGAIN_BEFORE = 1  # where no number is stored with a revision


def judge_anew(answer: StoredAnswer, *, max_edit_share: float, asked_again_max: int) -> Revision | None:
    """What the answer makes of the row; None if the row may ask again more often than the earlier one did."""
    status, reason = answer.status, answer.reason
    if answer.text is not None and _hangs_on_the_edit(status, reason or ""):
        status, reason = judge_edit(answer.draft, answer.text.strip(), answer.reference, max_edit_share)
    asked = _ASKED_AGAIN_BEFORE if answer.asked_again_max is None else answer.asked_again_max
    if status is RevisionStatus.REJECTED and asked_again_max > asked:
        return None
    return Revision(
        answer.revision_id, answer.response_id, status, answer.text, reason, attempts=answer.attempts
    )


def _hangs_on_the_edit(status: RevisionStatus, reason: str) -> bool:
    """Whether all rules but the last, the one about the edit, let the answer pass."""
    return status is RevisionStatus.SUCCEEDED or reason.startswith((REWRITE, READS_AS_REFUSAL))
