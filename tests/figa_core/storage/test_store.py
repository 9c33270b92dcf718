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
from figa_core.storage.admitted import AdmittedPairs
from figa_core.storage.pairs import (
    RevisionRecipe,
    RunScores,
    decide_admissions,
    iter_candidates,
    replace_pairs,
)
from figa_core.storage.revisions import count_open, iter_open, statuses
from figa_core.storage.rows import (
    Admissible,
    AdmittedPair,
    Sample,
    TrainingRow,
    references_of,
    responses_of,
    revisions_of,
)
from figa_core.storage.store import Store

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
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.create()
    for run in (RUN, OTHER):
        store.save_run(run, "test", {"a": 1}, "flow-run")
    store.import_prompts(RUN, [*TRAIN, *HELD_OUT])
    return store


def missing(
    store: Store, run: str = RUN, split: Split = Split.TRAIN, samples: int = 1, limit: int | None = None
) -> list[Sample]:
    pages = store.iter_missing_samples(run, GENERATOR, split, samples, limit)
    found = [sample for page in pages for sample in page]
    assert store.count_missing_samples(run, GENERATOR, split, samples, limit) == len(found)
    return found


def scored(store: Store) -> list[Candidate]:
    """Every prompt has a response; responses, references and revisions are scored by their number."""
    responses = [response(p) for p in (*TRAIN, *HELD_OUT)]
    store.save_responses(GENERATOR, responses)
    store.save_scores([Score(r.response_id, SCORER, float(i)) for i, r in enumerate(responses)])
    store.save_scores([Score(p.reference_id, SCORER, 9.0) for p in TRAIN if p.reference_id is not None])
    return candidates(store)


def candidates(store: Store, generator: str = GENERATOR, scorer: str = SCORER) -> list[Candidate]:
    return [c for page in iter_candidates(store.database, RunScores(RUN, generator, scorer)) for c in page]


def keep_all(store: Store, run: str = RUN, recipe: RevisionRecipe = RECIPE, *, but: str = "") -> None:
    """Keeps every candidate, except for the response `but`."""

    def keep(page: Sequence[Candidate]) -> dict[str, Decision]:
        return {
            c.response_id: Decision(c.response_id != but, "good enough" if c.response_id == but else "weak")
            for c in page
        }

    replace_pairs(store.database, RunScores(run, GENERATOR, SCORER), keep, recipe, page_rows=2)


def admit_all(store: Store, *, but: str = "") -> list[Admissible]:
    """Admits every revision, except for that of the response `but`; returns what there was to decide."""
    seen: list[Admissible] = []

    def admit(page: Sequence[Admissible]) -> dict[str, Decision]:
        seen.extend(page)
        return {row.response_id: Decision(row.response_id != but, "decided") for row in page}

    decide_admissions(store.database, RUN, SCORER, admit, page_rows=2)
    return seen


def exclude(store: Store, *subjects: str) -> None:
    with store.database.transaction() as connection:
        for subject in subjects:
            connection.execute("INSERT INTO exclusions (subject_id, reason) VALUES (?, 'no')", [subject])


def kept(store: Store, run: str = RUN) -> list[str]:
    """All candidates kept; returns the revision ids."""
    scored(store)
    keep_all(store, run)
    return [request.revision_id for page in iter_open(store.database, run, 2) for request in page]


def settle(store: Store, revision_id: str, status: RevisionStatus, *, retryable: bool = False) -> None:
    with store.database.transaction() as connection:
        connection.execute(
            "UPDATE revisions SET status = ?, retryable = ?, text = 'better' WHERE revision_id = ?",
            [str(status), retryable, revision_id],
        )


def test_a_sample_is_missing_until_it_is_stored_and_storing_it_twice_changes_nothing(store: Store) -> None:
    assert {s.prompt_id for s in missing(store)} == {p.prompt_id for p in TRAIN}
    assert store.save_responses(GENERATOR, [response(TRAIN[0])]) == 1
    assert store.save_responses(GENERATOR, [response(TRAIN[0])]) == 0
    assert TRAIN[0].prompt_id not in {s.prompt_id for s in missing(store)}
    assert len(missing(store, samples=3)) == 3 * len(TRAIN) - 1


def test_samples_are_asked_of_one_split_and_at_most_so_many_prompts(store: Store) -> None:
    assert {s.prompt_id for s in missing(store, split=Split.HELD_OUT)} == {p.prompt_id for p in HELD_OUT}
    assert len({s.prompt_id for s in missing(store, samples=2, limit=2)}) == 2


def test_prompts_of_another_run_are_invisible(store: Store) -> None:
    assert missing(store, run=OTHER) == []
    store.import_prompts(OTHER, TRAIN[:1])
    assert [s.prompt_id for s in missing(store, run=OTHER)] == [TRAIN[0].prompt_id]


def test_importing_again_changes_nothing(store: Store) -> None:
    store.import_prompts(RUN, TRAIN)
    assert len(missing(store)) == len(TRAIN)


def test_what_a_person_excluded_stays_out(store: Store) -> None:
    scored(store)
    exclude(store, TRAIN[0].prompt_id, response(TRAIN[1]).response_id)
    assert TRAIN[0].prompt_id not in {s.prompt_id for s in missing(store, samples=2)}
    assert response(TRAIN[1]).response_id not in {c.response_id for c in candidates(store)}


def test_a_text_is_unscored_until_this_scorer_has_a_value(store: Store) -> None:
    store.save_responses(GENERATOR, [response(p) for p in TRAIN])
    for source, n in ((responses_of(RUN, GENERATOR, Split.TRAIN), 6), (references_of(RUN), 3)):
        subjects = [s for page in store.iter_unscored(source, SCORER) for s in page]
        assert len(subjects) == n == store.count_unscored(source, SCORER)
        assert store.save_scores([Score(s.subject_id, SCORER, 0.0) for s in subjects]) == n
        assert store.count_unscored(source, SCORER) == 0
        assert store.count_unscored(source, "another scorer") == n


def test_candidates_are_training_rows_with_the_reward_of_their_reference(store: Store) -> None:
    of_prompt = {c.prompt_id: c for c in scored(store)}
    assert of_prompt.keys() == {p.prompt_id for p in TRAIN}
    assert of_prompt[TRAIN[1].prompt_id].reference_reward == 9.0
    assert of_prompt[TRAIN[2].prompt_id].reference_reward is None


def test_a_kept_pair_is_asked_for_until_its_state_is_final(store: Store) -> None:
    first, second, third, *others = kept(store)
    settle(store, first, RevisionStatus.SUCCEEDED)
    settle(store, second, RevisionStatus.FAILED, retryable=True)
    settle(store, third, RevisionStatus.REFUSED)
    open_rows = {r.revision_id for page in iter_open(store.database, RUN, 2) for r in page}
    assert open_rows == {second, *others}
    assert count_open(store.database, RUN) == len(open_rows)
    assert count_open(store.database, OTHER) == 0


def test_another_run_that_keeps_the_same_pair_finds_its_revision_done(store: Store) -> None:
    first, *_ = kept(store)
    settle(store, first, RevisionStatus.SUCCEEDED)
    store.import_prompts(OTHER, TRAIN)
    assert first not in kept(store, OTHER)
    assert statuses(store.database, OTHER) == {"pending": 5, "succeeded": 1}


def test_filtering_again_replaces_decisions_and_keeps_what_later_stages_decided(store: Store) -> None:
    revisions = admitted(store)
    first, second, *_ = candidates(store)
    keep_all(store, but=first.response_id)

    counts = summary.counts(store.database, RUN, GENERATOR)
    assert (counts.kept, counts.not_kept) == (len(revisions) - 1, {"good enough": 1})
    assert counts.admitted == len(revisions) - 1

    exclude(store, first.response_id, second.response_id)
    keep_all(store)
    counts = summary.counts(store.database, RUN, GENERATOR)
    assert (counts.kept, counts.not_kept) == (len(revisions) - 2, {})
    assert counts.admitted == len(revisions) - 2


def test_admitted_pairs_carry_all_that_weighing_needs_and_no_held_out_prompt(store: Store) -> None:
    for revision in kept(store):
        settle(store, revision, RevisionStatus.SUCCEEDED)
        store.save_scores([Score(revision, SCORER, 5.5)])
    source = revisions_of(RUN)
    assert store.count_unscored(source, SCORER) == 0
    assert {row.revision_reward for row in admit_all(store)} == {5.5}

    pairs = admitted_pairs(store)

    assert len(pairs) == len(TRAIN)
    assert {p.messages for p in pairs} == {p.messages for p in TRAIN}
    assert all((p.response_text, p.revision_text) == ("an answer", "better") for p in pairs)
    assert [p.pair_id for p in pairs] == sorted(p.pair_id for p in pairs)
    assert admitted_pairs(store, OTHER) == []


def test_values_of_a_split_are_those_of_sample_zero(store: Store) -> None:
    scored(store)
    store.save_responses(GENERATOR, [response(HELD_OUT[0], sample=1)])
    values = store.prompt_values(RUN, GENERATOR, SCORER, Split.HELD_OUT, 10)
    assert values == {p.prompt_id: float(len(TRAIN) + i) for i, p in enumerate(HELD_OUT)}
    assert len(store.prompt_values(RUN, GENERATOR, SCORER, Split.HELD_OUT, 2)) == 2


def test_a_run_that_starts_again_keeps_its_settings_and_drops_its_old_end(store: Store) -> None:
    store.save_run_settings(RUN, {"generator": GENERATOR})
    store.end_run(RUN, "failed", "a reason")
    store.save_run(RUN, "test", {"a": 2}, "another flow run")
    store.save_run_settings(RUN, {"scorer": SCORER})
    run = summary.run(store.database, RUN)
    assert (run.status, run.message, run.ended_at) == ("running", None, None)
    assert run.settings == {"generator": GENERATOR, "scorer": SCORER}
    assert run.config == {"a": 2}


def test_bad_rows_are_counted_by_kind(store: Store) -> None:
    reasons = ("duplicate of row 1", "duplicate of row 2", "the prompt is empty")
    rows = [BadRow(number, reason) for number, reason in enumerate(reasons)]
    store.save_bad_rows(RUN, rows)
    store.save_bad_rows(RUN, rows)
    counts = summary.counts(store.database, RUN, GENERATOR)
    assert counts.bad_rows == {"duplicate": 2, "the prompt is empty": 1}
    assert (counts.training_prompts, counts.held_out_prompts) == (len(TRAIN), len(HELD_OUT))


def admitted(store: Store) -> list[str]:
    """All pairs kept, revised, scored and admitted; returns the revision ids in order."""
    revisions = kept(store)
    for revision in revisions:
        settle(store, revision, RevisionStatus.SUCCEEDED)
    store.save_scores([Score(revision, SCORER, 5.5) for revision in revisions])
    admit_all(store)
    return revisions


def admitted_pairs(store: Store, run: str = RUN, *, only_undecided: bool = False) -> list[AdmittedPair]:
    with tempfile.TemporaryDirectory() as scratch:
        pairs = AdmittedPairs(store.database, run, SCORER, Path(scratch), only_undecided=only_undecided)
        found = [pair for page in pairs.pages() for pair in page]
        assert list(pairs.ids()) == [pair.pair_id for pair in found]
        assert len(pairs) == len(found)
        return found


def undecided(store: Store) -> list[str]:
    return [pair.pair_id for pair in admitted_pairs(store, only_undecided=True)]


def test_held_out_prompts_are_never_asked_of_the_reviser_nor_weighed(store: Store) -> None:
    revisions = admitted(store)
    held_out = {p.messages for p in HELD_OUT}
    with store.database.transaction() as connection:
        connection.execute("UPDATE revisions SET status = 'pending'")
    asked = {r.messages for page in iter_open(store.database, RUN, 2) for r in page}
    weighed = {p.messages for p in admitted_pairs(store)}
    assert len(asked) == len(weighed) == len(revisions)
    assert not held_out & (asked | weighed)


def test_a_prompt_keeps_the_split_it_was_first_given(store: Store) -> None:
    store.import_prompts(OTHER, [replace(HELD_OUT[0], split=Split.TRAIN)])
    assert missing(store, OTHER) == []
    assert len(missing(store, OTHER, Split.HELD_OUT)) == 1


def test_the_responses_of_an_excluded_prompt_are_no_candidates(store: Store) -> None:
    assert len(kept(store)) == len(TRAIN)
    exclude(store, TRAIN[0].prompt_id)
    assert TRAIN[0].prompt_id not in {c.prompt_id for c in candidates(store)}
    keep_all(store)
    assert count_open(store.database, RUN) == len(TRAIN) - 1


def test_an_excluded_held_out_prompt_is_not_judged_on(store: Store) -> None:
    scored(store)
    exclude(store, HELD_OUT[0].prompt_id)
    values = store.prompt_values(RUN, GENERATOR, SCORER, Split.HELD_OUT, 10)
    assert values.keys() == {p.prompt_id for p in HELD_OUT[1:]}


def test_a_reviser_is_given_the_prompt_the_response_and_the_reference_if_there_is_one(store: Store) -> None:
    kept(store)
    requests = {r.messages: r for page in iter_open(store.database, RUN, 2) for r in page}
    for one in TRAIN:
        request = requests[one.messages]
        assert (request.response_id, request.response) == (response(one).response_id, "an answer")
        assert request.reference == one.reference


def test_another_template_or_model_is_another_revision(store: Store) -> None:
    first = set(kept(store))
    for recipe in (replace(RECIPE, model="n"), replace(RECIPE, templates={True: "a", False: "b"})):
        keep_all(store, recipe=recipe)
        now = {r.revision_id for page in iter_open(store.database, RUN, 2) for r in page}
        assert len(now) == len(first)
        assert not now & first


def test_a_changed_revision_forgets_what_was_decided_about_the_old_one(store: Store) -> None:
    revisions = admitted(store)
    keep_all(store)
    assert len(admitted_pairs(store)) == len(revisions)
    keep_all(store, recipe=replace(RECIPE, model="n"))
    assert admitted_pairs(store) == []


def test_only_pairs_without_a_weighing_are_undecided(store: Store, tmp_path: Path) -> None:
    first, second, *others = revisions = admitted(store)
    assert undecided(store) == revisions
    shard = tmp_path / "shards[1]" / "part.parquet"
    shard.parent.mkdir()
    pq.write_table(pa.table({"pair_id": [first, "of another run"]}), shard)
    store.save_weighed_shards(RUN, [shard])
    assert undecided(store) == [second, *others]
    pairs = {p.pair_id: p for p in admitted_pairs(store)}
    store.save_weighings(RUN, {pairs[second].response_id: Decision(False, "too long")})
    assert undecided(store) == others


def test_a_revision_that_was_not_admitted_is_not_weighed(store: Store) -> None:
    revisions = admitted(store)
    admit_all(store, but=candidates(store)[0].response_id)
    assert len(undecided(store)) == len(revisions) - 1 == len(admitted_pairs(store))


def test_scores_and_responses_of_another_model_are_invisible(store: Store) -> None:
    scored(store)
    assert candidates(store, generator="another generator") == []
    assert candidates(store, scorer="another scorer") == []
    assert store.prompt_values(RUN, GENERATOR, "another scorer", Split.HELD_OUT, 10) == {}
    assert store.count_responses(RUN, GENERATOR, Split.TRAIN) == len(TRAIN)
    assert store.count_responses(RUN, "another generator", Split.TRAIN) == 0
    assert store.count_responses(OTHER, GENERATOR, Split.TRAIN) == 0


def test_what_was_stored_first_stays(store: Store) -> None:
    first = response(TRAIN[0])
    store.save_responses(GENERATOR, [first])
    assert store.save_responses(GENERATOR, [replace(first, text="another"), response(TRAIN[1])]) == 1
    source = responses_of(RUN, GENERATOR, Split.TRAIN)
    texts = [s.text for page in store.iter_unscored(source, SCORER) for s in page]
    assert texts == ["an answer", "an answer"]
    assert store.save_scores([Score(first.response_id, SCORER, 1.0)]) == 1
    assert store.save_scores([Score(first.response_id, SCORER, 2.0)]) == 0
    assert [c.response_reward for c in candidates(store)] == [1.0]


def test_a_row_twice_in_one_batch_is_stored_once(store: Store) -> None:
    store.import_prompts(OTHER, [TRAIN[0], TRAIN[0]])
    assert len(missing(store, OTHER)) == 1
    assert store.save_responses(GENERATOR, [response(TRAIN[0])] * 2) == 1


def test_texts_come_back_as_they_went_in(store: Store) -> None:
    for text in ("", " spaces ", "line\nbreak", "nul\x00", "😀 'quoted' ; DROP TABLE runs"):
        messages = (Message("system", text), Message("user", text))
        store.import_prompts(OTHER, [Prompt(ids.prompt_id(messages), messages, Split.TRAIN)])
        assert messages in {sample.messages for sample in missing(store, OTHER)}


def test_pages_leave_nothing_out_and_give_nothing_twice(store: Store) -> None:
    store.import_prompts(OTHER, [prompt(i, reference="good") for i in range(100, 2350)])
    samples = missing(store, OTHER, samples=2)
    assert len(samples) == len({(s.prompt_id, s.sample_index) for s in samples}) == 4500
    texts = [s.subject_id for page in store.iter_unscored(references_of(OTHER), SCORER) for s in page]
    assert len(texts) == len(set(texts)) == 2250
    assert texts == sorted(texts)


def test_what_is_done_while_the_pages_are_walked_disturbs_nothing(store: Store) -> None:
    rows = kept(store)
    seen = []
    for page in iter_open(store.database, RUN, 2):
        for request in page:
            seen.append(request.revision_id)
            settle(store, request.revision_id, RevisionStatus.SUCCEEDED)
    assert seen == rows


def test_an_evaluation_is_replaced_and_a_training_recorded_once(store: Store) -> None:
    for mean in (0.5, 0.75):
        store.save_evaluation(RUN, "base", GENERATOR, SCORER, "reward", (3, mean, None))
    training = TrainingRow("training-1", RUN, "figa", "shards-1", "base", "/dir", 10, 1.5)
    for seconds in (1.5, 99.0):
        store.save_training(replace(training, seconds=seconds), "fingerprint")
    with store.database.open() as connection:
        assert connection.execute("SELECT n, mean, standard_error, left_out FROM evaluations").fetchall() == [
            (3, 0.75, None, 0)
        ]
        assert connection.execute("SELECT seconds FROM trainings").fetchall() == [(1.5,)]
        assert connection.execute("SELECT fingerprint, training_id, promoted FROM models").fetchall() == [
            ("fingerprint", "training-1", False)
        ]


def test_a_run_without_a_single_row_to_decide_about_is_no_error(store: Store) -> None:
    kept(store)
    exclude(store, *(p.prompt_id for p in TRAIN))
    keep_all(store)
    assert admit_all(store) == []
    store.save_weighings(RUN, {})
    store.save_bad_rows(RUN, [])
    store.import_prompts(RUN, [])
    assert count_open(store.database, RUN) == 0
