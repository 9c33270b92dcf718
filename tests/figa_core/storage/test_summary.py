"""What a run came to, read from a store that the tests fill."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from figa_core import ids
from figa_core.errors import InputError
from figa_core.records import Decision, FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage import summary
from figa_core.storage.pairs import RevisionRecipe, RunScores, replace_pairs
from figa_core.storage.store import Store

RUN, GENERATOR, SCORER = "run-abc1", "generator", "scorer"
RECIPE = RevisionRecipe("m", 0.0, 64, {True: "t", False: "t"})
STARTED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _prompt(index: int) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    prompt_id = ids.prompt_id(messages)
    return Prompt(prompt_id, messages, Split.TRAIN, "good", ids.reference_id(prompt_id, "good"))


PROMPTS = [_prompt(i) for i in range(9)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Nine weighed pairs; the reward of pair i rises from 0 to i."""
    store = Store(tmp_path)
    store.create()
    store.save_run(RUN, "test", {}, None)
    store.import_prompts(RUN, PROMPTS)
    responses = [
        Response(f"response-{i}", p.prompt_id, 0, "text", (1,), FinishReason.STOP)
        for i, p in enumerate(PROMPTS)
    ]
    store.save_responses(GENERATOR, responses)
    store.save_scores([Score(r.response_id, SCORER, 0.0) for r in responses])
    store.save_scores([Score(str(p.reference_id), SCORER, 9.0) for p in PROMPTS])
    scores = RunScores(RUN, GENERATOR, SCORER)
    replace_pairs(
        store.database, scores, lambda page: {c.response_id: Decision(True, "weak") for c in page}, RECIPE
    )
    with store.database.transaction() as connection:
        connection.execute("UPDATE revisions SET status = 'succeeded', text = 'better'")
        connection.execute("UPDATE pairs SET admitted = true, weighed = true")
        revisions = connection.execute("SELECT revision_id, response_id FROM revisions").fetchall()
    store.save_scores([Score(revision, SCORER, float(response[-1])) for revision, response in revisions])
    return store


def _question(pair: summary.SpreadPair) -> int:
    return int(pair.messages[0].content.split()[-1])


def test_examples_are_spread_evenly_from_the_smallest_to_the_largest_gain(store: Store) -> None:
    pairs = summary.spread_pairs(store.database, RUN, SCORER, 3)
    assert [_question(pair) for pair in pairs] == [0, 4, 8]
    assert {(pair.reference, pair.reference_reward) for pair in pairs} == {("good", 9.0)}


def test_fewer_pairs_than_asked_for_are_all_shown_once(store: Store) -> None:
    assert [_question(p) for p in summary.spread_pairs(store.database, RUN, SCORER, 50)] == list(range(9))
    assert len(summary.spread_pairs(store.database, RUN, SCORER, 1)) == 1
    assert summary.spread_pairs(store.database, "another run", SCORER, 3) == []


def test_rewards_are_those_of_this_run_by_kind(store: Store) -> None:
    found = summary.rewards(store.database, RUN, GENERATOR, SCORER)
    assert sorted(found["revised"]) == [float(i) for i in range(9)]
    assert (found["initial"], found["reference"]) == ([0.0] * 9, [9.0] * 9)
    assert summary.rewards(store.database, RUN, GENERATOR, "another scorer")["initial"] == []


def test_calls_are_counted_by_outcome_and_by_when_they_were_sent(store: Store) -> None:
    with store.database.transaction() as connection:
        [(revision,)] = connection.execute("SELECT revision_id FROM revisions LIMIT 1").fetchall()
        for number, (minutes, outcome) in enumerate([(-5, "answered"), (1, "answered"), (2, None)]):
            sent = STARTED + timedelta(minutes=minutes)
            connection.execute(
                "INSERT INTO calls (call_id, revision_id, attempt, sent_at, answered_at, outcome, "
                "prompt_tokens, completion_tokens, estimated) VALUES (?, ?, 1, ?, ?, ?, 100, ?, ?)",
                [
                    f"call-{number}",
                    revision,
                    sent,
                    sent + timedelta(seconds=3) if outcome else None,
                    outcome,
                    20 if outcome else None,
                    outcome is None,
                ],
            )
    calls = summary.calls(store.database, RUN, STARTED)
    assert calls.by_outcome == {"answered": 2, "no answer": 1}
    assert (calls.calls, calls.since_start) == (3, 2)
    assert (calls.prompt_tokens, calls.completion_tokens) == (300, 40)
    assert calls.seconds_since_start == pytest.approx(3.0)
    assert summary.calls(store.database, "another run", STARTED).calls == 0


def test_a_run_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    store.save_run("run-abd2", "later", {}, None)
    assert summary.run(store.database, "run-abc").run_id == RUN
    assert summary.run(store.database).run_id == "run-abd2"
    assert [run.run_id for run in summary.runs(store.database)] == ["run-abd2", RUN]
    with pytest.raises(InputError, match="several runs begin"):
        summary.run(store.database, "run-ab")
    with pytest.raises(InputError, match="no run 'run-x'"):
        summary.run(store.database, "run-x")


def test_a_workspace_without_runs_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    store.create()
    with pytest.raises(InputError, match="no run yet"):
        summary.run(store.database)
