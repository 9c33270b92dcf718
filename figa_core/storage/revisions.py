"""Stage revise: a run's revisions that are still open, dealt into batches, and what the calls came to.

Open is what is pending, was sent and never answered, or failed in a way that may be tried again. A batch is
a range of revision ids, so that a task run needs no rows handed to it and a later one finds what is left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from figa_core.llm.likeness import likeness_sql
from figa_core.ports import RevisionRequest
from figa_core.records import Purpose
from figa_core.storage.database import Database
from figa_core.storage.tables import read_messages

REASON_KIND = r"regexp_replace(v.reason, ' \(it is [^)]*\)$', '')"
"""SQL: why a revision `v` is not usable, less the figure of that one row: rows are counted by it."""

_OPEN = "(v.status IN ('pending', 'submitted') OR (v.status = 'failed' AND v.retryable))"
_OF_RUN = "pairs JOIN revisions v USING (revision_id) WHERE pairs.run_id = $run AND pairs.kept"
_CALLS = f"(SELECT * FROM calls WHERE purpose = '{Purpose.REVISION}')"
_REFUSED = "(v.status = 'refused' OR (v.status = 'failed' AND NOT v.retryable))"
_IN_BATCH = "v.revision_id BETWEEN $first AND $last"
# How the last call for each row of `waiting` ended, and what was said.
_LAST_CALL = f"""
    SELECT subject_id AS revision_id, arg_max(coalesce(outcome, 'no answer'), sent_at) AS kind,
           arg_max(coalesce(message, ''), sent_at) AS words
    FROM {_CALLS} WHERE subject_id IN (SELECT revision_id FROM waiting) GROUP BY 1"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Open rows of a run whose revision ids lie from `first` to `last`, both included."""

    number: int
    first: str
    last: str
    rows: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What the calls for a run's rows have cost, in US dollars; `estimated` of it without a usage to go by.

    Both are None where no call had a price.
    """

    usd: float | None
    estimated_usd: float | None
    calls: int


@dataclass(frozen=True, slots=True)
class Calls:
    """What the reviser was asked for this run's rows. Tokens of unanswered calls are estimates."""

    calls: int
    by_outcome: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    since_start: int
    seconds_since_start: float | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Rows that ended alike: an outcome or a status, how many, and one of them with the provider's words."""

    kind: str
    rows: int
    example: str
    words: str


def batches(database: Database, run_id: str, rows: int) -> list[Batch]:
    """The run's open rows in batches of `rows`, in the order of their ids."""
    return database.records(
        Batch,
        f"""SELECT n + 1 AS number, min(revision_id) AS first, max(revision_id) AS last, count(*) AS rows
            FROM (SELECT v.revision_id, (row_number() OVER (ORDER BY v.revision_id) - 1) // $rows AS n
                  FROM {_OF_RUN} AND {_OPEN}) GROUP BY n ORDER BY n""",
        run=run_id,
        rows=rows,
    )


def requests(database: Database, run_id: str, batch: Batch) -> list[RevisionRequest]:
    """The batch's rows that are open now."""
    return database.records(
        _request,
        f"""SELECT v.revision_id, r.response_id, p.messages, r.text AS response, a.text AS reference
            FROM pairs JOIN revisions v USING (revision_id) JOIN responses r ON r.response_id = v.response_id
            JOIN prompts p ON p.prompt_id = r.prompt_id
            LEFT JOIN reference_answers a ON a.reference_id = v.reference_id
            WHERE pairs.run_id = $run AND pairs.kept AND {_OPEN} AND {_IN_BATCH} ORDER BY v.revision_id""",
        run=run_id,
        first=batch.first,
        last=batch.last,
    )


def iter_open(database: Database, run_id: str, page_rows: int) -> Iterator[list[RevisionRequest]]:
    """All open rows of a run, a page at a time."""
    for batch in batches(database, run_id, page_rows):
        yield requests(database, run_id, batch)


def count_open(database: Database, run_id: str) -> int:
    """How many rows of a run are open."""
    return database.value(f"SELECT count(*) FROM {_OF_RUN} AND {_OPEN}", run=run_id)


def statuses(database: Database, run_id: str) -> dict[str, int]:
    """Kept pairs of a run by the status of their revision, the most frequent first."""
    return dict(
        database.fetch(f"SELECT v.status, count(*) FROM {_OF_RUN} GROUP BY 1 ORDER BY 2 DESC", run=run_id)
    )


def open_by_kind(database: Database, run_id: str, batch: Batch | None = None) -> dict[str, int]:
    """Open rows by how their last call ended: an outcome, "no answer" or "not asked"."""
    within: Mapping[str, Any] = {} if batch is None else {"first": batch.first, "last": batch.last}
    rows = database.fetch(
        f"""WITH waiting AS (
                SELECT v.revision_id FROM {_OF_RUN} AND {_OPEN} {"" if batch is None else f"AND {_IN_BATCH}"}
            ), last_call AS ({_LAST_CALL})
            SELECT coalesce(kind, 'not asked'), count(*) FROM waiting LEFT JOIN last_call
            USING (revision_id) GROUP BY 1 ORDER BY 2 DESC""",
        run=run_id,
        **within,
    )
    return dict(rows)


def open_causes(database: Database, run_id: str, most: int = 3) -> tuple[Cause, ...]:
    """The most frequent reasons why rows are open, by how their last call ended and what was said."""
    waiting = f"SELECT v.revision_id FROM {_OF_RUN} AND {_OPEN}"
    return _causes(database, run_id, f"waiting AS ({waiting}), ended AS ({_LAST_CALL})", most)


def refused_causes(database: Database, run_id: str, most: int = 3) -> tuple[Cause, ...]:
    """The most frequent reasons why rows were refused for good."""
    refused = (
        f"SELECT v.revision_id, v.status AS kind, coalesce(v.reason, '') AS words "
        f"FROM {_OF_RUN} AND {_REFUSED}"
    )
    return _causes(database, run_id, f"ended AS ({refused})", most)


def count_refused(database: Database, run_id: str) -> int:
    """How many rows of a run were refused for good."""
    return database.value(f"SELECT count(*) FROM {_OF_RUN} AND {_REFUSED}", run=run_id)


def failures(database: Database, run_id: str) -> list[dict[str, Any]]:
    """Why rows of a run have no usable revision: status, reason without its figures, rows, an example."""
    rows = database.fetch(
        f"""SELECT v.status, v.retryable, coalesce({REASON_KIND}, 'not asked yet') AS reason,
                   count(*) AS rows, min(v.revision_id)
            FROM {_OF_RUN} AND v.status NOT IN ('succeeded', 'unchanged') GROUP BY ALL
            ORDER BY rows DESC LIMIT 50""",
        run=run_id,
    )
    return [
        {"status": status, "asked again": "yes" if retryable or status in ("pending", "submitted") else "no",
         "reason": reason, "rows": count, "for example": example}
        for status, retryable, reason, count, example in rows
    ]  # fmt: skip


def spent(database: Database, run_id: str) -> Spent:
    """What this run's rows have cost so far, whichever run asked for them.

    A call whose answer never arrived, or came without its usage, counts as what was reserved for it.
    """
    row = database.fetch(
        f"""SELECT sum(coalesce(c.cost_usd, c.reserved_usd)),
                   sum(c.reserved_usd) FILTER (c.cost_usd IS NULL), count(*)
            FROM {_CALLS} c WHERE c.subject_id IN (SELECT v.revision_id FROM {_OF_RUN})""",
        run=run_id,
    )[0]
    usd, estimated, calls = row
    return Spent(usd, None if usd is None else estimated or 0.0, calls)


def calls(database: Database, run_id: str, started_at: datetime) -> Calls:
    """Calls for the rows of this run, whoever sent them; `since_start` counts those after `started_at`."""
    rows = database.records(
        _Answers,
        f"""SELECT coalesce(c.outcome, 'no answer') AS outcome, count(*) AS calls,
                  coalesce(sum(c.prompt_tokens), 0) AS prompt_tokens,
                  coalesce(sum(c.completion_tokens), 0) AS completion_tokens,
                  count(*) FILTER (c.sent_at >= $started) AS since_start,
                  epoch(min(c.sent_at) FILTER (c.sent_at >= $started)) AS first_sent_at,
                  epoch(max(c.answered_at) FILTER (c.sent_at >= $started)) AS last_answered_at
           FROM {_CALLS} c WHERE c.subject_id IN
           (SELECT revision_id FROM pairs WHERE run_id = $run AND revision_id IS NOT NULL) GROUP BY 1""",
        run=run_id,
        started=started_at,
    )
    ends = [row.last_answered_at for row in rows if row.last_answered_at is not None]
    begins = [row.first_sent_at for row in rows if row.first_sent_at is not None]
    return Calls(
        calls=sum(row.calls for row in rows),
        by_outcome={row.outcome: row.calls for row in rows},
        prompt_tokens=int(sum(row.prompt_tokens for row in rows)),
        completion_tokens=int(sum(row.completion_tokens for row in rows)),
        since_start=sum(row.since_start for row in rows),
        seconds_since_start=max(ends) - min(begins) if ends and begins else None,
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """The calls that ended with one outcome; times in seconds since 1970, of calls since the start."""

    outcome: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    since_start: int
    first_sent_at: float | None
    last_answered_at: float | None


def _request(*, messages: str, **fields: Any) -> RevisionRequest:
    return RevisionRequest(messages=read_messages(messages), **fields)


def _causes(database: Database, run_id: str, tables: str, most: int) -> tuple[Cause, ...]:
    """The most frequent groups of the rows of `ended` (revision_id, kind, words) that ended alike."""
    found = database.records(
        Cause,
        f"""WITH {tables} SELECT kind, count(*) AS rows, min(revision_id) AS example,
                arg_min(words, revision_id) AS words FROM ended
            GROUP BY kind, {likeness_sql("words")} ORDER BY rows DESC, kind LIMIT $most""",
        run=run_id,
        most=most,
    )
    return tuple(found)
