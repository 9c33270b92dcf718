"""Stage score, several rewards as one: their scales, and the values of the combined scorer.

A text with a value of every part gets one; a text for which a part has failed gets that failure. The others
wait. The scales are stored once and never change, so that a text's value is the same whenever it is computed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from figa_core.filtering import most_frequent_first
from figa_core.rewards.combination import Scale, Term
from figa_core.storage.database import Database, as_row
from figa_core.storage.scores import Source

_SCALES = "SELECT part_id, mean, deviation, n FROM reward_scales WHERE scorer_id = $scorer ORDER BY part_id"


@dataclass(frozen=True, slots=True)
class Combined:
    """Counts of texts: those that got a value now, those that failed by reason, and those that wait."""

    valued: int
    failed: dict[str, int] = field(default_factory=dict)
    waiting: int = 0


def scales_of(database: Database, scorer_id: str) -> list[Scale]:
    """The stored scales of a combined scorer; none before `fix_scales`."""
    return database.records(Scale, _SCALES, scorer=scorer_id)


def fix_scales(database: Database, source: Source, scorer_id: str, parts: Sequence[str]) -> list[Scale]:
    """Store the scale of each part over the texts of `source`, unless they are stored; returns them.

    A part without any value has none. Then nothing is stored, nor if a scale is not finite.
    """
    stored = scales_of(database, scorer_id)
    if len(stored) == len(parts):
        return stored
    found = database.records(
        Scale,
        f"""SELECT s.scorer_id AS part_id, avg(s.value) AS mean, stddev_pop(s.value) AS deviation,
                   count(*) AS n
            FROM ({source.query}) t JOIN scores s USING (subject_id)
            WHERE s.scorer_id IN (SELECT unnest($parts)) GROUP BY 1 ORDER BY 1""",
        **source.values,
        parts=list(parts),
    )
    if len(found) == len(parts) and all(scale.is_finite for scale in found):
        rows = [as_row(scale, scorer_id=scorer_id) for scale in found]
        database.insert("reward_scales", rows, replace=True)
    return found


def combine(database: Database, source: Source, scorer_id: str, terms: Sequence[Term]) -> Combined:
    """Store the values of the texts of `source` that have none yet; `terms` in the order of their sum."""
    values = {**source.values, "scorer": scorer_id, **_parameters(terms)}
    joined, parts = _joined(source, len(terms)), range(len(terms))
    total = " + ".join(f"$factor{i} * (s{i}.value - $mean{i})" for i in parts)
    whole = " AND ".join(f"s{i}.value IS NOT NULL" for i in parts)
    failed = " OR ".join(f"f{i}.kind IS NOT NULL" for i in parts)
    with database.transaction() as connection:

        def result(statement: str) -> list[Any]:
            used = {name: value for name, value in values.items() if re.search(rf"\${name}\b", statement)}
            return connection.execute(statement, used).fetchall()

        [(valued,)] = result(f"INSERT INTO scores SELECT t.subject_id, $scorer, {total} {joined} AND {whole}")
        kinds = result(
            f"""INSERT INTO score_failures SELECT t.subject_id, $scorer, {_first("kind", parts)},
                {_first("reason", parts)} {joined} AND ({failed}) RETURNING kind"""
        )
        [(waiting,)] = result(f"SELECT count(*) {joined}")
    return Combined(valued, most_frequent_first(Counter(kind for (kind,) in kinds)), waiting)


def _joined(source: Source, parts: int) -> str:
    """FROM and WHERE of the texts without a value or failure, with those of each part if there are any."""
    joins = " ".join(
        f"LEFT JOIN scores s{i} ON s{i}.subject_id = t.subject_id AND s{i}.scorer_id = $part{i} "
        f"LEFT JOIN score_failures f{i} ON f{i}.subject_id = t.subject_id AND f{i}.scorer_id = $part{i}"
        for i in range(parts)
    )
    return f"""FROM (SELECT DISTINCT subject_id FROM ({source.query})) t {joins}
        WHERE NOT EXISTS (
            SELECT 1 FROM scores s WHERE s.subject_id = t.subject_id AND s.scorer_id = $scorer)
          AND NOT EXISTS (
            SELECT 1 FROM score_failures f WHERE f.subject_id = t.subject_id AND f.scorer_id = $scorer)"""


def _first(column: str, parts: Iterable[int]) -> str:
    """The first part's failure, with its name."""
    each = ", ".join(f"$name{i} || ': ' || f{i}.{column}" for i in parts)
    return f"coalesce({each})"


def _parameters(terms: Sequence[Term]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, term in enumerate(terms):
        found |= {f"factor{i}": term.factor, f"mean{i}": term.mean, f"part{i}": term.part_id}
        found[f"name{i}"] = term.name
    return found
