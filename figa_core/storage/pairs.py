"""Stages filter and admit: which responses are revised (filter), which revisions are kept (admit).

Both stream: DuckDB returns the rows a page at a time, and the decisions go into a temporary table, which
DuckDB moves to disk when it is large. After the last page, one transaction stores them all: a run that is
killed before keeps its former decisions. The file stays open, because a page looked up by its key would cost
a scan of three tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb

from figa_core import ids
from figa_core.filtering import Candidate
from figa_core.processes.interruptible import interruptible
from figa_core.records import Decision, RevisionStatus
from figa_core.storage.database import PAGE_ROWS, Database, Row, as_row, query_rows
from figa_core.storage.responses import ALL_THOUGHT, IS_ALL_THOUGHT

# Without the limit DuckDB keeps every block it has read. A transaction needs about 0.3 kB of memory for each
# row it changes, and would fail under the limit.
_LIMIT, _NO_LIMIT = "SET memory_limit = '512MB'", "RESET memory_limit"
_WAITS = "it waits for its score"  # of a judge; the reference must not count as missing
_CANDIDATES = f"""
    SELECT r.response_id, r.prompt_id, CASE WHEN NOT {IS_ALL_THOUGHT} THEN s.value END AS response_reward,
           y.value AS reference_reward,
           CASE WHEN {IS_ALL_THOUGHT} THEN '{ALL_THOUGHT}' ELSE sf.kind END AS response_failure,
           coalesce(yf.kind, CASE WHEN rp.reference_id IS NOT NULL AND y.value IS NULL THEN '{_WAITS}' END)
               AS reference_failure, rp.reference_id
    FROM responses r
    JOIN run_prompts rp USING (prompt_id) JOIN prompts p USING (prompt_id)
    LEFT JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
    LEFT JOIN score_failures sf ON sf.subject_id = r.response_id AND sf.scorer_id = $scorer
    LEFT JOIN scores y ON y.subject_id = rp.reference_id AND y.scorer_id = $scorer
    LEFT JOIN score_failures yf ON yf.subject_id = rp.reference_id AND yf.scorer_id = $scorer
    WHERE rp.run_id = $run AND r.generator_id = $generator AND p.split = 'train'
      AND (s.value IS NOT NULL OR sf.kind IS NOT NULL OR {IS_ALL_THOUGHT})
      AND r.response_id NOT IN (SELECT subject_id FROM exclusions)
      AND r.prompt_id NOT IN (SELECT subject_id FROM exclusions)
    ORDER BY r.prompt_id, r.response_id"""
_ADMISSIBLE = """
    SELECT pairs.response_id, before.value AS response_reward, after.value AS revision_reward,
           coalesce(af.kind, bf.kind) AS failure
    FROM pairs JOIN revisions v USING (revision_id)
    LEFT JOIN scores before ON before.subject_id = pairs.response_id AND before.scorer_id = $scorer
    LEFT JOIN score_failures bf ON bf.subject_id = pairs.response_id AND bf.scorer_id = $scorer
    LEFT JOIN scores after ON after.subject_id = v.revision_id AND after.scorer_id = $scorer
    LEFT JOIN score_failures af ON af.subject_id = v.revision_id AND af.scorer_id = $scorer
    WHERE pairs.run_id = $run AND pairs.kept AND v.status = 'succeeded'
      AND (before.value IS NOT NULL OR bf.kind IS NOT NULL)
      AND (after.value IS NOT NULL OR af.kind IS NOT NULL)"""

# A single statement for all rows would need memory for all of them at once.
_ROWS_AT_ONCE = 50_000
_PART = "decided.rowid >= $first AND decided.rowid < $last"
_CREATE_DECIDED = """
    CREATE TEMP TABLE decided (
        response_id TEXT, prompt_id TEXT, accepted BOOLEAN, reason TEXT,
        revision_id TEXT, reference_id TEXT, question_id TEXT)"""
_DECIDE = "INSERT INTO decided BY NAME SELECT * FROM incoming"
_CORRECT = """
    UPDATE decided SET revision_id = c.correction_id FROM corrections c
    WHERE decided.revision_id = c.revision_id"""
_NEW_REVISIONS = f"""
    INSERT INTO revisions
        (revision_id, response_id, reference_id, model, status, question_id, asked_again_max)
    SELECT revision_id, response_id, reference_id, $model, '{RevisionStatus.PENDING}', question_id, $asked
    FROM decided
    WHERE accepted AND {_PART} ON CONFLICT DO NOTHING"""
# The decisions of later stages about a pair hold while its revision is the same.
_REPLACE_PAIRS = f"""
    INSERT INTO pairs (run_id, response_id, prompt_id, kept, keep_reason, revision_id, scorer_id)
    SELECT $run, response_id, prompt_id, accepted, reason, revision_id, $scorer FROM decided
    WHERE {_PART} ON CONFLICT (run_id, response_id) DO UPDATE SET
        kept = excluded.kept, keep_reason = excluded.keep_reason, scorer_id = excluded.scorer_id,
        admitted = CASE WHEN revision_id IS NOT DISTINCT FROM excluded.revision_id THEN admitted END,
        admit_reason = CASE WHEN revision_id IS NOT DISTINCT FROM excluded.revision_id THEN admit_reason END,
        weighed = CASE WHEN revision_id IS NOT DISTINCT FROM excluded.revision_id THEN weighed END,
        weigh_reason = CASE WHEN revision_id IS NOT DISTINCT FROM excluded.revision_id THEN weigh_reason END,
        revision_id = excluded.revision_id"""
_FORGET_PAIRS = (
    "DELETE FROM pairs WHERE run_id = $run AND response_id NOT IN (SELECT response_id FROM decided)"
)
_ADMIT_PAIRS = """
    UPDATE pairs SET admitted = d.accepted, admit_reason = d.reason FROM decided d
    WHERE pairs.run_id = $run AND pairs.response_id = d.response_id"""


@dataclass(frozen=True, slots=True)
class Admissible:
    """A successful revision with both rewards, for the guard; `failure` is why one of them is missing."""

    response_id: str
    response_reward: float | None
    revision_reward: float | None
    failure: str | None = None


# Decide a page of rows, by response id.
Keep = Callable[[Sequence[Candidate]], Mapping[str, Decision]]
Admit = Callable[[Sequence[Admissible]], Mapping[str, Decision]]


@dataclass(frozen=True, slots=True)
class RevisionRecipe:
    """What determines a revision besides the response and its reference.

    `templates` is keyed by "has a reference". `settings` holds those settings that decide how an answer is
    judged and are not at their defaults; `asked_again_max` may be among them, and is stored separately too.
    """

    model: str
    temperature: float | None
    max_tokens: int
    templates: Mapping[bool, str]
    asked_again_max: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    def revision_id(self, response_id: str, reference_id: str | None) -> str:
        """The id of the revision of this response."""
        return self._id(response_id, reference_id, self.settings)

    def question_id(self, response_id: str, reference_id: str | None) -> str | None:
        """The id of the same revision at the default settings; None if it is the revision's id."""
        return self._id(response_id, reference_id, {}) if self.settings else None

    def _id(self, response_id: str, reference_id: str | None, settings: Mapping[str, object]) -> str:
        return ids.revision_id(
            response=response_id,
            reference=reference_id,
            template=self.templates[reference_id is not None],
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            settings=settings,
        )


@dataclass(frozen=True, slots=True)
class RunScores:
    """Selects the candidates of one run and generator, with the rewards of one scorer."""

    run_id: str
    generator_id: str
    scorer_id: str

    def values(self) -> dict[str, str]:
        """The parameters of the queries."""
        return {"run": self.run_id, "generator": self.generator_id, "scorer": self.scorer_id}


def iter_candidates(
    database: Database, scores: RunScores, page_rows: int = PAGE_ROWS
) -> Iterator[list[Candidate]]:
    """The training responses of a run with their references' rewards, unless they wait for their own.

    They come by prompt. A page holds about `page_rows` rows, and all samples of each of its prompts. The file
    is open until the last page is read.
    """
    with database.open() as connection:
        connection.execute(_LIMIT)
        for page in _candidate_pages(connection, scores, page_rows):
            yield [candidate for candidate, _ in page]


def median_reward(database: Database, scores: RunScores) -> float | None:
    """The median reward of the candidates' responses."""
    return database.value(f"SELECT median(response_reward) FROM ({_CANDIDATES})", **scores.values())


def replace_pairs(
    database: Database, scores: RunScores, keep: Keep, recipe: RevisionRecipe, page_rows: int = PAGE_ROWS
) -> None:
    """Decide every candidate again; a kept one gets a revision row, pending unless that revision exists.

    Pairs of the run that are no longer candidates are deleted.
    """
    with _deciding(database) as (connection, reader):
        for page in _candidate_pages(reader, scores, page_rows):
            decisions = keep([candidate for candidate, _ in page])
            rows = [_row(candidate, reference, decisions, recipe) for candidate, reference in page]
            query_rows(connection, rows, _DECIDE)
        _store_pairs(connection, scores, recipe)


def _store_pairs(connection: duckdb.DuckDBPyConnection, scores: RunScores, recipe: RevisionRecipe) -> None:
    rows = _count(connection, "SELECT count(*) FROM decided")
    connection.execute(_NO_LIMIT)
    connection.begin()
    connection.execute(_CORRECT)
    for first in range(0, rows, _ROWS_AT_ONCE):
        part = {"first": first, "last": first + _ROWS_AT_ONCE}
        connection.execute(_NEW_REVISIONS, part | {"model": recipe.model, "asked": recipe.asked_again_max})
        connection.execute(_REPLACE_PAIRS, part | {"run": scores.run_id, "scorer": scores.scorer_id})
    if _count(connection, "SELECT count(*) FROM pairs WHERE run_id = $run", run=scores.run_id) > rows:
        connection.execute(_FORGET_PAIRS, {"run": scores.run_id})
    connection.commit()


def decide_admissions(
    database: Database, run_id: str, scorer_id: str, admit: Admit, page_rows: int = PAGE_ROWS
) -> None:
    """Decide every successful revision of the run that has both rewards, or failures instead of them."""
    with _deciding(database) as (connection, reader):
        values = {"run": run_id, "scorer": scorer_id}
        for page in _pages(reader, _ADMISSIBLE, values, page_rows):
            decisions = admit([Admissible(**row) for row in page])
            rows = [as_row(decision, response_id=response) for response, decision in decisions.items()]
            query_rows(connection, rows, _DECIDE)
        connection.execute(_NO_LIMIT)
        connection.execute(_ADMIT_PAIRS, {"run": run_id})


def _count(connection: duckdb.DuckDBPyConnection, query: str, **values: str) -> int:
    return connection.execute(query, values).fetchall()[0][0]


def _row(
    candidate: Candidate, reference: str | None, decisions: Mapping[str, Decision], recipe: RevisionRecipe
) -> Row:
    decision = decisions[candidate.response_id]
    response, kept = candidate.response_id, decision.accepted
    return as_row(
        decision,
        response_id=response,
        prompt_id=candidate.prompt_id,
        revision_id=recipe.revision_id(response, reference) if kept else None,
        reference_id=reference,
        question_id=recipe.question_id(response, reference) if kept else None,
    )


def _candidate_pages(
    connection: duckdb.DuckDBPyConnection, scores: RunScores, page_rows: int
) -> Iterator[list[tuple[Candidate, str | None]]]:
    """Candidates with the ids of their prompts' references; all samples of a prompt are on one page."""
    left: list[tuple[Candidate, str | None]] = []
    for page in _pages(connection, _CANDIDATES, scores.values(), page_rows):
        references = [row.pop("reference_id") for row in page]
        left += zip((Candidate(**row) for row in page), references, strict=True)
        whole = len(left)
        while whole and left[whole - 1][0].prompt_id == left[-1][0].prompt_id:
            whole -= 1
        if whole:
            yield left[:whole]
            left = left[whole:]
    if left:
        yield left


def _pages(
    connection: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, str], page_rows: int
) -> Iterator[list[dict[str, Any]]]:
    for batch in connection.sql(query, params=dict(values)).to_arrow_reader(page_rows):
        yield batch.to_pylist()


@contextmanager
def _deciding(database: Database) -> Iterator[tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]]:
    """A connection with the table `decided`, and one to read from: writing would drop the result it reads."""
    with database.open() as connection, connection.cursor() as reader, interruptible(reader.interrupt):
        connection.execute(_LIMIT)
        connection.execute(_CREATE_DECIDED)
        yield connection, reader
