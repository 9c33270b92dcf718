"""Stage evaluate: the scores of a model's samples on one split, and their means."""

from dataclasses import dataclass

from figa_core.storage.database import Database, as_row
from figa_core.storage.responses import Samples


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model's mean of one metric on held-out prompts.

    `standard_error` is None for n < 2; `left_out` counts the prompts without a value.
    """

    run_id: str
    label: str
    metric: str
    generator_id: str
    scorer_id: str
    n: int
    mean: float
    standard_error: float | None
    left_out: int = 0


def save_evaluation(database: Database, evaluation: Evaluation) -> None:
    """Save a mean; it replaces the one of the same run, label and metric."""
    database.insert("evaluations", [as_row(evaluation)], replace=True)


def evaluations_of(database: Database, run_id: str) -> list[Evaluation]:
    """The evaluations of this run, by label and metric."""
    query = "SELECT * FROM evaluations WHERE run_id = $run ORDER BY label, metric"
    return database.records(Evaluation, query, run=run_id)


def prompt_values(database: Database, samples: Samples, scorer_id: str) -> dict[str, float]:
    """Prompt id → this scorer's value of sample 0."""
    rows = database.fetch(
        f"""WITH chosen AS ({samples.prompts})
            SELECT r.prompt_id, s.value FROM chosen JOIN responses r USING (prompt_id)
            JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
            WHERE r.generator_id = $generator AND r.sample_index = 0 ORDER BY r.prompt_id""",
        **samples.values,
        scorer=scorer_id,
    )
    return dict(rows)


def response_shapes(database: Database, samples: Samples) -> list[tuple[str, int, float]]:
    """Prompt id, tokens of sample 0, and the entropy of these tokens in bits."""
    return database.fetch(
        f"""WITH chosen AS ({samples.prompts})
            SELECT r.prompt_id, len(r.token_ids), coalesce(list_aggregate(r.token_ids, 'entropy'), 0)
            FROM chosen JOIN responses r USING (prompt_id)
            WHERE r.generator_id = $generator AND r.sample_index = 0 ORDER BY r.prompt_id""",
        **samples.values,
    )


def without_value(database: Database, samples: Samples, scorer_id: str) -> dict[str, int]:
    """How many prompts have no value of this scorer for sample 0, by reason."""
    rows = database.fetch(
        f"""WITH chosen AS ({samples.prompts})
            SELECT coalesce(sf.kind, gf.kind, 'not asked yet') AS kind, count(*) FROM chosen c
            LEFT JOIN responses r
              ON r.prompt_id = c.prompt_id AND r.generator_id = $generator AND r.sample_index = 0
            LEFT JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
            LEFT JOIN score_failures sf ON sf.subject_id = r.response_id AND sf.scorer_id = $scorer
            LEFT JOIN generation_failures gf
              ON gf.prompt_id = c.prompt_id AND gf.generator_id = $generator AND gf.sample_index = 0
            WHERE s.value IS NULL GROUP BY 1 ORDER BY 2 DESC, 1""",
        **samples.values,
        scorer=scorer_id,
    )
    return dict(rows)


def same_responses(database: Database, run_id: str, one: str, other: str) -> tuple[int, int]:
    """How many responses of two generators to the same held-out prompts are equal, and how many there are."""
    [counts] = database.fetch(
        "SELECT count(*) FILTER (a.text = b.text), count(*) FROM responses a "
        "JOIN responses b ON b.prompt_id = a.prompt_id AND b.sample_index = a.sample_index "
        "JOIN run_prompts rp ON rp.prompt_id = a.prompt_id AND rp.run_id = $run "
        "JOIN prompts p ON p.prompt_id = a.prompt_id AND p.split = 'held_out' "
        "WHERE a.generator_id = $one AND b.generator_id = $other",
        run=run_id,
        one=one,
        other=other,
    )
    return counts
