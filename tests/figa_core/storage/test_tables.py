"""What is saved is in its table with every column."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from figa_core.filtering import Candidate
from figa_core.ports import RowFailure
from figa_core.prompts.read import BadRow
from figa_core.records import Decision, FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage.failures import save_generation_failures, save_score_failures
from figa_core.storage.pairs import RevisionRecipe, RunScores, decide_admissions, replace_pairs
from figa_core.storage.rows import Admissible, TrainingRow
from figa_core.storage.store import Store

RECIPE = RevisionRecipe("reviser", 0.0, 64, {True: "with reference", False: "without"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.create()
    return store


def table(store: Store, columns: str, name: str) -> list[tuple[object, ...]]:
    return store.database.fetch(f"SELECT {columns} FROM {name} ORDER BY 1")


def test_a_prompt_its_reference_and_its_run(store: Store) -> None:
    messages = (Message("system", "be brief"), Message("user", "why?"))
    store.import_prompts(
        "run",
        [
            Prompt("p1", messages, Split.TRAIN, "because", "a1"),
            Prompt("p2", messages[1:], Split.HELD_OUT),
        ],
    )
    user = '{"role":"user","content":"why?"}'
    assert table(store, "prompt_id, messages, split", "prompts") == [
        ("p1", f'[{{"role":"system","content":"be brief"}},{user}]', "train"),
        ("p2", f"[{user}]", "held_out"),
    ]
    assert table(store, "*", "reference_answers") == [("a1", "p1", "because")]
    assert table(store, "prompt_id, run_id, reference_id", "run_prompts") == [
        ("p1", "run", "a1"),
        ("p2", "run", None),
    ]


def test_a_run_and_how_it_ended(store: Store) -> None:
    store.save_run("run", "name", {"a": [1]}, "flow")
    store.end_run("run", "failed", "why")
    columns = "run_id, name, config, status, flow_run, message, settings, ended_at IS NULL"
    assert table(store, columns, "runs") == [
        ("run", "name", '{"a":[1]}', "failed", "flow", "why", "{}", False)
    ]


def test_bad_rows_responses_scores_and_failures(store: Store) -> None:
    store.save_bad_rows("run", [BadRow(7, "empty")])
    assert table(store, "*", "bad_rows") == [("run", 7, "empty")]
    store.save_responses("generator", [Response("r1", "p1", 2, "text", (5, 6), FinishReason.LENGTH)])
    assert table(store, "*", "responses") == [("r1", "p1", "generator", 2, "text", [5, 6], "length")]
    store.save_scores([Score("r1", "scorer", 0.5)])
    assert table(store, "*", "scores") == [("r1", "scorer", 0.5)]
    save_score_failures(store.database, "scorer", [RowFailure("r2", "too long (9 tokens)")])
    assert table(store, "*", "score_failures") == [("r2", "scorer", "too long", "too long (9 tokens)")]
    save_generation_failures(store.database, "generator", [("p1", 3, "too long (9 tokens)")])
    assert table(store, "*", "generation_failures") == [
        ("p1", "generator", 3, "too long", "too long (9 tokens)")
    ]


def test_what_is_decided_about_a_pair(store: Store) -> None:
    messages = (Message("user", "why?"),)
    store.import_prompts("run", [Prompt("p1", messages, Split.TRAIN, "because", "a1")])
    store.save_responses(
        "generator", [Response(f"r{i}", "p1", i, "text", (1,), FinishReason.STOP) for i in range(2)]
    )
    store.save_scores([Score(subject, "scorer", 0.5) for subject in ("r0", "r1", "a1")])

    def keep(page: Sequence[Candidate]) -> dict[str, Decision]:
        return {c.response_id: Decision(c.response_id == "r1", f"kept? {c.response_id}") for c in page}

    def admit(page: Sequence[Admissible]) -> dict[str, Decision]:
        return {row.response_id: Decision(True, f"admitted {row.response_id}") for row in page}

    replace_pairs(store.database, RunScores("run", "generator", "scorer"), keep, RECIPE)
    revision = RECIPE.revision_id("r1", "a1")
    columns = "revision_id, response_id, reference_id, model, status, text, reason, retryable, attempts"
    pending = (revision, "r1", "a1", "reviser", "pending", None, None, False, 0)
    assert table(store, columns, "revisions") == [pending]
    with store.database.transaction() as connection:
        connection.execute("UPDATE revisions SET status = 'succeeded', text = 'better'")
    store.save_scores([Score(revision, "scorer", 0.75)])
    decide_admissions(store.database, "run", "scorer", admit)
    store.save_weighings("run", {"r1": Decision(False, "cut off")})
    columns = "response_id, run_id, prompt_id, kept, keep_reason, revision_id, scorer_id"
    assert table(store, columns, "pairs") == [
        ("r0", "run", "p1", False, "kept? r0", None, "scorer"),
        ("r1", "run", "p1", True, "kept? r1", revision, "scorer"),
    ]
    assert table(store, "response_id, admitted, admit_reason, weighed, weigh_reason", "pairs") == [
        ("r0", None, None, None, None),
        ("r1", True, "admitted r1", False, "cut off"),
    ]


def test_a_training_its_model_and_an_evaluation(store: Store) -> None:
    store.save_training(TrainingRow("t1", "run", "figa", "set", "base", "/dir", 10, 1.5), "fingerprint")
    columns = "training_id, run_id, objective, shard_set_id, parent_model, directory, steps, seconds"
    assert table(store, columns, "trainings") == [("t1", "run", "figa", "set", "base", "/dir", 10, 1.5)]
    assert table(store, "*", "models") == [("fingerprint", "/dir", "t1", "base", False)]
    store.save_evaluation("run", "tuned", "generator", "scorer", "reward", (9, 0.5, 0.25), 2)
    columns = "run_id, label, generator_id, scorer_id, metric, n, mean, standard_error, left_out"
    assert table(store, columns, "evaluations") == [
        ("run", "tuned", "generator", "scorer", "reward", 9, 0.5, 0.25, 2)
    ]
