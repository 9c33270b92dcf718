"""Stage score: which texts of a run a scorer has no value for yet, the values, and why others failed.

If a few texts cannot be scored, each failure is stored like a result; see `responses`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from figa_core.errors import StorageError
from figa_core.ports import RewardRequest, RowFailure
from figa_core.records import Message, Score, Split
from figa_core.row_failures import Failed, failure_kind
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import PAGE_ROWS, Database, as_row
from figa_core.storage.responses import IS_ALL_THOUGHT


@dataclass(frozen=True, slots=True)
class Subject:
    """A text to score, with the conversation it answers."""

    subject_id: str
    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Texts of one run to score: their name, and a query for subject_id, prompt_id, messages and text.

    `values` has the run as "run".
    """

    name: str
    query: str
    values: Mapping[str, Any]


def responses_of(run_id: str, generator_id: str, split: Split) -> Source:
    """The responses of one generator to this run's prompts of one split."""
    return Source(
        f"{split} responses",
        "SELECT r.response_id AS subject_id, p.prompt_id, p.messages, r.text FROM responses r "
        "JOIN run_prompts rp USING (prompt_id) JOIN prompts p USING (prompt_id) "
        "WHERE rp.run_id = $run AND r.generator_id = $generator AND p.split = $split",
        {"run": run_id, "generator": generator_id, "split": split},
    )


def answers_of(run_id: str, generator_id: str) -> Source:
    """The responses to this run's training prompts that have an answer, not only a thought.

    The others are never revised, so they need no reward. Among held-out responses they count as what they
    are: empty answers.
    """
    responses = responses_of(run_id, generator_id, Split.TRAIN)
    return Source(responses.name, f"{responses.query} AND NOT {IS_ALL_THOUGHT}", responses.values)


def references_of(run_id: str) -> Source:
    """The references of this run's training prompts."""
    return Source(
        "references",
        "SELECT a.reference_id AS subject_id, p.prompt_id, p.messages, a.text FROM run_prompts rp "
        "JOIN reference_answers a USING (reference_id) JOIN prompts p ON p.prompt_id = rp.prompt_id "
        "WHERE rp.run_id = $run AND p.split = 'train'",
        {"run": run_id},
    )


def kept_responses_of(run_id: str) -> Source:
    """The responses of this run's kept pairs."""
    return Source(
        "kept responses",
        "SELECT r.response_id AS subject_id, p.prompt_id, p.messages, r.text FROM pairs "
        "JOIN responses r USING (response_id) JOIN prompts p ON p.prompt_id = pairs.prompt_id "
        "WHERE pairs.run_id = $run AND pairs.kept",
        {"run": run_id},
    )


def revisions_of(run_id: str) -> Source:
    """The successful revisions of this run's kept pairs."""
    return Source(
        "revisions",
        "SELECT v.revision_id AS subject_id, p.prompt_id, p.messages, v.text FROM pairs "
        "JOIN revisions v USING (revision_id) JOIN prompts p ON p.prompt_id = pairs.prompt_id "
        "WHERE pairs.run_id = $run AND pairs.kept AND v.status = 'succeeded'",
        {"run": run_id},
    )


def iter_unscored(database: Database, source: Source, scorer_id: str) -> Iterator[list[Subject]]:
    """The texts for which this scorer has neither a value nor a failure, a page at a time."""
    query, values = unscored(source, scorer_id)
    query = f"""SELECT subject_id, messages, text FROM ({query})
                WHERE subject_id > $after ORDER BY subject_id LIMIT {PAGE_ROWS}"""
    after = ""
    while page := database.fetch(query, **values, after=after):
        yield [Subject(subject_id, read_messages(messages), text) for subject_id, messages, text in page]
        after = page[-1][0]


def iter_unrated(
    database: Database, source: Source, scorer_id: str, fields: Sequence[str]
) -> Iterator[list[RewardRequest]]:
    """As `iter_unscored`, with these fields of the prompts' rows: "reference", "type", and those imported."""
    query, values = unscored(source, scorer_id)
    query = f"""
        SELECT u.subject_id, u.messages, u.text, rp.fields, rp.type, a.text AS reference
        FROM ({query}) u LEFT JOIN run_prompts rp ON rp.run_id = $run AND rp.prompt_id = u.prompt_id
        LEFT JOIN reference_answers a ON a.reference_id = rp.reference_id
        WHERE u.subject_id > $after ORDER BY u.subject_id LIMIT {PAGE_ROWS}"""
    after = ""
    while page := database.fetch(query, **values, after=after):
        yield [rewarded(fields, *row) for row in page]
        after = page[-1][0]


def rewarded(
    wanted: Sequence[str],
    subject_id: str,
    messages: str,
    text: str,
    fields: str | None,
    kind: str | None,
    reference: str | None,
) -> RewardRequest:
    """The request of a row with these columns; `fields` are those imported, as JSON."""
    return RewardRequest(
        subject_id, read_messages(messages), text, wanted_fields(wanted, fields, kind, reference)
    )


def wanted_fields(
    wanted: Sequence[str], fields: str | None, kind: str | None, reference: str | None
) -> dict[str, Any]:
    """The fields that a reward gets of a row with these columns; None for one that it does not have."""
    known = {**json.loads(fields or "{}"), "type": kind, "reference": reference}
    return {name: known.get(name) for name in wanted}


def fields_of_prompts(
    database: Database, run_id: str, prompt_ids: Sequence[str], wanted: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By prompt id, what `iter_unrated` gives of the rows of these prompts of the run."""
    rows = database.fetch(
        """SELECT rp.prompt_id, rp.fields, rp.type, a.text FROM run_prompts rp
           LEFT JOIN reference_answers a ON a.reference_id = rp.reference_id
           WHERE rp.run_id = $run AND rp.prompt_id IN (SELECT unnest($ids))""",
        run=run_id,
        ids=list(prompt_ids),
    )
    return {prompt_id: wanted_fields(wanted, *columns) for prompt_id, *columns in rows}


def count_unscored(database: Database, source: Source, scorer_id: str) -> int:
    """How many texts `iter_unscored` gives."""
    query, values = unscored(source, scorer_id)
    return database.value(f"SELECT count(*) FROM ({query})", **values)


def save_scores(database: Database, scores: Sequence[Score]) -> int:
    """Save a batch; returns how many were new.

    Raises:
        StorageError: a value is not finite, so it cannot be compared or averaged.
    """
    odd = [s for s in scores if not math.isfinite(s.value)]
    if odd:
        raise StorageError(
            f"{len(odd)} of {len(scores)} scores are not finite numbers, such as {odd[0].value} for "
            f"{odd[0].subject_id}. Store them as failures (`save_score_failures`)."
        )
    return database.insert("scores", [as_row(score) for score in scores])


def save_score_failures(database: Database, scorer_id: str, failures: Sequence[RowFailure]) -> None:
    """Store why texts have no value of this scorer."""
    rows = [
        {"subject_id": f.row_id, "scorer_id": scorer_id, "kind": failure_kind(f.reason), "reason": f.reason}
        for f in failures
    ]
    database.insert("score_failures", rows)


def score_failures(database: Database, source: Source, scorer_id: str) -> tuple[int, list[Failed]]:
    """How many texts `source` has, and why some of them have no value of this scorer."""
    texts = database.value(f"SELECT count(*) FROM ({source.query})", **source.values)
    failed = database.records(
        Failed,
        f"""SELECT kind, count(*) AS rows, min(subject_id) AS example, arg_min(reason, subject_id) AS reason
            FROM score_failures WHERE scorer_id = $scorer
            AND subject_id IN (SELECT subject_id FROM ({source.query})) GROUP BY kind""",
        **source.values,
        scorer=scorer_id,
    )
    return texts, failed


def forget_score_failures(database: Database, source: Source, scorer_id: str) -> None:
    """Let the next run try these texts again."""
    database.execute(
        f"""DELETE FROM score_failures
            WHERE scorer_id = $scorer AND subject_id IN (SELECT subject_id FROM ({source.query}))""",
        **source.values,
        scorer=scorer_id,
    )


def unscored(source: Source, scorer_id: str) -> tuple[str, dict[str, Any]]:
    """SQL for the texts for which this scorer has neither a value nor a failure, and its parameters."""
    query = f"""
        SELECT t.subject_id, t.prompt_id, t.messages, t.text FROM ({source.query}) t
        WHERE NOT EXISTS (
            SELECT 1 FROM scores s WHERE s.subject_id = t.subject_id AND s.scorer_id = $scorer)
          AND NOT EXISTS (
            SELECT 1 FROM score_failures f WHERE f.subject_id = t.subject_id AND f.scorer_id = $scorer)"""
    return query, {**source.values, "scorer": scorer_id}
