"""Comparisons of two models' held-out answers by a judge: what to ask, and what was found.

Each prompt is asked about twice, in both orders, as the subjects "PROMPT/1" and "PROMPT/2": the first has the
first model's answer in front. The questions are those of any judge (`judgements.py`), and their values are in
`scores` under the comparison's id: 1 if the answer in front is better, 0 if the other one is. Equal answers
are not asked about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from figa_core.evaluation.preference import Compared
from figa_core.ports import ComparisonRequest
from figa_core.records import Message, Split
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import PAGE_ROWS, Database
from figa_core.storage.judgements import Judged
from figa_core.storage.responses import Samples
from figa_core.storage.revisions import Batch
from figa_core.storage.scores import Source, unscored


@dataclass(frozen=True, slots=True)
class Contest:
    """The held-out answers of two generators in a run; `one` is the base, or what it is compared with."""

    run_id: str
    one: str
    other: str
    max_prompts: int

    @property
    def _answers(self) -> str:
        prompts = Samples(self.run_id, "", Split.HELD_OUT, max_prompts=self.max_prompts).prompts
        return f"""(SELECT c.prompt_id, c.messages, a.text AS one_text, b.text AS other_text
            FROM ({prompts}) c
            JOIN responses a ON a.prompt_id = c.prompt_id AND a.generator_id = $one AND a.sample_index = 0
            JOIN responses b ON b.prompt_id = c.prompt_id AND b.generator_id = $other AND b.sample_index = 0
            )"""

    @property
    def _values(self) -> dict[str, object]:
        return {
            "run": self.run_id,
            "one": self.one,
            "other": self.other,
            "split": Split.HELD_OUT,
            "limit": self.max_prompts,
        }

    @property
    def source(self) -> Source:
        """The questions; `text` is the answer in front, and `behind` the other one."""
        return Source(
            "compared answers",
            f"""SELECT prompt_id || '/1' AS subject_id, prompt_id, messages, one_text AS text,
                       other_text AS behind FROM {self._answers} WHERE one_text <> other_text
                UNION ALL
                SELECT prompt_id || '/2', prompt_id, messages, other_text, one_text
                FROM {self._answers} WHERE one_text <> other_text""",
            self._values,
        )

    @property
    def answers(self) -> tuple[str, dict[str, object]]:
        """SQL for the prompts that both have answered, with the answers, and its parameters."""
        return self._answers, self._values


@dataclass(frozen=True, slots=True)
class Answered:
    """A held-out prompt, its type if it has one, and the answers of both generators."""

    prompt_id: str
    messages: tuple[Message, ...]
    type: str | None
    one_text: str
    other_text: str


def answers_to(database: Database, contest: Contest, prompt_ids: Sequence[str]) -> list[Answered]:
    """The answers to these prompts, by prompt id; prompts that not both have answered are left out."""
    answers, values = contest.answers
    rows = database.fetch(
        f"""SELECT prompt_id, messages, rp.type, one_text, other_text FROM {answers}
            JOIN run_prompts rp USING (prompt_id)
            WHERE rp.run_id = $run AND prompt_id IN (SELECT unnest($wanted)) ORDER BY prompt_id""",
        **values,
        wanted=list(prompt_ids),
    )
    return [Answered(key, read_messages(messages), *rest) for key, messages, *rest in rows]


def iter_unjudged(
    database: Database, contest: Contest, comparison_id: str
) -> Iterator[list[ComparisonRequest]]:
    """The questions that have neither a value nor a failure, a page at a time."""
    source = contest.source
    query, values = unscored(source, comparison_id)
    query = f"""SELECT u.subject_id, u.messages, u.text, s.behind
                FROM ({query}) u JOIN ({source.query}) s USING (subject_id)
                WHERE u.subject_id > $after ORDER BY u.subject_id LIMIT {PAGE_ROWS}"""
    after = ""
    while page := database.fetch(query, **values, after=after):
        yield [_request(*row) for row in page]
        after = page[-1][0]


def requests(database: Database, judged: Judged, batch: Batch) -> list[ComparisonRequest]:
    """The open questions of a batch; the `subject_id` of each is the judgement's id."""
    rows = database.fetch(
        f"""SELECT judgement_id, first(t.messages), first(t.text), first(t.behind)
            FROM {judged.rows} JOIN ({judged.source.query}) t USING (subject_id)
            WHERE {judged.open} AND judgement_id BETWEEN $first AND $last GROUP BY judgement_id ORDER BY 1""",
        **judged.values,
        first=batch.first,
        last=batch.last,
    )
    return [_request(*row) for row in rows]


def compared(database: Database, contest: Contest, comparison_id: str) -> list[Compared]:
    """What the judge said about each prompt that both models have answered, by prompt id."""
    answers, values = contest.answers
    return database.records(
        Compared,
        f"""SELECT prompt_id, 1 - f.value AS behind, s.value AS in_front, one_text = other_text AS same,
                   length(one_text) AS one_characters, length(other_text) AS other_characters
            FROM {answers}
            LEFT JOIN scores f ON f.subject_id = prompt_id || '/1' AND f.scorer_id = $comparison
            LEFT JOIN scores s ON s.subject_id = prompt_id || '/2' AND s.scorer_id = $comparison
            ORDER BY prompt_id""",
        **values,
        comparison=comparison_id,
    )


def _request(subject_id: str, messages: str, first: str, second: str) -> ComparisonRequest:
    return ComparisonRequest(subject_id, read_messages(messages), first, second)
