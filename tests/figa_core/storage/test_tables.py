"""Everything that is saved is in its table, with every column."""

from collections.abc import Sequence

from figa_core.filtering import Candidate
from figa_core.ports import RowFailure
from figa_core.prompts.read import BadRow
from figa_core.records import Decision, FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage.admitted import save_skipped
from figa_core.storage.database import Database
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.pairs import Admissible, RevisionRecipe, RunScores, decide_admissions, replace_pairs
from figa_core.storage.prompts import save_bad_rows, save_prompts, types_of
from figa_core.storage.responses import save_generation_failures, save_responses
from figa_core.storage.runs import end_run, save_run
from figa_core.storage.scores import save_score_failures, save_scores
from figa_core.storage.trainings import Training, save_training
from tests.figa_core.storage.empty import empty_database  # noqa: F401 - a fixture

RECIPE = RevisionRecipe("reviser", 0.0, 64, {True: "with reference", False: "without"})


def table(database: Database, columns: str, name: str) -> list[tuple[object, ...]]:
    return database.fetch(f"SELECT {columns} FROM {name} ORDER BY 1")


def test_a_prompt_its_reference_and_its_run(database: Database) -> None:
    messages = (Message("system", "be brief"), Message("user", "why?"))
    first = Prompt("p1", messages, Split.TRAIN, "because", "a1", "whys")
    save_prompts(database, "run", [first, Prompt("p2", messages[1:], Split.HELD_OUT)])
    user = '{"role":"user","content":"why?"}'
    assert table(database, "prompt_id, messages, split", "prompts") == [
        ("p1", f'[{{"role":"system","content":"be brief"}},{user}]', "train"),
        ("p2", f"[{user}]", "held_out"),
    ]
    assert table(database, "*", "reference_answers") == [("a1", "p1", "because")]
    assert table(database, "prompt_id, run_id, reference_id, type", "run_prompts") == [
        ("p1", "run", "a1", "whys"),
        ("p2", "run", None, None),
    ]
    assert types_of(database, "run") == {"p1": "whys"}


def test_a_run_and_how_it_ended(database: Database) -> None:
    save_run(database, "run", "name", {"a": [1]}, "flow")
    end_run(database, "run", "failed", "why")
    columns = "run_id, name, config, status, flow_run, message, settings, ended_at IS NULL"
    assert table(database, columns, "runs") == [
        ("run", "name", '{"a":[1]}', "failed", "flow", "why", "{}", False)
    ]


def test_bad_rows_responses_scores_and_failures(database: Database) -> None:
    save_bad_rows(database, "run", [BadRow(7, "empty")])
    assert table(database, "*", "bad_rows") == [("run", 7, "empty")]
    save_responses(database, "generator", [Response("r1", "p1", 2, "text", (5, 6), FinishReason.LENGTH)])
    assert table(database, "*", "responses") == [
        ("r1", "p1", "generator", 2, "text", [5, 6], "length", None, None)
    ]
    save_scores(database, [Score("r1", "scorer", 0.5)])
    assert table(database, "*", "scores") == [("r1", "scorer", 0.5)]
    save_score_failures(database, "scorer", [RowFailure("r2", "too long (9 tokens)")])
    assert table(database, "*", "score_failures") == [("r2", "scorer", "too long", "too long (9 tokens)")]
    save_generation_failures(database, "generator", [("p1", 3, "too long (9 tokens)")])
    assert table(database, "*", "generation_failures") == [
        ("p1", "generator", 3, "too long", "too long (9 tokens)")
    ]


def test_the_decisions_about_a_pair(database: Database) -> None:
    messages = (Message("user", "why?"),)
    save_prompts(database, "run", [Prompt("p1", messages, Split.TRAIN, "because", "a1")])
    save_responses(
        database, "generator", [Response(f"r{i}", "p1", i, "text", (1,), FinishReason.STOP) for i in range(2)]
    )
    save_scores(database, [Score(subject, "scorer", 0.5) for subject in ("r0", "r1", "a1")])

    def keep(page: Sequence[Candidate]) -> dict[str, Decision]:
        return {c.response_id: Decision(c.response_id == "r1", f"kept? {c.response_id}") for c in page}

    def admit(page: Sequence[Admissible]) -> dict[str, Decision]:
        return {row.response_id: Decision(True, f"admitted {row.response_id}") for row in page}

    replace_pairs(database, RunScores("run", "generator", "scorer"), keep, RECIPE)
    revision = RECIPE.revision_id("r1", "a1")
    columns = "revision_id, response_id, reference_id, model, status, text, reason, retryable, attempts"
    pending = (revision, "r1", "a1", "reviser", "pending", None, None, False, 0)
    assert table(database, columns, "revisions") == [pending]
    database.execute("UPDATE revisions SET status = 'succeeded', text = 'better'")
    save_scores(database, [Score(revision, "scorer", 0.75)])
    decide_admissions(database, "run", "scorer", admit)
    save_skipped(database, "run", {revision: "cut off"})
    columns = "response_id, run_id, prompt_id, kept, keep_reason, revision_id, scorer_id"
    assert table(database, columns, "pairs") == [
        ("r0", "run", "p1", False, "kept? r0", None, "scorer"),
        ("r1", "run", "p1", True, "kept? r1", revision, "scorer"),
    ]
    assert table(database, "response_id, admitted, admit_reason, weighed, weigh_reason", "pairs") == [
        ("r0", None, None, None, None),
        ("r1", True, "admitted r1", False, "cut off"),
    ]


def test_a_training_its_model_and_an_evaluation(database: Database) -> None:
    save_training(database, Training("t1", "run", "figa", "set", "base", "/dir", 10, 1.5), "fingerprint")
    columns = "training_id, run_id, objective, shard_set_id, parent_model, directory, steps, seconds"
    assert table(database, columns, "trainings") == [("t1", "run", "figa", "set", "base", "/dir", 10, 1.5)]
    assert table(database, "*", "models") == [("fingerprint", "/dir", "t1", "base", False)]
    save_evaluation(database, Evaluation("run", "tuned", "reward", "generator", "scorer", 9, 0.5, 0.25, 2))
    columns = "run_id, label, generator_id, scorer_id, metric, n, mean, standard_error, left_out"
    assert table(database, columns, "evaluations") == [
        ("run", "tuned", "generator", "scorer", "reward", 9, 0.5, 0.25, 2)
    ]
