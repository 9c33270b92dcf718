"""Pairs of a run's answers by their values, and how a scorer sees the pairs of a table.

A table of pairs is a Parquet file (`figa_core/study/reward/pairs.py`): a study's pairs are no rows of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figa_core.records import RevisionStatus, Split
from figa_core.storage.database import Database
from figa_core.storage.responses import IS_ALL_THOUGHT, Samples
from figa_core.storage.scores import Source

_BEST_AND_WORST = """
    WITH rated AS (
        SELECT r.prompt_id, r.response_id, r.text, s.value,
               row_number() OVER (PARTITION BY r.prompt_id ORDER BY s.value DESC, r.response_id) AS from_best,
               row_number() OVER (PARTITION BY r.prompt_id ORDER BY s.value, r.response_id) AS from_worst
        FROM responses r JOIN run_prompts rp ON rp.run_id = $run AND rp.prompt_id = r.prompt_id
        JOIN prompts p ON p.prompt_id = r.prompt_id AND p.split = 'train'
        JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
        WHERE r.generator_id IN (SELECT unnest($generators)))
    SELECT p.messages, b.response_id, b.text, w.response_id, w.text
    FROM rated b JOIN rated w ON w.prompt_id = b.prompt_id AND w.from_worst = 1
    JOIN prompts p ON p.prompt_id = b.prompt_id
    WHERE b.from_best = 1 AND b.value > w.value AND b.text <> w.text ORDER BY b.prompt_id"""
_COUNTS = f"""
    SELECT count(*) AS candidates, count(*) FILTER (pairs.kept) AS kept,
           count(*) FILTER (pairs.kept AND v.status = '{RevisionStatus.SUCCEEDED}') AS revised,
           count(*) FILTER (pairs.admitted) AS admitted,
           count(*) FILTER (pairs.admitted AND a.value IS NOT NULL AND b.value IS NOT NULL) AS verified,
           count(*) FILTER (pairs.admitted AND a.value <= b.value) AS mistakes,
           count(*) FILTER (pairs.admitted AND a.value < b.value) AS worse,
           count(*) FILTER (NOT pairs.admitted AND a.value > b.value) AS missed
    FROM pairs LEFT JOIN revisions v ON pairs.kept AND v.revision_id = pairs.revision_id
    LEFT JOIN scores b ON b.subject_id = pairs.response_id AND b.scorer_id = $verifier
    LEFT JOIN scores a ON a.subject_id = pairs.revision_id AND a.scorer_id = $verifier
    WHERE pairs.run_id = $run"""


@dataclass(frozen=True, slots=True)
class VerifiedPairs:
    """What became of a run's candidates, and what a verifier says of its admitted pairs.

    Attributes:
        candidates: responses that the filter decided about, of which `kept` were to be revised and `revised`
            got a revision.
        admitted: pairs to train on, of which the verifier has rated `verified`, Ŷ and Ỹ.
        mistakes: of these, Ỹ is not better than Ŷ; of `worse` of them it is worse.
        missed: pairs that were not admitted although Ỹ is better.
    """

    candidates: int
    kept: int
    revised: int
    admitted: int
    verified: int
    mistakes: int
    worse: int
    missed: int


def best_and_worst(
    database: Database, run_id: str, generators: Sequence[str], scorer_id: str
) -> list[tuple[str, str, str, str, str]]:
    """Of each training prompt with answers of these generators that differ in value, the best and the worst.

    Rows of messages (as stored), response id and text of the best, and of the worst.
    """
    return database.fetch(_BEST_AND_WORST, run=run_id, generators=list(generators), scorer=scorer_id)


def answers_to_compare(run_id: str, generators: Sequence[str], max_prompts: int) -> Source:
    """The answers of these generators to the first training prompts, by id."""
    first = Samples(run_id, "", Split.TRAIN, max_prompts=max_prompts)
    query = f"""
        SELECT r.response_id AS subject_id, p.prompt_id, p.messages, r.text FROM ({first.prompts}) p
        JOIN responses r USING (prompt_id)
        WHERE r.generator_id IN (SELECT unnest($generators)) AND NOT {IS_ALL_THOUGHT}"""
    values = {name: value for name, value in first.values.items() if name != "generator"}
    return Source("answers to compare", query, {**values, "generators": list(generators)})


def texts_of(pairs: Path, run_id: str) -> Source:
    """Both answers of every pair in a table; fields of a prompt's row are those of this run."""
    sides = (
        f"SELECT {side}_id AS subject_id, prompt_id, messages, {side} AS text FROM read_parquet($pairs)"
        for side in ("chosen", "rejected")
    )
    query = " UNION ".join(f"{side} WHERE $run IS NOT NULL" for side in sides)
    return Source("answers of held-out pairs", query, {"run": run_id, "pairs": str(pairs)})


def rewards_of(database: Database, pairs: Path, scorer_id: str) -> list[tuple[float | None, float | None]]:
    """Of each pair in a table, this scorer's values of the chosen and of the rejected answer."""
    return database.fetch(
        """SELECT c.value, r.value FROM read_parquet($pairs) t
            LEFT JOIN scores c ON c.subject_id = t.chosen_id AND c.scorer_id = $scorer
            LEFT JOIN scores r ON r.subject_id = t.rejected_id AND r.scorer_id = $scorer
            ORDER BY t.pair_id""",
        pairs=str(pairs),
        scorer=scorer_id,
    )


def verified_pairs(database: Database, run_id: str, verifier: str) -> VerifiedPairs:
    """The counts of a run, by the values of this verifier."""
    [found] = database.records(VerifiedPairs, _COUNTS, run=run_id, verifier=verifier)
    return found
