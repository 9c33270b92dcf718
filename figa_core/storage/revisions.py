"""A run's revisions that are still open: dealt into batches, read for the reviser, and counted by why.

Open is what is pending, was sent and never answered, or failed in a way that may be tried again. A batch is
a range of revision ids, so that a task run needs no rows handed to it and a later one finds what is left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from figa_core.llm.likeness import likeness_sql
from figa_core.ports import RevisionRequest
from figa_core.records import Purpose
from figa_core.storage.database import Database
from figa_core.storage.rows import REASON_KIND, read_messages

_OPEN = "(v.status IN ('pending', 'submitted') OR (v.status = 'failed' AND v.retryable))"
_OF_RUN = "pairs JOIN revisions v USING (revision_id) WHERE pairs.run_id = $run AND pairs.kept"
_CALLS = f"(SELECT * FROM calls WHERE purpose = '{Purpose.REVISION}')"
_REFUSED = "(v.status = 'refused' OR (v.status = 'failed' AND NOT v.retryable))"
_IN_BATCH = "v.revision_id BETWEEN $first AND $last"


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
class Cause:
    """Rows that ended alike: an outcome or a status, how many, and one of them with the provider's words."""

    kind: str
    rows: int
    example: str
    words: str


def batches(database: Database, run_id: str, rows: int) -> list[Batch]:
    """The run's open rows in batches of `rows`, in the order of their ids."""
    found = database.fetch(
        f"""SELECT n, min(revision_id), max(revision_id), count(*) FROM (
                SELECT v.revision_id, (row_number() OVER (ORDER BY v.revision_id) - 1) // $rows AS n
                FROM {_OF_RUN} AND {_OPEN}) GROUP BY 1 ORDER BY 1""",
        run=run_id,
        rows=rows,
    )
    return [Batch(int(n) + 1, first, last, count) for n, first, last, count in found]


def requests(database: Database, run_id: str, batch: Batch) -> list[RevisionRequest]:
    """The batch's rows that are open now."""
    found = database.fetch(
        f"""SELECT v.revision_id, r.response_id, p.messages, r.text, a.text FROM pairs
            JOIN revisions v USING (revision_id) JOIN responses r ON r.response_id = v.response_id
            JOIN prompts p ON p.prompt_id = r.prompt_id
            LEFT JOIN reference_answers a ON a.reference_id = v.reference_id
            WHERE pairs.run_id = $run AND pairs.kept AND {_OPEN} AND {_IN_BATCH} ORDER BY v.revision_id""",
        run=run_id,
        first=batch.first,
        last=batch.last,
    )
    return [RevisionRequest(row[0], row[1], read_messages(row[2]), row[3], row[4]) for row in found]


def iter_open(database: Database, run_id: str, page_rows: int) -> Iterator[list[RevisionRequest]]:
    """All open rows of a run, a page at a time."""
    for batch in batches(database, run_id, page_rows):
        yield requests(database, run_id, batch)


def count_open(database: Database, run_id: str) -> int:
    """How many rows of a run are open."""
    return database.fetch(f"SELECT count(*) FROM {_OF_RUN} AND {_OPEN}", run=run_id)[0][0]


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
            ), last_call AS (
                SELECT subject_id AS revision_id, arg_max(coalesce(outcome, 'no answer'), sent_at) AS outcome
                FROM {_CALLS} WHERE subject_id IN (SELECT revision_id FROM waiting) GROUP BY 1
            )
            SELECT coalesce(outcome, 'not asked'), count(*) FROM waiting LEFT JOIN last_call
            USING (revision_id) GROUP BY 1 ORDER BY 2 DESC""",
        run=run_id,
        **within,
    )
    return dict(rows)


def open_causes(database: Database, run_id: str, most: int = 3) -> tuple[Cause, ...]:
    """The most frequent reasons why rows are open, by how their last call ended and what was said."""
    rows = database.fetch(
        f"""WITH waiting AS (SELECT v.revision_id FROM {_OF_RUN} AND {_OPEN}), last_call AS (
                SELECT subject_id AS revision_id, arg_max(coalesce(outcome, 'no answer'), sent_at) AS kind,
                       arg_max(coalesce(message, ''), sent_at) AS words
                FROM {_CALLS} WHERE subject_id IN (SELECT revision_id FROM waiting) GROUP BY 1
            ) {_causes("last_call", "kind")}""",
        most=most,
        run=run_id,
    )
    return tuple(Cause(*row) for row in rows)


def refused_causes(database: Database, run_id: str, most: int = 3) -> tuple[Cause, ...]:
    """The most frequent reasons why rows were refused for good."""
    rows = database.fetch(
        f"""WITH refused AS (
                SELECT v.revision_id, v.status AS kind, coalesce(v.reason, '') AS words
                FROM {_OF_RUN} AND {_REFUSED}
            ) {_causes("refused", "kind")}""",
        most=most,
        run=run_id,
    )
    return tuple(Cause(*row) for row in rows)


def count_refused(database: Database, run_id: str) -> int:
    """How many rows of a run were refused for good."""
    return database.fetch(f"SELECT count(*) FROM {_OF_RUN} AND {_REFUSED}", run=run_id)[0][0]


def _causes(table: str, kind: str) -> str:
    """SQL: the rows of `table` (revision_id, words) in groups that ended alike."""
    return (
        f"SELECT {kind}, count(*), min(revision_id), arg_min(words, revision_id) FROM {table} "
        f"GROUP BY {kind}, {likeness_sql('words')} ORDER BY 2 DESC, 1 LIMIT $most"
    )


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
