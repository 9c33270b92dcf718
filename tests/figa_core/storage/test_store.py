"""What a stage is given to do: rows of its own run that are not done, never held-out ones for training."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from figa_core import ids
from figa_core.filtering import Candidate
from figa_core.prompts.read import BadRow
from figa_core.records import (
    Decision,
    FinishReason,
    Message,
    Prompt,
    Response,
    RevisionStatus,
    Score,
    Split,
)
from figa_core.storage import summary
from figa_core.storage.admitted import AdmittedPair, AdmittedPairs, save_weighed_shards, save_weighings
from figa_core.storage.database import Database
from figa_core.storage.evaluations import Evaluation, prompt_values, save_evaluation
from figa_core.storage.pairs import (
    Admissible,
    RevisionRecipe,
    RunScores,
    decide_admissions,
    iter_candidates,
    replace_pairs,
)
from figa_core.storage.prompts import save_bad_rows, save_prompts
from figa_core.storage.responses import (
    Sample,
    Samples,
    count_missing_samples,
    iter_missing_samples,
    save_responses,
)
from figa_core.storage.revisions import count_open, iter_open, statuses
from figa_core.storage.runs import Findings, end_run, find_run, save_findings, save_run
from figa_core.storage.scores import (
    count_unscored,
    iter_unscored,
    references_of,
    responses_of,
    revisions_of,
    save_scores,
)
from figa_core.storage.trainings import Training, save_training

RUN, OTHER = "run-1", "run-2"
GENERATOR, SCORER = "generator", "scorer"
RECIPE = RevisionRecipe("m", 0.0, 64, {True: "with reference", False: "without"})


def prompt(index: int, split: Split = Split.TRAIN, reference: str | None = None) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    prompt_id = ids.prompt_id(messages)
    reference_id = None if reference is None else ids.reference_id(prompt_id, reference)
    return Prompt(prompt_id, messages, split, reference, reference_id)


TRAIN = [prompt(i, reference=f"good {i}" if i % 2 else None) for i in range(6)]
HELD_OUT = [prompt(i, Split.HELD_OUT, "good") for i in range(10, 13)]


def response(of: Prompt, sample: int = 0) -> Response:
    response_id = ids.response_id(of.prompt_id, GENERATOR, sample)
    return Response(response_id, of.prompt_id, sample, "an answer", (1, 2, 3), FinishReason.STOP)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "figa.duckdb")
    database.create()
    for run in (RUN, OTHER):
        save_run(database, run, "test", {"a": 1}, "flow-run")
    save_prompts(database, RUN, [*TRAIN, *HELD_OUT])
    return database


def missing(
    database: Database, run: str = RUN, split: Split = Split.TRAIN, samples: int = 1, limit: int | None = None
) -> list[Sample]:
    wanted = Samples(run, GENERATOR, split, samples, limit)
    pages = iter_missing_samples(database, wanted)
    found = [sample for page in pages for sample in page]
    assert count_missing_samples(database, wanted) == len(found)
    return found


def scored(database: Database) -> list[Candidate]:
    """Every prompt has a response; responses, references and revisions are scored by their number."""
    responses = [response(p) for p in (*TRAIN, *HELD_OUT)]
    save_responses(database, GENERATOR, responses)
    save_scores(database, [Score(r.response_id, SCORER, float(i)) for i, r in enumerate(responses)])
    save_scores(database, [Score(p.reference_id, SCORER, 9.0) for p in TRAIN if p.reference_id is not None])
    return candidates(database)


def held_out_values(database: Database, limit: int = 10, scorer: str = SCORER) -> dict[str, float]:
    return prompt_values(database, Samples(RUN, GENERATOR, Split.HELD_OUT, max_prompts=limit), scorer)


def candidates(database: Database, generator: str = GENERATOR, scorer: str = SCORER) -> list[Candidate]:
    return [c for page in iter_candidates(database, RunScores(RUN, generator, scorer)) for c in page]


def keep_all(database: Database, run: str = RUN, recipe: RevisionRecipe = RECIPE, *, but: str = "") -> None:
    """Keeps every candidate, except for the response `but`."""

    def keep(page: Sequence[Candidate]) -> dict[str, Decision]:
        return {
            c.response_id: Decision(c.response_id != but, "good enough" if c.response_id == but else "weak")
            for c in page
        }

    replace_pairs(database, RunScores(run, GENERATOR, SCORER), keep, recipe, page_rows=2)


def admit_all(database: Database, *, but: str = "") -> list[Admissible]:
    """Admits every revision, except for that of the response `but`; returns what there was to decide."""
    seen: list[Admissible] = []

    def admit(page: Sequence[Admissible]) -> dict[str, Decision]:
        seen.extend(page)
        return {row.response_id: Decision(row.response_id != but, "decided") for row in page}

    decide_admissions(database, RUN, SCORER, admit, page_rows=2)
    return seen


def exclude(database: Database, *subjects: str) -> None:
    with database.transaction() as connection:
        for subject in subjects:
            connection.execute("INSERT INTO exclusions (subject_id, reason) VALUES (?, 'no')", [subject])


def kept(database: Database, run: str = RUN) -> list[str]:
    """All candidates kept; returns the revision ids."""
    scored(database)
    keep_all(database, run)
    return [request.revision_id for page in iter_open(database, run, 2) for request in page]


def settle(database: Database, revision_id: str, status: RevisionStatus, *, retryable: bool = False) -> None:
    with database.transaction() as connection:
        connection.execute(
            "UPDATE revisions SET status = ?, retryable = ?, text = 'better' WHERE revision_id = ?",
            [str(status), retryable, revision_id],
        )


def test_a_sample_is_missing_until_it_is_stored_and_storing_it_twice_changes_nothing(
    database: Database,
) -> None:
    assert {s.prompt_id for s in missing(database)} == {p.prompt_id for p in TRAIN}
    assert save_responses(database, GENERATOR, [response(TRAIN[0])]) == 1
    assert save_responses(database, GENERATOR, [response(TRAIN[0])]) == 0
    assert TRAIN[0].prompt_id not in {s.prompt_id for s in missing(database)}
    assert len(missing(database, samples=3)) == 3 * len(TRAIN) - 1


def test_samples_are_asked_of_one_split_and_at_most_so_many_prompts(database: Database) -> None:
    assert {s.prompt_id for s in missing(database, split=Split.HELD_OUT)} == {p.prompt_id for p in HELD_OUT}
    assert len({s.prompt_id for s in missing(database, samples=2, limit=2)}) == 2


def test_prompts_of_another_run_are_invisible(database: Database) -> None:
    assert missing(database, run=OTHER) == []
    save_prompts(database, OTHER, TRAIN[:1])
    assert [s.prompt_id for s in missing(database, run=OTHER)] == [TRAIN[0].prompt_id]


def test_importing_again_changes_nothing(database: Database) -> None:
    save_prompts(database, RUN, TRAIN)
    assert len(missing(database)) == len(TRAIN)


def test_what_a_person_excluded_stays_out(database: Database) -> None:
    scored(database)
    exclude(database, TRAIN[0].prompt_id, response(TRAIN[1]).response_id)
    assert TRAIN[0].prompt_id not in {s.prompt_id for s in missing(database, samples=2)}
    assert response(TRAIN[1]).response_id not in {c.response_id for c in candidates(database)}


def test_a_text_is_unscored_until_this_scorer_has_a_value(database: Database) -> None:
    save_responses(database, GENERATOR, [response(p) for p in TRAIN])
    for source, n in ((responses_of(RUN, GENERATOR, Split.TRAIN), 6), (references_of(RUN), 3)):
        subjects = [s for page in iter_unscored(database, source, SCORER) for s in page]
        assert len(subjects) == n == count_unscored(database, source, SCORER)
        assert save_scores(database, [Score(s.subject_id, SCORER, 0.0) for s in subjects]) == n
        assert count_unscored(database, source, SCORER) == 0
        assert count_unscored(database, source, "another scorer") == n


def test_candidates_are_training_rows_with_the_reward_of_their_reference(database: Database) -> None:
    of_prompt = {c.prompt_id: c for c in scored(database)}
    assert of_prompt.keys() == {p.prompt_id for p in TRAIN}
    assert of_prompt[TRAIN[1].prompt_id].reference_reward == 9.0
    assert of_prompt[TRAIN[2].prompt_id].reference_reward is None


def test_a_kept_pair_is_asked_for_until_its_state_is_final(database: Database) -> None:
    first, second, third, *others = kept(database)
    settle(database, first, RevisionStatus.SUCCEEDED)
    settle(database, second, RevisionStatus.FAILED, retryable=True)
    settle(database, third, RevisionStatus.REFUSED)
    open_rows = {r.revision_id for page in iter_open(database, RUN, 2) for r in page}
    assert open_rows == {second, *others}
    assert count_open(database, RUN) == len(open_rows)
    assert count_open(database, OTHER) == 0


def test_another_run_that_keeps_the_same_pair_finds_its_revision_done(database: Database) -> None:
    first, *_ = kept(database)
    settle(database, first, RevisionStatus.SUCCEEDED)
    save_prompts(database, OTHER, TRAIN)
    assert first not in kept(database, OTHER)
    assert statuses(database, OTHER) == {"pending": 5, "succeeded": 1}


def test_filtering_again_replaces_decisions_and_keeps_what_later_stages_decided(database: Database) -> None:
    revisions = admitted(database)
    first, second, *_ = candidates(database)
    keep_all(database, but=first.response_id)

    counts = summary.counts(database, RUN, GENERATOR)
    assert (counts.kept, counts.not_kept) == (len(revisions) - 1, {"good enough": 1})
    assert counts.admitted == len(revisions) - 1

    exclude(database, first.response_id, second.response_id)
    keep_all(database)
    counts = summary.counts(database, RUN, GENERATOR)
    assert (counts.kept, counts.not_kept) == (len(revisions) - 2, {})
    assert counts.admitted == len(revisions) - 2


def test_admitted_pairs_carry_all_that_weighing_needs_and_no_held_out_prompt(database: Database) -> None:
    for revision in kept(database):
        settle(database, revision, RevisionStatus.SUCCEEDED)
        save_scores(database, [Score(revision, SCORER, 5.5)])
    source = revisions_of(RUN)
    assert count_unscored(database, source, SCORER) == 0
    assert {row.revision_reward for row in admit_all(database)} == {5.5}

    pairs = admitted_pairs(database)

    assert len(pairs) == len(TRAIN)
    assert {p.messages for p in pairs} == {p.messages for p in TRAIN}
    assert all((p.response_text, p.revision_text) == ("an answer", "better") for p in pairs)
    assert [p.pair_id for p in pairs] == sorted(p.pair_id for p in pairs)
    assert admitted_pairs(database, OTHER) == []


def test_values_of_a_split_are_those_of_sample_zero(database: Database) -> None:
    scored(database)
    save_responses(database, GENERATOR, [response(HELD_OUT[0], sample=1)])
    values = held_out_values(database)
    assert values == {p.prompt_id: float(len(TRAIN) + i) for i, p in enumerate(HELD_OUT)}
    assert len(held_out_values(database, 2)) == 2


def test_a_run_that_starts_again_keeps_its_settings_and_drops_its_old_end(database: Database) -> None:
    save_findings(database, RUN, Findings(generator=GENERATOR, trainings={"figa": "t1"}))
    end_run(database, RUN, "failed", "a reason")
    save_run(database, RUN, "test", {"a": 2}, "another flow run")
    save_findings(database, RUN, Findings(scorer=SCORER, trainings={"sft": "t2"}))
    run = find_run(database, RUN)
    assert (run.status, run.message, run.ended_at) == ("running", None, None)
    assert run.found == Findings(GENERATOR, SCORER, trainings={"figa": "t1", "sft": "t2"})
    assert run.config == {"a": 2}


def test_bad_rows_are_counted_by_kind(database: Database) -> None:
    reasons = ("duplicate of row 1", "duplicate of row 2", "the prompt is empty")
    rows = [BadRow(number, reason) for number, reason in enumerate(reasons)]
    save_bad_rows(database, RUN, rows)
    save_bad_rows(database, RUN, rows)
    counts = summary.counts(database, RUN, GENERATOR)
    assert counts.bad_rows == {"duplicate": 2, "the prompt is empty": 1}
    assert (counts.training_prompts, counts.held_out_prompts) == (len(TRAIN), len(HELD_OUT))


def admitted(database: Database) -> list[str]:
    """All pairs kept, revised, scored and admitted; returns the revision ids in order."""
    revisions = kept(database)
    for revision in revisions:
        settle(database, revision, RevisionStatus.SUCCEEDED)
    save_scores(database, [Score(revision, SCORER, 5.5) for revision in revisions])
    admit_all(database)
    return revisions


def admitted_pairs(database: Database, run: str = RUN, *, only_undecided: bool = False) -> list[AdmittedPair]:
    with tempfile.TemporaryDirectory() as scratch:
        pairs = AdmittedPairs(database, run, SCORER, Path(scratch), only_undecided=only_undecided)
        found = [pair for page in pairs.pages() for pair in page]
        assert list(pairs.ids()) == [pair.pair_id for pair in found]
        assert len(pairs) == len(found)
        return found


def undecided(database: Database) -> list[str]:
    return [pair.pair_id for pair in admitted_pairs(database, only_undecided=True)]


def test_held_out_prompts_are_never_asked_of_the_reviser_nor_weighed(database: Database) -> None:
    revisions = admitted(database)
    held_out = {p.messages for p in HELD_OUT}
    with database.transaction() as connection:
        connection.execute("UPDATE revisions SET status = 'pending'")
    asked = {r.messages for page in iter_open(database, RUN, 2) for r in page}
    weighed = {p.messages for p in admitted_pairs(database)}
    assert len(asked) == len(weighed) == len(revisions)
    assert not held_out & (asked | weighed)


def test_a_prompt_keeps_the_split_it_was_first_given(database: Database) -> None:
    save_prompts(database, OTHER, [replace(HELD_OUT[0], split=Split.TRAIN)])
    assert missing(database, OTHER) == []
    assert len(missing(database, OTHER, Split.HELD_OUT)) == 1


def test_the_responses_of_an_excluded_prompt_are_no_candidates(database: Database) -> None:
    assert len(kept(database)) == len(TRAIN)
    exclude(database, TRAIN[0].prompt_id)
    assert TRAIN[0].prompt_id not in {c.prompt_id for c in candidates(database)}
    keep_all(database)
    assert count_open(database, RUN) == len(TRAIN) - 1


def test_an_excluded_held_out_prompt_is_not_judged_on(database: Database) -> None:
    scored(database)
    exclude(database, HELD_OUT[0].prompt_id)
    values = held_out_values(database)
    assert values.keys() == {p.prompt_id for p in HELD_OUT[1:]}


def test_a_reviser_is_given_the_prompt_the_response_and_the_reference_if_there_is_one(
    database: Database,
) -> None:
    kept(database)
    requests = {r.messages: r for page in iter_open(database, RUN, 2) for r in page}
    for one in TRAIN:
        request = requests[one.messages]
        assert (request.response_id, request.response) == (response(one).response_id, "an answer")
        assert request.reference == one.reference


def test_another_template_or_model_is_another_revision(database: Database) -> None:
    first = set(kept(database))
    for recipe in (replace(RECIPE, model="n"), replace(RECIPE, templates={True: "a", False: "b"})):
        keep_all(database, recipe=recipe)
        now = {r.revision_id for page in iter_open(database, RUN, 2) for r in page}
        assert len(now) == len(first)
        assert not now & first


def test_a_changed_revision_forgets_what_was_decided_about_the_old_one(database: Database) -> None:
    revisions = admitted(database)
    keep_all(database)
    assert len(admitted_pairs(database)) == len(revisions)
    keep_all(database, recipe=replace(RECIPE, model="n"))
    assert admitted_pairs(database) == []


def test_only_pairs_without_a_weighing_are_undecided(database: Database, tmp_path: Path) -> None:
    first, second, *others = revisions = admitted(database)
    assert undecided(database) == revisions
    shard = tmp_path / "shards[1]" / "part.parquet"
    shard.parent.mkdir()
    pq.write_table(pa.table({"pair_id": [first, "of another run"]}), shard)
    save_weighed_shards(database, RUN, [shard])
    assert undecided(database) == [second, *others]
    pairs = {p.pair_id: p for p in admitted_pairs(database)}
    save_weighings(database, RUN, {pairs[second].response_id: Decision(False, "too long")})
    assert undecided(database) == others


def test_a_revision_that_was_not_admitted_is_not_weighed(database: Database) -> None:
    revisions = admitted(database)
    admit_all(database, but=candidates(database)[0].response_id)
    assert len(undecided(database)) == len(revisions) - 1 == len(admitted_pairs(database))


def test_scores_and_responses_of_another_model_are_invisible(database: Database) -> None:
    scored(database)
    assert candidates(database, generator="another generator") == []
    assert candidates(database, scorer="another scorer") == []
    assert held_out_values(database, scorer="another scorer") == {}


def test_what_was_stored_first_stays(database: Database) -> None:
    first = response(TRAIN[0])
    save_responses(database, GENERATOR, [first])
    assert save_responses(database, GENERATOR, [replace(first, text="another"), response(TRAIN[1])]) == 1
    source = responses_of(RUN, GENERATOR, Split.TRAIN)
    texts = [s.text for page in iter_unscored(database, source, SCORER) for s in page]
    assert texts == ["an answer", "an answer"]
    assert save_scores(database, [Score(first.response_id, SCORER, 1.0)]) == 1
    assert save_scores(database, [Score(first.response_id, SCORER, 2.0)]) == 0
    assert [c.response_reward for c in candidates(database)] == [1.0]


def test_a_row_twice_in_one_batch_is_stored_once(database: Database) -> None:
    save_prompts(database, OTHER, [TRAIN[0], TRAIN[0]])
    assert len(missing(database, OTHER)) == 1
    assert save_responses(database, GENERATOR, [response(TRAIN[0])] * 2) == 1


def test_texts_come_back_as_they_went_in(database: Database) -> None:
    for text in ("", " spaces ", "line\nbreak", "nul\x00", "😀 'quoted' ; DROP TABLE runs"):
        messages = (Message("system", text), Message("user", text))
        save_prompts(database, OTHER, [Prompt(ids.prompt_id(messages), messages, Split.TRAIN)])
        assert messages in {sample.messages for sample in missing(database, OTHER)}


def test_pages_leave_nothing_out_and_give_nothing_twice(database: Database) -> None:
    save_prompts(database, OTHER, [prompt(i, reference="good") for i in range(100, 2350)])
    samples = missing(database, OTHER, samples=2)
    assert len(samples) == len({(s.prompt_id, s.sample_index) for s in samples}) == 4500
    texts = [s.subject_id for page in iter_unscored(database, references_of(OTHER), SCORER) for s in page]
    assert len(texts) == len(set(texts)) == 2250
    assert texts == sorted(texts)


def test_what_is_done_while_the_pages_are_walked_disturbs_nothing(database: Database) -> None:
    rows = kept(database)
    seen = []
    for page in iter_open(database, RUN, 2):
        for request in page:
            seen.append(request.revision_id)
            settle(database, request.revision_id, RevisionStatus.SUCCEEDED)
    assert seen == rows


def test_an_evaluation_is_replaced_and_a_training_recorded_once(database: Database) -> None:
    for mean in (0.5, 0.75):
        save_evaluation(database, Evaluation(RUN, "base", "reward", GENERATOR, SCORER, 3, mean, None))
    training = Training("training-1", RUN, "figa", "shards-1", "base", "/dir", 10, 1.5)
    for seconds in (1.5, 99.0):
        save_training(database, replace(training, seconds=seconds), "fingerprint")
    with database.open() as connection:
        assert connection.execute("SELECT n, mean, standard_error, left_out FROM evaluations").fetchall() == [
            (3, 0.75, None, 0)
        ]
        assert connection.execute("SELECT seconds FROM trainings").fetchall() == [(1.5,)]
        assert connection.execute("SELECT fingerprint, training_id, promoted FROM models").fetchall() == [
            ("fingerprint", "training-1", False)
        ]


def test_a_run_without_a_single_row_to_decide_about_is_no_error(database: Database) -> None:
    kept(database)
    exclude(database, *(p.prompt_id for p in TRAIN))
    keep_all(database)
    assert admit_all(database) == []
    save_weighings(database, RUN, {})
    save_bad_rows(database, RUN, [])
    save_prompts(database, RUN, [])
    assert count_open(database, RUN) == 0
