"""The results of a run, read from a database that the tests fill."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from figa_core import ids
from figa_core.errors import InputError
from figa_core.prompts.read import BadRow
from figa_core.records import Decision, FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage import revisions, summary
from figa_core.storage.database import Database
from figa_core.storage.evaluations import Evaluation, evaluations_of, same_responses, save_evaluation
from figa_core.storage.pairs import RevisionRecipe, RunScores, replace_pairs
from figa_core.storage.prompts import save_bad_rows, save_prompts
from figa_core.storage.responses import save_generation_failures, save_responses
from figa_core.storage.runs import find_run, latest_runs, save_run
from figa_core.storage.scores import save_scores
from tests.figa_core.storage.empty import new_database

RUN, GENERATOR, SCORER = "run-abc1", "generator", "scorer"
RECIPE = RevisionRecipe("m", 0.0, 64, {True: "t", False: "t"})
STARTED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _prompt(index: int, split: Split = Split.TRAIN) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    prompt_id = ids.prompt_id(messages)
    return Prompt(prompt_id, messages, split, "good", ids.reference_id(prompt_id, "good"))


PROMPTS = [_prompt(i) for i in range(9)]
HELD_OUT = [_prompt(i, Split.HELD_OUT) for i in (30, 31)]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Nine weighed pairs; the reward of pair i rises from 0 to i."""
    database = new_database(tmp_path / "figa.duckdb")
    save_run(database, RUN, "test", {}, None)
    save_prompts(database, RUN, PROMPTS)
    end = ("text", (1,), FinishReason.STOP)
    responses = [Response(f"response-{i}", p.prompt_id, 0, *end) for i, p in enumerate(PROMPTS)]
    save_responses(database, GENERATOR, responses)
    save_scores(database, [Score(r.response_id, SCORER, 0.0) for r in responses])
    save_scores(database, [Score(str(p.reference_id), SCORER, 9.0) for p in PROMPTS])
    scores = RunScores(RUN, GENERATOR, SCORER)
    replace_pairs(
        database, scores, lambda page: {c.response_id: Decision(True, "weak") for c in page}, RECIPE
    )
    _execute(
        database,
        "UPDATE revisions SET status = 'succeeded', text = 'better'",
        "UPDATE pairs SET admitted = true, weighed = true",
    )
    revisions = database.fetch("SELECT revision_id, response_id FROM revisions")
    save_scores(database, [Score(revision, SCORER, float(response[-1])) for revision, response in revisions])
    return database


def _question(pair: summary.SpreadPair) -> int:
    return int(pair.messages[0].content.split()[-1])


def test_examples_are_spread_evenly_from_the_smallest_to_the_largest_gain(database: Database) -> None:
    pairs = summary.spread_pairs(database, RUN, SCORER, 3)
    assert [_question(pair) for pair in pairs] == [0, 4, 8]
    assert {(pair.reference, pair.reference_reward) for pair in pairs} == {("good", 9.0)}
    assert {pair.type for pair in pairs} == {None}
    _execute(database, "UPDATE run_prompts SET type = 'delivery'")
    assert {pair.type for pair in summary.spread_pairs(database, RUN, SCORER, 3)} == {"delivery"}


def test_all_pairs_are_shown_once_if_there_are_fewer(database: Database) -> None:
    assert [_question(p) for p in summary.spread_pairs(database, RUN, SCORER, 50)] == list(range(9))
    assert len(summary.spread_pairs(database, RUN, SCORER, 1)) == 1
    assert summary.spread_pairs(database, "another run", SCORER, 3) == []


def test_rewards_are_of_this_run_by_kind(database: Database) -> None:
    found = summary.rewards(database, RUN, GENERATOR, SCORER)
    assert sorted(found["revised"]) == [float(i) for i in range(9)]
    assert (found["initial"], found["reference"]) == ([0.0] * 9, [9.0] * 9)
    assert summary.rewards(database, RUN, GENERATOR, "another scorer")["initial"] == []


def test_calls_are_counted_by_outcome_and_by_when_they_were_sent(database: Database) -> None:
    revision = database.value("SELECT min(revision_id) FROM revisions")
    for minutes, outcome in ((-5, "answered"), (1, "answered"), (2, None)):
        sent = STARTED + timedelta(minutes=minutes)
        database.execute(
            "INSERT INTO calls (call_id, subject_id, attempt, sent_at, answered_at, outcome, prompt_tokens, "
            "completion_tokens, estimated) VALUES ($sent::TEXT, $revision, 1, $sent, $answered, $outcome, "
            "100, CASE WHEN $outcome IS NULL THEN NULL ELSE 20 END, $outcome IS NULL)",
            revision=revision,
            sent=sent,
            answered=sent + timedelta(seconds=3) if outcome else None,
            outcome=outcome,
        )
    calls = revisions.calls(database, RUN, STARTED)
    assert calls.by_outcome == {"answered": 2, "no answer": 1}
    assert (calls.calls, calls.since_start) == (3, 2)
    assert (calls.prompt_tokens, calls.completion_tokens) == (300, 40)
    assert revisions.tokens_answered(database, RUN) == 40
    assert revisions.tokens_answered(database, "another run") == 0
    assert calls.seconds_since_start == pytest.approx(3.0)
    assert revisions.calls(database, "another run", STARTED).calls == 0


def test_spending_counts_calls_without_a_price_and_the_tokens_of_all(database: Database) -> None:
    assert revisions.spent(database, RUN) == revisions.Spent(None, None, 0, 0, 0)
    database.execute(
        "INSERT INTO calls (call_id, subject_id, attempt, sent_at, prompt_tokens, estimated) "
        "SELECT revision_id, revision_id, 1, $sent, 100, true FROM revisions",
        sent=STARTED,
    )
    assert revisions.spent(database, RUN) == revisions.Spent(None, None, 9, 9, 900)
    _execute(
        database,
        "UPDATE calls SET cost_usd = 0.5, completion_tokens = 20 WHERE call_id IN "
        "(SELECT min(call_id) FROM calls)",
        "UPDATE calls SET reserved_usd = 0.25 WHERE call_id IN (SELECT max(call_id) FROM calls)",
    )
    assert revisions.spent(database, RUN) == revisions.Spent(0.75, 0.25, 9, 7, 920)


def test_the_time_of_calls_without_an_answer_is_unknown(database: Database) -> None:
    database.execute(
        "INSERT INTO calls (call_id, subject_id, attempt, sent_at, prompt_tokens, estimated) "
        "SELECT revision_id, revision_id, 1, $sent, 10, true FROM revisions",
        sent=STARTED + timedelta(minutes=1),
    )
    found = revisions.calls(database, RUN, STARTED)
    assert (found.by_outcome, found.seconds_since_start) == ({"no answer": 9}, None)
    assert revisions.calls(database, "another run", STARTED) == revisions.Calls(0, {}, 0, 0, 0, None)


def _execute(database: Database, *statements: str) -> None:
    with database.transaction() as connection:
        for statement in statements:
            connection.execute(statement)


def _draw(
    database: Database, generator: str, prompts: list[Prompt], text: str = "text", sample: int = 0
) -> None:
    name, end = f"{generator}-{sample}", (text, (1,), FinishReason.STOP)
    drawn = [Response(f"{name}-{p.prompt_id}", p.prompt_id, sample, *end) for p in prompts]
    save_responses(database, generator, drawn)


def test_every_row_of_a_run_is_counted_at_the_step_where_it_ended(database: Database) -> None:
    save_prompts(database, RUN, [_prompt(20), *HELD_OUT])
    _draw(database, GENERATOR, HELD_OUT)
    _draw(database, "another generator", PROMPTS)
    failures = [(_prompt(20).prompt_id, 0, "empty prompt (row 20)")]
    save_generation_failures(database, GENERATOR, failures)
    bad = ("row 3: duplicate of row 1", "duplicate of row 2", "no text: row 7")
    save_bad_rows(database, RUN, [BadRow(row, reason) for row, reason in enumerate(bad)])
    _execute(
        database,
        "UPDATE pairs SET kept = false, keep_reason = 'good', admitted = NULL, weighed = NULL "
        "WHERE response_id = 'response-1'",
        *(
            f"UPDATE revisions SET status = '{status}', reason = {reason} "
            f"WHERE response_id = 'response-{number}'"
            for number, status, reason in (
                (2, "pending", "NULL"),
                (3, "rejected", "'too long (it is 9)'"),
                (4, "rejected", "'too long (it is 7)'"),
                (5, "refused", "NULL"),
                (6, "refused", "''"),
            )
        ),
        "UPDATE pairs SET admitted = NULL, weighed = NULL "
        "WHERE response_id BETWEEN 'response-2' AND 'response-6'",
        "UPDATE pairs SET admitted = false, admit_reason = 'no gain', weighed = NULL "
        "WHERE response_id = 'response-7'",
        "UPDATE pairs SET weighed = false, weigh_reason = 'cut off' WHERE response_id = 'response-8'",
    )
    assert summary.counts(database, RUN, GENERATOR) == summary.Counts(
        bad_rows={"row 3": 1, "duplicate": 1, "no text": 1},
        training_prompts=10,
        held_out_prompts=2,
        responses=9,
        not_generated={"empty prompt": 1},
        kept=8,
        not_kept={"good": 1},
        revised=3,
        not_revised={"pending": 1, "rejected: too long": 2, "refused": 2},
        admitted=2,
        not_admitted={"no gain": 1},
        weighted=1,
        not_weighted={"cut off": 1},
    )


def test_an_undecided_pair_is_counted_on_neither_side(database: Database) -> None:
    _execute(database, "UPDATE pairs SET weighed = NULL WHERE response_id = 'response-8'")
    found = summary.counts(database, RUN, GENERATOR)
    assert (found.admitted, found.weighted, found.not_weighted) == (9, 8, {})


def test_rewards_and_examples_are_of_this_run_and_scorer(database: Database) -> None:
    save_prompts(database, RUN, HELD_OUT)
    _draw(database, GENERATOR, HELD_OUT)
    held_out = [f"{GENERATOR}-0-{p.prompt_id}" for p in HELD_OUT] + [str(p.reference_id) for p in HELD_OUT]
    save_scores(database, [Score(subject, SCORER, 77.0) for subject in held_out])
    worse = [replace(p, reference="worse", reference_id=f"worse-{p.prompt_id}") for p in PROMPTS]
    save_prompts(database, "another run", worse)
    save_scores(database, [Score(str(p.reference_id), SCORER, -1.0) for p in worse])
    _execute(
        database,
        # Its gains have the opposite signs.
        "INSERT INTO scores SELECT subject_id, 'another scorer', -value FROM scores",
        "UPDATE pairs SET kept = false, weighed = false WHERE response_id = 'response-3'",
        "UPDATE revisions SET status = 'rejected' WHERE response_id = 'response-4'",
        "UPDATE pairs SET weighed = false WHERE response_id = 'response-4'",
    )
    found = summary.rewards(database, RUN, GENERATOR, SCORER)
    assert sorted(found["revised"]) == [0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 8.0]
    assert (found["initial"], found["reference"]) == ([0.0] * 9, [9.0] * 9)
    examples = summary.spread_pairs(database, RUN, SCORER, 50)
    assert [_question(pair) for pair in examples] == [0, 1, 2, 5, 6, 7, 8]
    assert {(pair.reference, pair.reference_reward) for pair in examples} == {("good", 9.0)}


def test_a_run_counts_nothing_of_another_one(database: Database) -> None:
    save_bad_rows(database, RUN, [BadRow(1, "empty")])
    nothing = summary.Counts({}, 0, 0, 0, {}, 0, {}, 0, {}, 0, {}, 0, {})
    assert summary.counts(database, "another run", GENERATOR) == nothing
    save_prompts(database, "another run", PROMPTS[:1])
    found = summary.counts(database, "another run", GENERATOR)
    assert found == replace(nothing, training_prompts=1, responses=1)


def test_equal_responses_of_two_generators_are_counted_on_the_runs_held_out_prompts(
    database: Database,
) -> None:
    save_prompts(database, RUN, HELD_OUT)
    _draw(database, "one", HELD_OUT)
    assert same_responses(database, RUN, "one", "other") == (0, 0)
    _draw(database, "other", HELD_OUT[:1])
    _draw(database, "other", HELD_OUT[1:], "another text")
    _draw(database, "one", HELD_OUT, sample=1)  # the other has no sample 1
    elsewhere = [_prompt(40, Split.HELD_OUT)]
    save_prompts(database, "another run", elsewhere)
    for generator in ("one", "other"):
        _draw(database, generator, [*PROMPTS, *elsewhere])
    assert same_responses(database, RUN, "one", "other") == (1, 2)
    assert same_responses(database, RUN, "one", "one") == (4, 4)


def test_evaluations_are_those_of_the_run_by_label_and_metric(database: Database) -> None:
    for run, label, metric in (
        (RUN, "tuned", "a"),
        (RUN, "base", "b"),
        (RUN, "base", "a"),
        ("other", "x", "a"),
    ):
        save_evaluation(database, Evaluation(run, label, metric, GENERATOR, SCORER, 3, 0.5, 0.1, 2))
    found = evaluations_of(database, RUN)
    assert [(row.label, row.metric) for row in found] == [("base", "a"), ("base", "b"), ("tuned", "a")]
    assert found[0] == Evaluation(RUN, "base", "a", GENERATOR, SCORER, 3, 0.5, 0.1, 2)


def test_twenty_runs_are_shown_unless_more_are_asked_for(database: Database) -> None:
    for number in range(20):
        save_run(database, f"later-{number:02d}", "later", {"number": number}, None)
    shown = latest_runs(database)
    assert [run.run_id for run in shown] == [f"later-{number:02d}" for number in reversed(range(20))]
    assert [run.config for run in shown[:2]] == [{"number": 19}, {"number": 18}]
    assert latest_runs(database, 99)[-1].name == "test"


def test_a_run_is_found_by_the_beginning_of_its_id(database: Database) -> None:
    save_run(database, "run-abd2", "later", {}, None)
    assert find_run(database, "run-abc").run_id == RUN
    assert find_run(database).run_id == "run-abd2"
    assert [run.run_id for run in latest_runs(database)] == ["run-abd2", RUN]
    with pytest.raises(InputError, match="several runs begin"):
        find_run(database, "run-ab")
    with pytest.raises(InputError, match="no run 'run-x'"):
        find_run(database, "run-x")


def test_a_workspace_without_runs_is_reported(tmp_path: Path) -> None:
    database = new_database(tmp_path / "new" / "figa.duckdb")
    with pytest.raises(InputError, match="no run yet"):
        find_run(database)
