"""Stage generate: which samples of a run are missing, the samples that were drawn, and why others failed.

If a few samples fail, each failure is stored like a result, and the sample is not tried again. If too many
fail, the stage ends with an error and forgets the failures: after their common cause is fixed, the same
command tries them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from figa_core.records import Message, Response, Split
from figa_core.row_failures import Failed, failure_kind
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import PAGE_ROWS, Database, as_row

ALL_THOUGHT = "the response is all thought, without an answer (raise generation.max_tokens)"
IS_ALL_THOUGHT = "(r.thought IS NOT NULL AND r.text = '')"
"""SQL: whether a row `r` of responses is a thought without an answer."""
_DRAWN_BY = "generator_id = $generator"


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one generator: `per_prompt` for each prompt of one split of a run.

    `max_prompts`: only the first prompts, by id.
    """

    run_id: str
    generator_id: str
    split: Split
    per_prompt: int = 1
    max_prompts: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the queries."""
        values = {"run": self.run_id, "generator": self.generator_id, "split": self.split}
        return values if self.max_prompts is None else {**values, "limit": self.max_prompts}

    @property
    def prompts(self) -> str:
        """SQL: the prompts (prompt_id, messages) that nobody has excluded."""
        limit = "" if self.max_prompts is None else " LIMIT $limit"
        return f"""SELECT p.prompt_id, p.messages FROM run_prompts rp JOIN prompts p USING (prompt_id)
            WHERE rp.run_id = $run AND p.split = $split
              AND p.prompt_id NOT IN (SELECT subject_id FROM exclusions)
            ORDER BY p.prompt_id{limit}"""

    @property
    def prompt_ids(self) -> str:
        """SQL: the ids of the prompts."""
        return f"SELECT prompt_id FROM ({self.prompts})"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample still to be drawn."""

    prompt_id: str
    messages: tuple[Message, ...]
    sample_index: int


def chosen_prompts(database: Database, samples: Samples) -> list[str]:
    """The ids of the prompts of these samples, in order."""
    values = {name: value for name, value in samples.values.items() if name != "generator"}
    return sorted(prompt_id for (prompt_id,) in database.fetch(samples.prompt_ids, **values))


def iter_prompts(database: Database, samples: Samples) -> Iterator[list[tuple[str, tuple[Message, ...]]]]:
    """The prompts of these samples with their ids, a page at a time, in order."""
    values = {name: value for name, value in samples.values.items() if name != "generator"}
    query = f"""SELECT * FROM ({samples.prompts}) WHERE prompt_id > $after
        ORDER BY prompt_id LIMIT {PAGE_ROWS}"""
    after = ""
    while page := database.fetch(query, **values, after=after):
        yield [(prompt_id, read_messages(text)) for prompt_id, text in page]
        after = page[-1][0]


def tokens_drawn(database: Database, samples: Samples) -> tuple[int, int]:
    """How many of these samples were drawn, and their tokens."""
    [found] = database.fetch(
        f"SELECT count(*), "
        "coalesce(sum(len(token_ids) + coalesce(len(thought_ids), 0)), 0)::BIGINT FROM responses "
        f"WHERE {_DRAWN_BY} AND prompt_id IN ({samples.prompt_ids})",
        **samples.values,
    )
    return found


@dataclass(frozen=True, slots=True)
class ThoughtCounts:
    """How many responses there are, how many begin with a thought, and how many are nothing else."""

    responses: int
    with_thought: int
    all_thought: int


def count_thoughts(database: Database, run_id: str, generator_id: str) -> ThoughtCounts:
    """The counts over a run's responses of one generator, of both splits."""
    [found] = database.fetch(
        f"""SELECT count(*), count(thought), count(*) FILTER {IS_ALL_THOUGHT}
           FROM responses r JOIN run_prompts USING (prompt_id)
           WHERE run_id = $run AND generator_id = $generator""",
        run=run_id,
        generator=generator_id,
    )
    return ThoughtCounts(*found)


def iter_answers(database: Database, samples: Samples) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Prompt id, text and token ids of sample 0 of each prompt that has one, in the order of the prompts."""
    for prompt_id, text, token_ids in database.fetch(
        f"SELECT prompt_id, text, token_ids FROM responses WHERE {_DRAWN_BY} AND sample_index = 0 "
        f"AND prompt_id IN ({samples.prompt_ids}) ORDER BY prompt_id",
        **samples.values,
    ):
        yield prompt_id, text, tuple(token_ids)


def unsplit_ids(database: Database, samples: Samples) -> Iterator[tuple[int, ...]]:
    """The token ids of the responses that have no thought of their own: they do not think, or are of an
    earlier version, which left thoughts in the text."""
    for (ids,) in database.fetch(
        f"SELECT token_ids FROM responses WHERE {_DRAWN_BY} AND thought IS NULL AND sample_index = 0 "
        f"AND prompt_id IN ({samples.prompt_ids})",
        **samples.values,
    ):
        yield tuple(ids)


def count_split(database: Database, samples: Samples) -> int:
    """How many responses have a thought that is kept apart from the answer."""
    return database.value(
        f"SELECT count(thought) FROM responses WHERE {_DRAWN_BY} AND sample_index = 0 "
        f"AND prompt_id IN ({samples.prompt_ids})",
        **samples.values,
    )


def iter_missing_samples(database: Database, samples: Samples) -> Iterator[list[Sample]]:
    """The samples that were neither drawn nor failed, a page at a time."""
    query = f"""
        SELECT prompt_id, messages, sample_index FROM ({_missing(samples)})
        WHERE (prompt_id, sample_index) > ($after, $after_index)
        ORDER BY prompt_id, sample_index LIMIT {PAGE_ROWS}"""
    after, index = "", -1
    while page := database.fetch(query, **samples.values, after=after, after_index=index):
        yield [Sample(prompt_id, read_messages(text), index) for prompt_id, text, index in page]
        after, _, index = page[-1]


def count_missing_samples(database: Database, samples: Samples) -> int:
    """How many samples `iter_missing_samples` gives."""
    return database.value(f"SELECT count(*) FROM ({_missing(samples)})", **samples.values)


def save_responses(database: Database, generator_id: str, responses: Sequence[Response]) -> int:
    """Save a batch; returns how many were new."""
    return database.insert("responses", [as_row(r, generator_id=generator_id) for r in responses])


def save_generation_failures(
    database: Database, generator_id: str, failures: Sequence[tuple[str, int, str]]
) -> None:
    """Store why samples could not be drawn: (prompt id, sample index, reason)."""
    rows = [
        {
            "prompt_id": prompt_id,
            "generator_id": generator_id,
            "sample_index": index,
            "kind": failure_kind(reason),
            "reason": reason,
        }
        for prompt_id, index, reason in failures
    ]
    database.insert("generation_failures", rows)


def generation_failures(database: Database, samples: Samples) -> tuple[int, list[Failed]]:
    """How many samples of these prompts were drawn or failed, and why some failed."""
    drawn = database.value(
        f"SELECT count(*) FROM responses WHERE {_DRAWN_BY} AND prompt_id IN ({samples.prompt_ids})",
        **samples.values,
    )
    failed = database.records(
        Failed,
        f"""SELECT kind, count(*) AS rows, min(prompt_id) AS example, arg_min(reason, prompt_id) AS reason
            FROM generation_failures WHERE {_DRAWN_BY} AND prompt_id IN ({samples.prompt_ids})
            GROUP BY kind""",
        **samples.values,
    )
    return drawn + sum(f.rows for f in failed), failed


def forget_generation_failures(database: Database, samples: Samples) -> None:
    """Let the next run try these samples again."""
    database.execute(
        f"DELETE FROM generation_failures WHERE {_DRAWN_BY} AND prompt_id IN ({samples.prompt_ids})",
        **samples.values,
    )


def _missing(samples: Samples) -> str:
    return f"""
        SELECT c.prompt_id, c.messages, s.i::INTEGER AS sample_index
        FROM ({samples.prompts}) c CROSS JOIN range({samples.per_prompt}) s(i)
        WHERE NOT EXISTS (SELECT 1 FROM responses r WHERE r.prompt_id = c.prompt_id
                          AND r.generator_id = $generator AND r.sample_index = s.i)
          AND NOT EXISTS (SELECT 1 FROM generation_failures f WHERE f.prompt_id = c.prompt_id
                          AND f.generator_id = $generator AND f.sample_index = s.i)"""
