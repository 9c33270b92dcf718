"""Why rows of a run ended as they did: how their last call ended, and the most frequent causes.

Both are SQL over rows that the caller selects, whatever an LLM was asked about them.
"""

from dataclasses import dataclass

from figa_core.llm.likeness import likeness_sql
from figa_core.records import Purpose
from figa_core.storage.database import Database

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """Rows that ended alike: an outcome or status, their number, an example and its provider's message."""

    kind: str
    rows: int
    example: str
    words: str


def last_call_sql(purpose: Purpose) -> str:
    """SQL for (id, kind, words): how the last call for each id of `waiting` ended, with its message."""
    return f"""
        SELECT subject_id AS id, arg_max(coalesce(outcome, 'no answer'), sent_at) AS kind,
               arg_max(coalesce(message, ''), sent_at) AS words
        FROM calls WHERE purpose = '{purpose}' AND subject_id IN (SELECT id FROM waiting) GROUP BY 1"""


def largest_causes(database: Database, tables: str, **values: object) -> tuple[Cause, ...]:
    """The largest groups of similar rows in `ended` (id, kind, words), which the SQL `tables` defines."""
    found = database.records(
        Cause,
        f"""WITH {tables} SELECT kind, count(*) AS rows, min(id) AS example, arg_min(words, id) AS words
            FROM ended GROUP BY kind, {likeness_sql("words")} ORDER BY rows DESC, kind LIMIT {_SHOWN}""",
        **values,
    )
    return tuple(found)
