"""Failures of single rows are stored and not tried again, and forgotten if the whole stage failed."""

from pathlib import Path

import duckdb
import pytest

from figa_core import ids
from figa_core.errors import StorageError
from figa_core.ports import RowFailure
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split
from figa_core.row_failures import Failed
from figa_core.storage import migrations, summary
from figa_core.storage.database import Database
from figa_core.storage.evaluations import evaluations_of, without_value
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import (
    Samples,
    count_missing_samples,
    forget_generation_failures,
    generation_failures,
    iter_missing_samples,
    save_generation_failures,
    save_responses,
)
from figa_core.storage.scores import (
    count_unscored,
    forget_score_failures,
    iter_unscored,
    responses_of,
    save_score_failures,
    save_scores,
    score_failures,
)
from tests.figa_core.storage.empty import new_database

RUN, GENERATOR, SCORER = "run", "generator", "scorer"
SOURCE = responses_of(RUN, GENERATOR, Split.TRAIN)
WANTED = Samples(RUN, GENERATOR, Split.TRAIN, 2)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Four prompts; sample 0 of each is drawn."""
    database = new_database(tmp_path / "figa.duckdb")
    questions = [Message("user", f"question {index}") for index in range(4)]
    prompts = [Prompt(ids.prompt_id((m,)), (m,), Split.TRAIN) for m in questions]
    save_prompts(database, RUN, prompts)
    save_responses(
        database,
        GENERATOR,
        [Response(f"r{i}", p.prompt_id, 0, "text", (1,), FinishReason.STOP) for i, p in enumerate(prompts)],
    )
    return database


def unscored(database: Database, scorer: str = SCORER) -> list[str]:
    return [subject.subject_id for page in iter_unscored(database, SOURCE, scorer) for subject in page]


def test_a_text_that_failed_is_not_scored_again_until_it_is_forgotten(database: Database) -> None:
    save_scores(database, [Score("r0", SCORER, 1.0)])
    save_score_failures(
        database, SCORER, [RowFailure("r1", "odd (1)"), RowFailure("r2", "odd (2)"), RowFailure("other", "x")]
    )
    save_score_failures(database, "another", [RowFailure("r3", "odd (3)")])
    assert unscored(database) == ["r3"]
    assert count_unscored(database, SOURCE, SCORER) == 1
    assert score_failures(database, SOURCE, SCORER) == (4, [Failed("odd", 2, "r1", "odd (1)")])

    forget_score_failures(database, SOURCE, SCORER)
    assert unscored(database) == ["r1", "r2", "r3"]
    assert unscored(database, "another") == ["r0", "r1", "r2"]


def test_a_sample_that_failed_is_not_drawn_again_until_it_is_forgotten(database: Database) -> None:
    missing = [s.prompt_id for page in iter_missing_samples(database, WANTED) for s in page]
    assert len(missing) == 4
    save_generation_failures(database, GENERATOR, [(missing[1], 1, "too long (9)"), (missing[2], 1, "x")])
    save_generation_failures(database, "another", [(missing[0], 1, "x")])

    left = [s.prompt_id for page in iter_missing_samples(database, WANTED) for s in page]
    assert left == [missing[0], missing[3]]
    assert count_missing_samples(database, WANTED) == 2
    rows, failed = generation_failures(database, WANTED)
    assert rows == 4 + 2
    assert {(f.kind, f.rows, f.reason) for f in failed} == {("too long", 1, "too long (9)"), ("x", 1, "x")}
    assert summary.counts(database, RUN, GENERATOR).not_generated == {"too long": 1, "x": 1}

    forget_generation_failures(database, WANTED)
    assert count_missing_samples(database, WANTED) == 4


def test_a_score_that_is_not_finite_is_not_stored(database: Database) -> None:
    for value in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(StorageError, match=r"not finite numbers, such as .* for r1"):
            save_scores(database, [Score("r0", SCORER, 1.0), Score("r1", SCORER, value)])
    assert len(unscored(database)) == 4


def test_rewards_that_are_not_finite_in_an_older_workspace_become_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "figa.duckdb")
    with monkeypatch.context() as older, duckdb.connect(path) as connection:
        older.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:2])
        older.setattr(migrations, "SCHEMA_VERSION", 2)
        migrations.migrate(connection)
        connection.execute("INSERT INTO scores VALUES ('a', 's', 'nan'), ('b', 's', 1.5), ('c', 's', '-inf')")
        connection.execute("INSERT INTO evaluations VALUES ('r', 'l', 'g', 's', 'reward', 3, 0.5, NULL)")
    database = new_database(tmp_path / "figa.duckdb")
    assert database.fetch("SELECT subject_id, value FROM scores") == [("b", 1.5)]
    assert database.fetch("SELECT subject_id, scorer_id, kind FROM score_failures ORDER BY 1") == [
        ("a", "s", "the value is not a finite number"),
        ("c", "s", "the value is not a finite number"),
    ]
    [row] = evaluations_of(database, "r")
    assert (row.n, row.left_out) == (3, 0)


def test_prompts_without_a_value_are_counted_by_reason(database: Database) -> None:
    of_model = Samples(RUN, GENERATOR, Split.TRAIN, max_prompts=3)
    chosen = [p for (p,) in database.fetch("SELECT prompt_id FROM prompts ORDER BY 1 LIMIT 3")]
    responses = dict(database.fetch("SELECT prompt_id, response_id FROM responses"))
    assert without_value(database, of_model, SCORER) == {"not asked yet": 3}
    save_scores(database, [Score(responses[chosen[0]], SCORER, 0.5)])
    save_score_failures(database, SCORER, [RowFailure(responses[chosen[1]], "odd (1)")])
    database.execute("DELETE FROM responses WHERE prompt_id = $prompt", prompt=chosen[2])
    save_generation_failures(database, GENERATOR, [(chosen[2], 0, "too long (7)")])
    assert without_value(database, of_model, SCORER) == {"odd": 1, "too long": 1}
