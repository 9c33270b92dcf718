"""Pairs of a run's answers, and what a verifier says of the pairs that a run trains on."""

from pathlib import Path

from figa_core.records import Response, Score
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import Database
from figa_core.storage.preference_pairs import (
    answers_to_compare,
    best_and_worst,
    rewards_of,
    texts_of,
    verified_pairs,
)
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import count_unscored, iter_unrated, iter_unscored, save_scores
from figa_core.study.reward.pairs import PreferencePair, make_pair, write_table

from .filled import RUN, SCORER, TRAIN, admitted, response, scored

VERIFIER = "verifier"


def answered(database: Database, generator: str, values: list[float]) -> list[Response]:
    """An answer of this generator to each training prompt, with these values of the verifier."""
    rows = [
        Response(
            f"{generator}-{n}", of.prompt_id, 0, f"{generator} says {n}", (1,), response(of).finish_reason
        )
        for n, of in enumerate(TRAIN)
    ]
    save_responses(database, generator, rows)
    save_scores(database, [Score(r.response_id, VERIFIER, v) for r, v in zip(rows, values, strict=True)])
    return rows


def test_of_each_prompt_with_different_answers_the_best_and_the_worst_are_a_pair(database: Database) -> None:
    answered(database, "one", [0.1, 0.5, 0.9, 0.2, 0.0, 1.0])
    answered(database, "two", [0.3, 0.5, 0.1, 0.2, 0.6, 0.0])
    answered(database, "other", [1.0] * 6)
    rows = best_and_worst(database, RUN, ["one", "two"], VERIFIER)
    assert {(best, worst) for _, best, _, worst, _ in rows} == {
        ("two-0", "one-0"),
        ("one-2", "two-2"),
        ("two-4", "one-4"),
        ("one-5", "two-5"),
    }
    messages, _, text, _, other = next(row for row in rows if row[1] == "two-0")
    assert read_messages(messages) == TRAIN[0].messages
    assert (text, other) == ("two says 0", "one says 0")


def test_only_answers_of_these_generators_to_the_first_prompts_are_compared(database: Database) -> None:
    answered(database, "one", [0.1] * 6)
    answered(database, "two", [0.2] * 6)
    answered(database, "other", [0.3] * 6)
    source = answers_to_compare(RUN, ["one", "two"], 4)
    pages = iter_unscored(database, source, "nobody")
    found = [subject for page in pages for subject in page]
    assert len(found) == count_unscored(database, source, "nobody") == 8
    assert not [subject for subject in found if subject.subject_id.startswith("other")]


def test_the_texts_of_a_table_are_scored_like_those_of_the_run(database: Database, tmp_path: Path) -> None:
    table = tmp_path / "it's a table.parquet"
    made = make_pair(TRAIN[1].messages, "better", "worse")
    assert isinstance(made, PreferencePair)
    write_table(table, [made])
    source = texts_of(table, RUN)
    found = [subject for page in iter_unscored(database, source, SCORER) for subject in page]
    assert {subject.text for subject in found} == {"better", "worse"}
    assert {subject.messages for subject in found} == {TRAIN[1].messages}
    save_scores(database, [Score(made.chosen_id, SCORER, 2.0)])
    assert rewards_of(database, table, SCORER) == [(2.0, None)]
    assert count_unscored(database, source, SCORER) == 1


def test_a_program_rates_pairs_of_prompts_that_are_not_in_the_run(database: Database, tmp_path: Path) -> None:
    made = make_pair(read_messages('[{"role": "user", "content": "not in the run"}]'), "better", "worse")
    assert isinstance(made, PreferencePair)
    write_table(tmp_path / "pairs.parquet", [made])
    source = texts_of(tmp_path / "pairs.parquet", RUN)
    [page] = iter_unrated(database, source, SCORER, ["reference"])
    assert [request.fields for request in page] == [{"reference": None}, {"reference": None}]


def test_a_revision_that_is_no_better_is_a_mistake(database: Database) -> None:
    revisions = admitted(database)
    before = {of.prompt_id: response(of).response_id for of in TRAIN}
    rows = database.fetch("SELECT response_id, revision_id FROM pairs WHERE run_id = $run AND kept", run=RUN)
    by_response = dict(rows)
    values = [(0.5, 0.9), (0.5, 0.5), (0.5, 0.2), (0.5, 0.6), (0.5, 0.7)]  # the sixth has none
    for response_id, (old, new) in zip(before.values(), values, strict=False):
        save_scores(
            database, [Score(response_id, VERIFIER, old), Score(by_response[response_id], VERIFIER, new)]
        )
    found = verified_pairs(database, RUN, VERIFIER)
    assert len(revisions) == found.candidates == found.kept == found.revised == found.admitted == 6
    assert (found.verified, found.mistakes, found.worse, found.missed) == (5, 2, 1, 0)


def test_a_better_revision_that_is_not_admitted_is_missed(database: Database) -> None:
    admitted(database)
    rows = database.fetch("SELECT response_id, revision_id FROM pairs WHERE run_id = $run", run=RUN)
    (out, better), (also_out, worse), *_ = rows
    for response_id, revision_id, new in ((out, better, 0.9), (also_out, worse, 0.1)):
        save_scores(database, [Score(response_id, VERIFIER, 0.5), Score(revision_id, VERIFIER, new)])
        database.execute("UPDATE pairs SET admitted = false WHERE response_id = $id", id=response_id)
    found = verified_pairs(database, RUN, VERIFIER)
    assert (found.admitted, found.verified, found.missed) == (4, 0, 1)


def test_what_the_filter_leaves_out_is_a_candidate_only(database: Database) -> None:
    scored(database)
    found = verified_pairs(database, RUN, VERIFIER)
    assert (found.candidates, found.admitted, found.mistakes) == (0, 0, 0)
