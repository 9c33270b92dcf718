"""What a run came to, for the report and `figa status`: counts, distributions and a few rows. Only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from figa_core.errors import InputError
from figa_core.findings import shortened
from figa_core.prompts.read import reason_kind
from figa_core.records import Message, Split
from figa_core.storage.database import Database
from figa_core.storage.failures import generation_failures
from figa_core.storage.rows import REASON_KIND, read_messages

REWARDS_SHOWN = 20_000
"""Histograms are drawn from at most so many rewards of a kind, chosen by hash."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of `runs`. `config` is the run's whole configuration, `settings` what the run found out."""

    run_id: str
    name: str
    status: str
    message: str | None
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    started_at: datetime
    ended_at: datetime | None


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
class EvaluationRow:
    """One model's mean of one metric on held-out prompts; `standard_error` is None for n < 2, and `left_out`
    counts prompts without a value.
    """

    label: str
    metric: str
    generator_id: str
    scorer_id: str
    n: int
    mean: float
    standard_error: float | None
    left_out: int = 0


def runs(database: Database, limit: int = 20) -> list[RunRow]:
    """The latest runs first."""
    rows = database.fetch(f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY started_at DESC LIMIT $n", n=limit)
    return [_run(row) for row in rows]


def run(database: Database, run_id: str | None = None) -> RunRow:
    """The run with this id or the beginning of one; without an id, the latest.

    Raises:
        InputError: there is none, or the beginning fits several.
    """
    rows = database.fetch(
        f"SELECT {_RUN_COLUMNS} FROM runs WHERE $run IS NULL OR starts_with(run_id, $run) "
        "ORDER BY started_at DESC LIMIT 2",
        run=run_id,
    )
    named = shortened(repr(run_id), _ID_SHOWN)
    if not rows:
        wanted = f"no run {named}" if run_id else "no run yet"
        raise InputError(f"{database.path}: {wanted}. `figa status` lists the runs of a workspace.")
    if run_id and len(rows) > 1:
        raise InputError(f"{database.path}: several runs begin with {named}. Give more of the id.")
    return _run(rows[0])


def counts(database: Database, run_id: str, generator_id: str) -> Counts:
    """Every step's count and reasons, as stored."""
    bad: dict[str, int] = {}
    for reason, number in database.fetch(
        "SELECT reason, count(*) FROM bad_rows WHERE run_id = $run GROUP BY 1", run=run_id
    ):
        bad[reason_kind(reason)] = bad.get(reason_kind(reason), 0) + number
    splits = dict(
        database.fetch(
            "SELECT p.split, count(*) FROM run_prompts rp JOIN prompts p USING (prompt_id) "
            "WHERE rp.run_id = $run GROUP BY 1",
            run=run_id,
        )
    )
    responses = database.fetch(
        "SELECT count(*) FROM responses r JOIN run_prompts rp USING (prompt_id) "
        "JOIN prompts p USING (prompt_id) "
        "WHERE rp.run_id = $run AND p.split = 'train' AND r.generator_id = $generator",
        run=run_id,
        generator=generator_id,
    )[0][0]
    _, not_generated = generation_failures(database, run_id, generator_id, Split.TRAIN)
    kept, not_kept = _decided(database, run_id, "kept", "keep_reason", "true")
    admitted, not_admitted = _decided(database, run_id, "admitted", "admit_reason", "admitted IS NOT NULL")
    weighted, not_weighted = _decided(database, run_id, "weighed", "weigh_reason", "admitted")
    revised = {
        (status, reason): number
        for status, reason, number in database.fetch(
            f"SELECT v.status, {REASON_KIND}, count(*) FROM pairs JOIN revisions v USING (revision_id) "
            "WHERE pairs.run_id = $run AND pairs.kept GROUP BY 1, 2",
            run=run_id,
        )
    }
    return Counts(
        bad_rows=bad,
        training_prompts=splits.get("train", 0),
        held_out_prompts=splits.get("held_out", 0),
        responses=responses,
        not_generated={f.kind: f.rows for f in not_generated},
        kept=kept,
        not_kept=not_kept,
        revised=sum(number for (status, _), number in revised.items() if status == "succeeded"),
        not_revised=_not_revised(revised),
        admitted=admitted,
        not_admitted=not_admitted,
        weighted=weighted,
        not_weighted=not_weighted,
    )


def rewards(database: Database, run_id: str, generator_id: str, scorer_id: str) -> dict[str, list[float]]:
    """Raw rewards by kind, "initial", "revised" and "reference": at most `REWARDS_SHOWN` of each."""
    sources = {
        "initial": "SELECT r.response_id AS subject_id FROM responses r "
        "JOIN run_prompts rp USING (prompt_id) "
        "JOIN prompts p USING (prompt_id) "
        "WHERE rp.run_id = $run AND p.split = 'train' AND r.generator_id = $generator",
        "revised": "SELECT pairs.revision_id AS subject_id FROM pairs JOIN revisions v USING (revision_id) "
        "WHERE pairs.run_id = $run AND pairs.kept AND v.status = 'succeeded' AND $generator != ''",
        "reference": "SELECT rp.reference_id AS subject_id FROM run_prompts rp "
        "JOIN prompts p USING (prompt_id) "
        "WHERE rp.run_id = $run AND p.split = 'train' AND $generator != ''",
    }
    return {
        kind: [
            value
            for (value,) in database.fetch(
                f"SELECT s.value FROM ({source}) t "
                "JOIN scores s ON s.subject_id = t.subject_id AND s.scorer_id = $scorer "
                "ORDER BY hash(t.subject_id) LIMIT $n",
                run=run_id,
                generator=generator_id,
                scorer=scorer_id,
                n=REWARDS_SHOWN,
            )
        ]
        for kind, source in sources.items()
    }


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


def calls(database: Database, run_id: str, started_at: datetime) -> Calls:
    """Calls for the rows of this run, whoever sent them; `since_start` counts those after `started_at`."""
    rows = database.fetch(
        "SELECT coalesce(c.outcome, 'no answer'), count(*), sum(c.prompt_tokens), "
        "sum(coalesce(c.completion_tokens, 0)), count(*) FILTER (c.sent_at >= $started), "
        "epoch(max(c.answered_at) FILTER (c.sent_at >= $started)), "
        "epoch(min(c.sent_at) FILTER (c.sent_at >= $started)) "
        "FROM calls c WHERE c.purpose = 'revision' AND c.subject_id IN "
        "(SELECT revision_id FROM pairs WHERE run_id = $run AND revision_id IS NOT NULL) GROUP BY 1",
        run=run_id,
        started=started_at,
    )
    ends = [row[5] for row in rows if row[5] is not None]
    begins = [row[6] for row in rows if row[6] is not None]
    return Calls(
        calls=sum(row[1] for row in rows),
        by_outcome={row[0]: row[1] for row in rows},
        prompt_tokens=int(sum(row[2] or 0 for row in rows)),
        completion_tokens=int(sum(row[3] or 0 for row in rows)),
        since_start=sum(row[4] for row in rows),
        seconds_since_start=max(ends) - min(begins) if ends and begins else None,
    )


def evaluations(database: Database, run_id: str) -> list[EvaluationRow]:
    """What the evaluate stage stored for this run."""
    rows = database.fetch(
        "SELECT label, metric, generator_id, scorer_id, n, mean, standard_error, coalesce(left_out, 0) "
        "FROM evaluations WHERE run_id = $run ORDER BY label, metric",
        run=run_id,
    )
    return [EvaluationRow(*row) for row in rows]


def same_responses(database: Database, run_id: str, one: str, other: str) -> tuple[int, int]:
    """How many responses of two generators to the same held-out prompts are equal, and of how many."""
    rows = database.fetch(
        "SELECT count(*) FILTER (a.text = b.text), count(*) FROM responses a "
        "JOIN responses b ON b.prompt_id = a.prompt_id AND b.sample_index = a.sample_index "
        "JOIN run_prompts rp ON rp.prompt_id = a.prompt_id AND rp.run_id = $run "
        "JOIN prompts p ON p.prompt_id = a.prompt_id AND p.split = 'held_out' "
        "WHERE a.generator_id = $one AND b.generator_id = $other",
        run=run_id,
        one=one,
        other=other,
    )
    return rows[0]


_ID_SHOWN = 80
_RUN_COLUMNS = "run_id, name, status, message, config, settings, started_at, ended_at"


def _run(row: Sequence[Any]) -> RunRow:
    run_id, name, status, message, config, settings, started_at, ended_at = row
    return RunRow(
        run_id, name, status, message, orjson.loads(config), orjson.loads(settings), started_at, ended_at
    )


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


def _not_revised(revised: Mapping[tuple[str, str | None], int]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for (status, reason), number in revised.items():
        if status != "succeeded":
            text = f"{status}: {reason}" if reason else status
            reasons[text] = reasons.get(text, 0) + number
    return reasons
