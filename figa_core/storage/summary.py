"""The results of a run, for the report and `figa status`: counts, rewards and example pairs. Only reads."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from figa_core.prompts.read import reason_kind
from figa_core.records import Message, Split
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import Database
from figa_core.storage.responses import Samples, generation_failures
from figa_core.storage.revisions import REASON_KIND
from figa_core.storage.scores import (
    answers_of,
    references_of,
    responses_of,
    revisions_of,
    score_failures,
)

REWARDS_SHOWN = 20_000
"""Histograms are drawn from at most this many rewards of each kind, chosen by hash."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows reached each step of a run, and why the others did not (reason → rows)."""

    bad_rows: Mapping[str, int]
    training_prompts: int
    held_out_prompts: int
    responses: int
    not_generated: Mapping[str, int]
    kept: int
    not_kept: Mapping[str, int]
    revised: int
    not_revised: Mapping[str, int]
    admitted: int
    not_admitted: Mapping[str, int]
    weighted: int
    not_weighted: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SpreadPair:
    """A weighed pair with its conversation, and its reference and type of prompt, if it has them."""

    pair_id: str
    messages: tuple[Message, ...]
    reference: str | None
    reference_reward: float | None
    type: str | None


def counts(database: Database, run_id: str, generator_id: str) -> Counts:
    """The stored counts and reasons of every step."""
    splits = dict(
        database.fetch(
            "SELECT p.split, count(*) FROM run_prompts rp JOIN prompts p USING (prompt_id) "
            "WHERE rp.run_id = $run GROUP BY 1",
            run=run_id,
        )
    )
    responses = responses_of(run_id, generator_id, Split.TRAIN)
    _, not_generated = generation_failures(database, Samples(run_id, generator_id, Split.TRAIN))
    kept, not_kept = _decided(database, run_id, "kept", "keep_reason", "true")
    admitted, not_admitted = _decided(database, run_id, "admitted", "admit_reason", "admitted IS NOT NULL")
    weighted, not_weighted = _decided(database, run_id, "weighed", "weigh_reason", "admitted")
    revised, not_revised = _revised(database, run_id)
    return Counts(
        bad_rows=_bad_rows(database, run_id),
        training_prompts=splits.get("train", 0),
        held_out_prompts=splits.get("held_out", 0),
        responses=database.value(f"SELECT count(*) FROM ({responses.query})", **responses.values),
        not_generated={f.kind: f.rows for f in not_generated},
        kept=kept,
        not_kept=not_kept,
        revised=revised,
        not_revised=not_revised,
        admitted=admitted,
        not_admitted=not_admitted,
        weighted=weighted,
        not_weighted=not_weighted,
    )


def rewards(database: Database, run_id: str, generator_id: str, scorer_id: str) -> dict[str, list[float]]:
    """Raw rewards by kind, "initial", "revised" and "reference": at most `REWARDS_SHOWN` of each."""
    sources = {
        "initial": answers_of(run_id, generator_id),
        "revised": revisions_of(run_id),
        "reference": references_of(run_id),
    }
    found = {
        kind: database.fetch(
            f"SELECT s.value FROM ({source.query}) t "
            "JOIN scores s ON s.subject_id = t.subject_id AND s.scorer_id = $scorer "
            "ORDER BY hash(t.subject_id) LIMIT $n",
            **source.values,
            scorer=scorer_id,
            n=REWARDS_SHOWN,
        )
        for kind, source in sources.items()
    }
    return {kind: [value for (value,) in rows] for kind, rows in found.items()}


def reward_values(
    database: Database, run_id: str, generator_id: str, scorer_id: str
) -> tuple[int, float | None, float | None, dict[str, int]]:
    """Of the run's responses by one scorer: how many have a value, mean and standard deviation of the values,
    and how many have none, by reason."""
    source = answers_of(run_id, generator_id)
    [(count, mean, deviation)] = database.fetch(
        f"""SELECT count(*), avg(s.value), stddev_pop(s.value) FROM ({source.query}) t
            JOIN scores s ON s.subject_id = t.subject_id AND s.scorer_id = $scorer""",
        **source.values,
        scorer=scorer_id,
    )
    _, failed = score_failures(database, source, scorer_id)
    return count, mean, deviation, {each.kind: each.rows for each in failed}


def spread_pairs(database: Database, run_id: str, scorer_id: str, count: int) -> list[SpreadPair]:
    """`count` weighed pairs at evenly spaced ranks of R(Ỹ) − R(Ŷ), the smallest and largest included."""
    return database.records(
        _spread_pair,
        """
        WITH ranked AS (
            SELECT pairs.revision_id, pairs.prompt_id, row_number() OVER w - 1 AS rank, count(*) OVER () AS n
            FROM pairs
            JOIN scores before ON before.subject_id = pairs.response_id AND before.scorer_id = $scorer
            JOIN scores after ON after.subject_id = pairs.revision_id AND after.scorer_id = $scorer
            WHERE pairs.run_id = $run AND pairs.weighed
            WINDOW w AS (ORDER BY after.value - before.value, pairs.revision_id)
        ), chosen AS (
            SELECT DISTINCT r.revision_id, r.prompt_id, r.rank FROM ranked r, range($count) i(k)
            WHERE r.rank = round(i.k * (r.n - 1) / greatest($count - 1, 1))
        )
        SELECT c.revision_id AS pair_id, p.messages, a.text AS reference, y.value AS reference_reward,
               rp.type
        FROM chosen c
        JOIN prompts p USING (prompt_id)
        JOIN run_prompts rp ON rp.prompt_id = c.prompt_id AND rp.run_id = $run
        LEFT JOIN reference_answers a ON a.reference_id = rp.reference_id
        LEFT JOIN scores y ON y.subject_id = rp.reference_id AND y.scorer_id = $scorer
        ORDER BY c.rank""",
        run=run_id,
        scorer=scorer_id,
        count=count,
    )


def reference_rewards(database: Database, run_id: str, scorer_id: str) -> dict[str, float]:
    """The rewards of the references of a run's weighed pairs, by pair id; one without a value is left out."""
    return dict(
        database.fetch(
            """SELECT pairs.revision_id, y.value FROM pairs
            JOIN run_prompts rp ON rp.prompt_id = pairs.prompt_id AND rp.run_id = pairs.run_id
            JOIN scores y ON y.subject_id = rp.reference_id AND y.scorer_id = $scorer
            WHERE pairs.run_id = $run AND pairs.weighed""",
            run=run_id,
            scorer=scorer_id,
        )
    )


def _spread_pair(*, messages: str, **fields: Any) -> SpreadPair:
    return SpreadPair(messages=read_messages(messages), **fields)


def _bad_rows(database: Database, run_id: str) -> Counter[str]:
    query = "SELECT reason, count(*) FROM bad_rows WHERE run_id = $run GROUP BY 1"
    kinds: Counter[str] = Counter()
    for reason, rows in database.fetch(query, run=run_id):
        kinds[reason_kind(reason)] += rows
    return kinds


def _decided(
    database: Database, run_id: str, flag: str, reason: str, among: str
) -> tuple[int, dict[str, int]]:
    """How many of the pairs `among` have `flag`, and the others by reason; undecided pairs do not count."""
    rows = database.fetch(
        f"SELECT {flag}, {reason}, count(*) FROM pairs "
        f"WHERE run_id = $run AND {among} AND {flag} IS NOT NULL GROUP BY 1, 2",
        run=run_id,
    )
    accepted = sum(number for decided, _, number in rows if decided)
    return accepted, {why: number for decided, why, number in rows if not decided}


def _revised(database: Database, run_id: str) -> tuple[int, dict[str, int]]:
    """How many kept pairs have a revision, and the others by status and reason."""
    rows = database.fetch(
        f"SELECT v.status, {REASON_KIND}, count(*) FROM pairs JOIN revisions v USING (revision_id) "
        "WHERE pairs.run_id = $run AND pairs.kept GROUP BY 1, 2",
        run=run_id,
    )
    reasons: Counter[str] = Counter()
    for status, reason, number in rows:
        reasons[f"{status}: {reason}" if reason and status != "succeeded" else status] += number
    return reasons.pop("succeeded", 0), reasons
