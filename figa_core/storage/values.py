"""How the final values of what an LLM was asked for are stored, by purpose. `intake` uses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from figa_core.llm.calls import MARK_DIGITS
from figa_core.records import (
    GradeStatus,
    Judgement,
    JudgementStatus,
    Purpose,
    Revision,
    RevisionStatus,
    WordGrades,
)
from figa_core.storage.database import Row, as_row


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Where values of one purpose are stored. The statements read rows from a table named `incoming`.

    Attributes:
        row: makes a row, with a `subject_id`, of subject, value and mark (`calls.CallAnswered`); raises
            ValueError if the value is invalid.
        known: a query for the `subject_id`s that the database has.
        submit: marks rows as asked for; it may read only `subject_id` from `incoming`.
        store: stores values; must change nothing if the same value comes again.
    """

    row: Callable[[str, Mapping[str, Any], str | None], Row]
    known: str
    submit: str
    store: str


def _revision_row(subject_id: str, value: Mapping[str, Any], mark: str | None) -> Row:
    revision = Revision.of(value)
    types = {"text": str | None, "reason": str | None, "retryable": bool, "attempts": int}
    if wrong := [name for name, kind in types.items() if not isinstance(getattr(revision, name), kind)]:
        raise ValueError(f"no revision: wrong type of {', '.join(wrong)}")
    return as_row(revision, subject_id=subject_id, mark=mark)


REVISIONS = ValueTable(
    _revision_row,
    known="SELECT revision_id AS subject_id FROM revisions",
    submit=f"""
        UPDATE revisions SET status = '{RevisionStatus.SUBMITTED}'
        FROM (SELECT DISTINCT subject_id FROM incoming) i
        WHERE revisions.revision_id = i.subject_id AND revisions.status = '{RevisionStatus.PENDING}'""",
    # A row that has its revision keeps it: a value that is read again is older. A value for a draft that
    # another draft has replaced is not stored.
    store=f"""
        UPDATE revisions SET status = i.status, text = i.text, reason = i.reason, retryable = i.retryable,
            attempts = i.attempts
        FROM incoming i WHERE revisions.revision_id = i.subject_id
        AND revisions.status NOT IN ('{RevisionStatus.SUCCEEDED}', '{RevisionStatus.UNCHANGED}')
        AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.response_id = revisions.response_id
            AND i.mark IS NOT NULL AND i.mark <> left(sha256(r.text), {MARK_DIGITS}))""",
)


def _word_grades_row(subject_id: str, value: Mapping[str, Any], _mark: str | None) -> Row:
    grades = as_row(WordGrades.of(value), subject_id=subject_id)
    return {**grades, "scores": grades["scores"] and list(grades["scores"])}


WORD_GRADES = ValueTable(
    _word_grades_row,
    known="SELECT grade_id AS subject_id FROM word_grades",
    submit=f"""
        UPDATE word_grades SET status = '{GradeStatus.SUBMITTED}'
        FROM (SELECT DISTINCT subject_id FROM incoming) i
        WHERE word_grades.grade_id = i.subject_id AND word_grades.status = '{GradeStatus.PENDING}'""",
    # The id says what was asked, so any answer is for this row; scores that are there stay.
    store=f"""
        UPDATE word_grades SET status = i.status, scores = i.scores::INTEGER[], reason = i.reason,
            retryable = i.retryable, attempts = i.attempts
        FROM incoming i WHERE word_grades.grade_id = i.subject_id
        AND word_grades.status <> '{GradeStatus.GRADED}'""",
)


def _judgement_row(subject_id: str, value: Mapping[str, Any], _mark: str | None) -> Row:
    return as_row(Judgement.of(value), subject_id=subject_id)


JUDGEMENTS = ValueTable(
    _judgement_row,
    known="SELECT judgement_id AS subject_id FROM judgements",
    submit=f"""
        UPDATE judgements SET status = '{JudgementStatus.SUBMITTED}'
        FROM (SELECT DISTINCT subject_id FROM incoming) i
        WHERE judgements.judgement_id = i.subject_id AND judgements.status = '{JudgementStatus.PENDING}'""",
    # The id says what was asked, so any answer is for this row; a score that is there stays.
    store=f"""
        UPDATE judgements SET status = i.status, score = i.score::DOUBLE, reason = i.reason,
            retryable = i.retryable, attempts = i.attempts
        FROM incoming i WHERE judgements.judgement_id = i.subject_id
        AND judgements.status <> '{JudgementStatus.JUDGED}'""",
)

VALUE_TABLES: Mapping[str, ValueTable] = {
    Purpose.REVISION: REVISIONS,
    Purpose.WORD_GRADES: WORD_GRADES,
    Purpose.JUDGEMENT: JUDGEMENTS,
}
