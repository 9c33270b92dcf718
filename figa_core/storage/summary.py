"""What a run came to, for the report and `figa status`: counts, rewards and a few pairs. Only reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from figa_core.prompts.read import reason_kind
from figa_core.records import Message, Split
from figa_core.storage.database import Database
from figa_core.storage.responses import Samples, generation_failures
from figa_core.storage.revisions import REASON_KIND
from figa_core.storage.tables import read_messages

REWARDS_SHOWN = 20_000
"""Histograms are drawn from at most so many rewards of a kind, chosen by hash."""
# What rewards are shown of; each query names both values.
_REWARDS = {
    "initial": "SELECT r.response_id AS subject_id FROM responses r "
    "JOIN run_prompts rp USING (prompt_id) JOIN prompts p USING (prompt_id) "
    "WHERE rp.run_id = $run AND p.split = 'train' AND r.generator_id = $generator",
    "revised": "SELECT pairs.revision_id AS subject_id FROM pairs JOIN revisions v USING (revision_id) "
    "WHERE pairs.run_id = $run AND pairs.kept AND v.status = 'succeeded' AND $generator != ''",
    "reference": "SELECT rp.reference_id AS subject_id FROM run_prompts rp "
    "JOIN prompts p USING (prompt_id) "
    "WHERE rp.run_id = $run AND p.split = 'train' AND $generator != ''",
}


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
    """A weighed pair with what its prompt's record holds; `reference_reward` is None without a reference."""

    pair_id: str
    messages: tuple[Message, ...]
    reference: str | None
    reference_reward: float | None


def counts(database: Database, run_id: str, generator_id: str) -> Counts:
    """Every step's count and reasons, as stored."""
    splits = dict(
        database.fetch(
            "SELECT p.split, count(*) FROM run_prompts rp JOIN prompts p USING (prompt_id) "
            "WHERE rp.run_id = $run GROUP BY 1",
            run=run_id,
        )
    )
    responses = f"SELECT count(*) FROM ({_REWARDS['initial']})"
    _, not_generated = generation_failures(database, Samples(run_id, generator_id, Split.TRAIN))
    kept, not_kept = _decided(database, run_id, "kept", "keep_reason", "true")
    admitted, not_admitted = _decided(database, run_id, "admitted", "admit_reason", "admitted IS NOT NULL")
    weighted, not_weighted = _decided(database, run_id, "weighed", "weigh_reason", "admitted")
    revised, not_revised = _revised(database, run_id)
    return Counts(
        bad_rows=_bad_rows(database, run_id),
        training_prompts=splits.get("train", 0),
        held_out_prompts=splits.get("held_out", 0),
        responses=database.value(responses, run=run_id, generator=generator_id),
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
    values = {"run": run_id, "generator": generator_id, "scorer": scorer_id, "n": REWARDS_SHOWN}
    found = {
        kind: database.fetch(
            f"SELECT s.value FROM ({subjects}) t "
            "JOIN scores s ON s.subject_id = t.subject_id AND s.scorer_id = $scorer "
            "ORDER BY hash(t.subject_id) LIMIT $n",
            **values,
        )
        for kind, subjects in _REWARDS.items()
    }
    return {kind: [value for (value,) in rows] for kind, rows in found.items()}


def spread_pairs(database: Database, run_id: str, scorer_id: str, count: int) -> list[SpreadPair]:
    """`count` weighed pairs at evenly spaced ranks of R(Ỹ) − R(Ŷ), smallest and largest included."""
    rows = database.fetch(
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
        SELECT c.revision_id, p.messages, a.text, y.value FROM chosen c
        JOIN prompts p USING (prompt_id)
        JOIN run_prompts rp ON rp.prompt_id = c.prompt_id AND rp.run_id = $run
        LEFT JOIN reference_answers a ON a.reference_id = rp.reference_id
        LEFT JOIN scores y ON y.subject_id = rp.reference_id AND y.scorer_id = $scorer
        ORDER BY c.rank""",
        run=run_id,
        scorer=scorer_id,
        count=count,
    )
    return [SpreadPair(row[0], read_messages(row[1]), row[2], row[3]) for row in rows]


def _bad_rows(database: Database, run_id: str) -> dict[str, int]:
    query = "SELECT reason, count(*) FROM bad_rows WHERE run_id = $run GROUP BY 1"
    bad: dict[str, int] = {}
    for reason, number in database.fetch(query, run=run_id):
        bad[reason_kind(reason)] = bad.get(reason_kind(reason), 0) + number
    return bad


def _decided(
    database: Database, run_id: str, flag: str, reason: str, among: str
) -> tuple[int, dict[str, int]]:
    """How many pairs have `flag`, and the others of those `among` by reason; undecided ones not at all."""
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
    reasons: dict[str, int] = {}
    for status, reason, number in rows:
        if status != "succeeded":
            text = f"{status}: {reason}" if reason else status
            reasons[text] = reasons.get(text, 0) + number
    return sum(number for status, _, number in rows if status == "succeeded"), reasons
