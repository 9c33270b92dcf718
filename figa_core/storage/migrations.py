"""The schema, as a list of migrations; each runs once, in one transaction with its record.

Never edit a migration that was released: append one. `SCHEMA_VERSION` is the number of migrations; a
database that has more was written by a newer version, and is refused.

Tables, in the order of a row's path: `prompts` and `reference_answers` (what was imported), `runs` and
`run_prompts` (which prompts a run works on), `bad_rows` (rows that cannot be used, and why), `responses`,
`scores` (of responses, references and revisions alike), `generation_failures` and `score_failures` (why a
single sample or text has none), `pairs` (each run's decisions), `revisions`, `word_grades` (an LLM's scores
of a revision's changed words) and `run_grades` (those of each run), `judgements` (a judge's answers to
questions) and `run_judgements` (the question about each text of a run), `reward_scales` (by which a combined
reward's parts are brought to one scale), `calls` (to an LLM, with their purpose and row; append-only),
`trainings`, `models`, `evaluations`, `benchmarks` (a model asked a task of lm-eval), `benchmark_scores` and
`run_benchmarks` (those of a run's models), `exclusions` (rows that a person excluded), `corrections` (the
revisions in whose place a person's words are), `marks` (the position reached in the journal).
"""

import duckdb

from figa_core.errors import StorageError

_INITIAL = """
CREATE TABLE prompts (
    prompt_id TEXT PRIMARY KEY, messages TEXT NOT NULL, split TEXT NOT NULL,
    imported_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp
);
CREATE TABLE reference_answers (reference_id TEXT PRIMARY KEY, prompt_id TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, name TEXT NOT NULL, config TEXT NOT NULL, status TEXT NOT NULL,
    flow_run TEXT, message TEXT, settings TEXT NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp,
    started_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp, ended_at TIMESTAMPTZ
);
CREATE TABLE run_prompts (
    run_id TEXT NOT NULL, prompt_id TEXT NOT NULL, reference_id TEXT, PRIMARY KEY (run_id, prompt_id)
);
CREATE TABLE bad_rows (
    run_id TEXT NOT NULL, source_row BIGINT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (run_id, source_row)
);
CREATE TABLE responses (
    response_id TEXT PRIMARY KEY, prompt_id TEXT NOT NULL, generator_id TEXT NOT NULL,
    sample_index INTEGER NOT NULL, text TEXT NOT NULL, token_ids INTEGER[] NOT NULL,
    finish_reason TEXT NOT NULL
);
CREATE INDEX responses_of_prompt ON responses (prompt_id);
CREATE TABLE scores (
    subject_id TEXT NOT NULL, scorer_id TEXT NOT NULL, value DOUBLE NOT NULL,
    PRIMARY KEY (subject_id, scorer_id)
);
CREATE TABLE revisions (
    revision_id TEXT PRIMARY KEY, response_id TEXT NOT NULL, reference_id TEXT, model TEXT NOT NULL,
    status TEXT NOT NULL, text TEXT, reason TEXT, retryable BOOLEAN NOT NULL DEFAULT false,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE pairs (
    run_id TEXT NOT NULL, response_id TEXT NOT NULL, prompt_id TEXT NOT NULL, kept BOOLEAN NOT NULL,
    keep_reason TEXT NOT NULL, revision_id TEXT, scorer_id TEXT NOT NULL, admitted BOOLEAN, admit_reason TEXT,
    weighed BOOLEAN, weigh_reason TEXT,
    PRIMARY KEY (run_id, response_id)
);
CREATE TABLE calls (
    call_id TEXT PRIMARY KEY, revision_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    sent_at TIMESTAMPTZ NOT NULL, answered_at TIMESTAMPTZ, latency_s DOUBLE, outcome TEXT, message TEXT,
    prompt_tokens BIGINT, completion_tokens BIGINT, estimated BOOLEAN NOT NULL
);
CREATE TABLE trainings (
    training_id TEXT PRIMARY KEY, run_id TEXT NOT NULL, objective TEXT NOT NULL, shard_set_id TEXT NOT NULL,
    parent_model TEXT NOT NULL, directory TEXT NOT NULL, steps INTEGER NOT NULL, seconds DOUBLE NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp
);
CREATE TABLE models (
    fingerprint TEXT PRIMARY KEY, directory TEXT NOT NULL, training_id TEXT, parent TEXT,
    promoted BOOLEAN NOT NULL DEFAULT false
);
CREATE TABLE evaluations (
    run_id TEXT NOT NULL, label TEXT NOT NULL, generator_id TEXT NOT NULL, scorer_id TEXT NOT NULL,
    metric TEXT NOT NULL, n BIGINT NOT NULL, mean DOUBLE NOT NULL, standard_error DOUBLE,
    PRIMARY KEY (run_id, label, metric)
);
CREATE TABLE exclusions (
    subject_id TEXT PRIMARY KEY, reason TEXT NOT NULL,
    excluded_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp
);
CREATE TABLE marks (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
"""

# The most that a call can cost, and its actual cost: NULL while unknown, so that
# coalesce(cost_usd, reserved_usd, 0) counts as spent.
_COSTS = """
ALTER TABLE calls ADD COLUMN reserved_usd DOUBLE;
ALTER TABLE calls ADD COLUMN cost_usd DOUBLE;
"""

# Rows for which a model or a verifier failed. Earlier versions stored rewards that are not finite.
_FAILURES = """
CREATE TABLE generation_failures (
    prompt_id TEXT NOT NULL, generator_id TEXT NOT NULL, sample_index INTEGER NOT NULL, kind TEXT NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (prompt_id, generator_id, sample_index)
);
CREATE TABLE score_failures (
    subject_id TEXT NOT NULL, scorer_id TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (subject_id, scorer_id)
);
INSERT INTO score_failures
    SELECT subject_id, scorer_id, 'the value is not a finite number', 'the value is not a finite number'
    FROM scores WHERE NOT isfinite(value);
DELETE FROM scores WHERE NOT isfinite(value);
ALTER TABLE evaluations ADD COLUMN left_out BIGINT DEFAULT 0;
"""

# Runs that judge answers by other settings have other revisions, made from the same answers: `question_id`
# is the id of the revision at the default settings, and NULL if that is its id.
_QUESTIONS = """
ALTER TABLE revisions ADD COLUMN question_id TEXT;
ALTER TABLE revisions ADD COLUMN asked_again_max INTEGER;
"""

# The purpose of a call: until now always a revision.
_PURPOSES = """
ALTER TABLE calls RENAME COLUMN revision_id TO subject_id;
ALTER TABLE calls ADD COLUMN purpose TEXT DEFAULT 'revision';
"""

# What the user's data call prompts of this kind; NULL where they do not.
_TYPES = "ALTER TABLE run_prompts ADD COLUMN type TEXT;"
# `words` are the places of the changed words in the revision: start and end of each, in characters. A run
# keeps the grades that it no longer uses, because their calls count towards its budget.
_WORD_GRADES = """
CREATE TABLE word_grades (
    grade_id TEXT PRIMARY KEY, words INTEGER[] NOT NULL, status TEXT NOT NULL, scores INTEGER[], reason TEXT,
    retryable BOOLEAN NOT NULL DEFAULT false, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE run_grades (
    run_id TEXT NOT NULL, revision_id TEXT NOT NULL, grade_id TEXT NOT NULL, used BOOLEAN NOT NULL,
    PRIMARY KEY (run_id, revision_id, grade_id)
);
"""

# What a model thought before its answer; NULL if it did not, and in responses of earlier versions.
_THOUGHTS = """
ALTER TABLE responses ADD COLUMN thought TEXT;
ALTER TABLE responses ADD COLUMN thought_ids INTEGER[];
"""

# `fields` is a JSON object of what rewards read of the prompt's row. A scale is that of a combined scorer.
_REWARDS = """
ALTER TABLE run_prompts ADD COLUMN fields TEXT;
CREATE TABLE reward_scales (
    scorer_id TEXT NOT NULL, part_id TEXT NOT NULL, mean DOUBLE NOT NULL, deviation DOUBLE NOT NULL,
    n BIGINT NOT NULL, PRIMARY KEY (scorer_id, part_id)
);
CREATE TABLE judgements (
    judgement_id TEXT PRIMARY KEY, status TEXT NOT NULL, score DOUBLE, reason TEXT,
    retryable BOOLEAN NOT NULL DEFAULT false, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE run_judgements (
    run_id TEXT NOT NULL, scorer_id TEXT NOT NULL, subject_id TEXT NOT NULL, judgement_id TEXT NOT NULL,
    PRIMARY KEY (run_id, scorer_id, subject_id)
);
"""

# `author` is the person who wrote a revision or excluded a row; NULL if nobody is known. `corrects` is the
# reviser's revision in whose place a person's is, NULL in all others.
_PEOPLE = """
ALTER TABLE revisions ADD COLUMN author TEXT;
ALTER TABLE revisions ADD COLUMN corrects TEXT;
ALTER TABLE exclusions ADD COLUMN author TEXT;
CREATE TABLE corrections (
    revision_id TEXT PRIMARY KEY, correction_id TEXT NOT NULL,
    corrected_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp
);
"""

# `standard_error` is NULL where lm-eval gives none. `questions` and `values` are those of which the score is
# the mean, both empty if it is none. Of a run only the last model of each name counts.
_BENCHMARKS = """
CREATE TABLE benchmarks (
    benchmark_id TEXT PRIMARY KEY, model TEXT NOT NULL, harness TEXT NOT NULL, task TEXT NOT NULL,
    engine TEXT NOT NULL, settings TEXT NOT NULL, versions TEXT NOT NULL, seconds DOUBLE NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp
);
CREATE TABLE benchmark_scores (
    benchmark_id TEXT NOT NULL, task TEXT NOT NULL, metric TEXT NOT NULL, filter TEXT NOT NULL,
    value DOUBLE NOT NULL, standard_error DOUBLE, n BIGINT NOT NULL, available BIGINT NOT NULL,
    higher_is_better BOOLEAN, is_part BOOLEAN NOT NULL, questions TEXT[] NOT NULL, "values" DOUBLE[] NOT NULL,
    place INTEGER NOT NULL, PRIMARY KEY (benchmark_id, task, metric, filter)
);
CREATE TABLE run_benchmarks (
    run_id TEXT NOT NULL, label TEXT NOT NULL, benchmark_id TEXT NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (run_id, label, benchmark_id)
);
"""

# The response of a pair that a person threw out, whichever of its revisions it was; NULL for other rows.
_THROWN_OUT = """
ALTER TABLE exclusions ADD COLUMN response_id TEXT;
UPDATE exclusions SET response_id = v.response_id FROM revisions v WHERE v.revision_id = subject_id;
"""

MIGRATIONS: tuple[tuple[str, str], ...] = (
    ("initial", _INITIAL),
    ("costs", _COSTS),
    ("failures", _FAILURES),
    ("questions", _QUESTIONS),
    ("purposes", _PURPOSES),
    ("types", _TYPES),
    ("word grades", _WORD_GRADES),
    ("thoughts", _THOUGHTS),
    ("rewards", _REWARDS),
    ("people", _PEOPLE),
    ("benchmarks", _BENCHMARKS),
    ("thrown out", _THROWN_OUT),
)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Bring the database up to date; returns the names of the migrations that ran.

    Raises:
        StorageError: the database was written by a newer version.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations "
        "(number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ DEFAULT current_timestamp)"
    )
    [(applied,)] = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchall()
    if applied > SCHEMA_VERSION:
        raise StorageError(
            f"the workspace's database has schema {applied}, this version knows {SCHEMA_VERSION}. "
            "Update figa, or use another workspace."
        )
    for number, (name, script) in enumerate(MIGRATIONS[applied:], start=applied + 1):
        _apply(connection, number, name, script)
    return [name for name, _ in MIGRATIONS[applied:]]


def _apply(connection: duckdb.DuckDBPyConnection, number: int, name: str, script: str) -> None:
    connection.begin()
    try:
        connection.execute(script)
        connection.execute("INSERT INTO migrations (number, name) VALUES (?, ?)", [number, name])
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
