"""Stage revise: a run's open revisions in batches, why others have no text, and what the calls cost.

A revision is open if it is pending, was sent and never answered, or failed in a way that may be tried again.
A batch is a range of revision ids, so a task run gets no rows passed to it, and a later one finds those left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from figa_core.ports import RevisionRequest
from figa_core.records import Purpose
from figa_core.storage.causes import Cause, largest_causes, last_call_sql
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import Database

REASON_KIND = r"regexp_replace(v.reason, ' \(it is [^)]*\)$', '')"
"""SQL: why a revision `v` is not usable, without the number of its row, so that rows can be counted by it."""

_OPEN = "(v.status IN ('pending', 'submitted') OR (v.status = 'failed' AND v.retryable))"
_OF_RUN = "pairs JOIN revisions v USING (revision_id) WHERE pairs.run_id = $run AND pairs.kept"
_CALLS = f"calls WHERE purpose = '{Purpose.REVISION}' AND subject_id"
_CALLS_OF_RUN = f"{_CALLS} IN (SELECT coalesce(v.corrects, v.revision_id) FROM {_OF_RUN})"
_GRADES_OF_RUN = "SELECT grade_id FROM run_grades WHERE run_id = $run"
_JUDGEMENTS_OF_RUN = "SELECT judgement_id FROM run_judgements WHERE run_id = $run"
_PAID_BY_RUN = (
    f"{_CALLS_OF_RUN} OR (purpose = '{Purpose.WORD_GRADES}' AND subject_id IN ({_GRADES_OF_RUN}))"
    f" OR (purpose = '{Purpose.JUDGEMENT}' AND subject_id IN ({_JUDGEMENTS_OF_RUN}))"
)
_PAID_BY_RUNS = _PAID_BY_RUN.replace("= $run", "IN (SELECT unnest($runs))")
_REFUSED = "(v.status = 'refused' OR (v.status = 'failed' AND NOT v.retryable))"
_IN_BATCH = "v.revision_id BETWEEN $first AND $last"
_LAST_CALL = last_call_sql(Purpose.REVISION)


@dataclass(frozen=True, slots=True)
class Batch:
    """The open rows of a run whose revision ids are from `first` to `last`, inclusive."""

    number: int
    first: str
    last: str
    rows: int


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of the calls for a run's rows, in US dollars; `estimated_usd` is the part without a usage.

    Both are None if no call had a price; `unpriced` calls had none. The tokens of unanswered calls are
    estimates.
    """

    usd: float | None
    estimated_usd: float | None
    calls: int
    unpriced: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls for a run's rows. The tokens of unanswered calls are estimates."""

    calls: int
    by_outcome: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    since_start: int
    seconds_since_start: float | None


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
    """The rows of the batch that are still open."""
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
    """The number of kept pairs of a run by the status of their revision, the most frequent first."""
    return dict(
        database.fetch(f"SELECT v.status, count(*) FROM {_OF_RUN} GROUP BY 1 ORDER BY 2 DESC", run=run_id)
    )


def open_by_kind(database: Database, run_id: str, batch: Batch | None = None) -> dict[str, int]:
    """The number of open rows by how their last call ended: an outcome, "no answer" or "not asked"."""
    rows = database.fetch(
        f"""WITH waiting AS (
                SELECT v.revision_id AS id FROM {_OF_RUN} AND {_OPEN} AND ($first IS NULL OR {_IN_BATCH})
            ), last_call AS ({_LAST_CALL})
            SELECT coalesce(kind, 'not asked'), count(*) FROM waiting LEFT JOIN last_call
            USING (id) GROUP BY 1 ORDER BY 2 DESC""",
        run=run_id,
        first=batch and batch.first,
        last=batch and batch.last,
    )
    return dict(rows)


def open_causes(database: Database, run_id: str) -> tuple[Cause, ...]:
    """The most frequent reasons why rows are open, by how their last call ended and what its message was."""
    waiting = f"SELECT v.revision_id AS id FROM {_OF_RUN} AND {_OPEN}"
    return largest_causes(database, f"waiting AS ({waiting}), ended AS ({_LAST_CALL})", run=run_id)


def refused_causes(database: Database, run_id: str) -> tuple[Cause, ...]:
    """The most frequent reasons why rows were refused for good."""
    refused = (
        f"SELECT v.revision_id AS id, v.status AS kind, coalesce(v.reason, '') AS words "
        f"FROM {_OF_RUN} AND {_REFUSED}"
    )
    return largest_causes(database, f"ended AS ({refused})", run=run_id)


def count_refused(database: Database, run_id: str) -> int:
    """How many rows of a run were refused for good."""
    return database.value(f"SELECT count(*) FROM {_OF_RUN} AND {_REFUSED}", run=run_id)


def failures(database: Database, run_id: str) -> list[dict[str, Any]]:
    """Why rows of a run have no usable revision, for a table: status, reason, number of rows, an example."""
    return database.records(
        dict,
        f"""SELECT v.status, CASE WHEN {_OPEN} THEN 'yes' ELSE 'no' END AS "asked again",
                   coalesce({REASON_KIND}, 'not asked yet') AS reason, count(*) AS rows,
                   min(v.revision_id) AS "for example"
            FROM {_OF_RUN} AND v.status NOT IN ('succeeded', 'unchanged') GROUP BY ALL
            ORDER BY rows DESC LIMIT 50""",
        run=run_id,
    )


def spent(database: Database, *run_ids: str) -> Spent:
    """What the revisions, grades and judgements of runs have cost so far, whichever run asked for them.

    What several of them share counts once. A call whose answer never arrived, or came without its usage,
    counts as the amount reserved for it.
    """
    [(usd, estimated, *counts)] = database.fetch(
        f"""SELECT sum(coalesce(cost_usd, reserved_usd)), sum(reserved_usd) FILTER (cost_usd IS NULL),
                   count(*), count(*) FILTER (coalesce(cost_usd, reserved_usd) IS NULL),
                   coalesce(sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)), 0)::BIGINT
            FROM {_PAID_BY_RUNS}""",
        runs=list(run_ids),
    )
    return Spent(usd, None if usd is None else estimated or 0.0, *counts)


def tokens_answered(database: Database, run_id: str) -> int:
    """The tokens that the reviser wrote for this run's rows, as its provider counts; 0 if it does not."""
    return database.value(
        f"""SELECT coalesce(sum(completion_tokens), 0)::BIGINT
            FROM {_CALLS_OF_RUN} AND answered_at IS NOT NULL""",
        run=run_id,
    )


def calls(database: Database, run_id: str, started_at: datetime) -> Calls:
    """The calls for this run's rows, whichever run sent them; `since_start` counts from `started_at`."""
    by_outcome = dict(
        database.fetch(
            f"SELECT coalesce(outcome, 'no answer'), count(*) FROM {_CALLS_OF_RUN} GROUP BY 1", run=run_id
        )
    )
    [figures] = database.fetch(
        f"""SELECT coalesce(sum(prompt_tokens), 0)::BIGINT, coalesce(sum(completion_tokens), 0)::BIGINT,
                   count(*) FILTER (sent_at >= $started),
                   epoch(max(answered_at) FILTER (sent_at >= $started))
                   - epoch(min(sent_at) FILTER (sent_at >= $started))
            FROM {_CALLS_OF_RUN}""",
        run=run_id,
        started=started_at,
    )
    return Calls(sum(by_outcome.values()), by_outcome, *figures)


def _request(*, messages: str, **fields: Any) -> RevisionRequest:
    return RevisionRequest(messages=read_messages(messages), **fields)
