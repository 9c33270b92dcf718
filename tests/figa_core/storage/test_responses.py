"""Missing samples and unscored texts are those of this run that are not done."""

from dataclasses import replace

from figa_core import ids
from figa_core.records import Message, Prompt, Score, Split
from figa_core.storage.combined import fix_scales
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import (
    ALL_THOUGHT,
    Samples,
    ThoughtCounts,
    count_thoughts,
    save_responses,
    tokens_drawn,
)
from figa_core.storage.scores import (
    answers_of,
    count_unscored,
    iter_unscored,
    references_of,
    responses_of,
    save_scores,
)

from .filled import (
    GENERATOR,
    HELD_OUT,
    OTHER,
    RUN,
    SCORER,
    TRAIN,
    candidates,
    exclude,
    missing,
    prompt,
    response,
    scored,
)


def test_a_response_that_is_all_thought_is_a_candidate_without_a_reward(database: Database) -> None:
    thinking = {"thought": "<think>hm</think>", "thought_ids": (7, 8)}
    samples = [replace(response(p), **thinking) for p in TRAIN]
    samples[0] = replace(samples[0], text="", token_ids=())
    save_responses(database, GENERATOR, [*samples[:4], response(TRAIN[4])])
    save_scores(database, [Score(r.response_id, SCORER, 1.0) for r in samples[:5]])
    found = {c.prompt_id: c for c in candidates(database)}
    empty = found.pop(TRAIN[0].prompt_id)
    assert (empty.response_reward, empty.response_failure) == (None, ALL_THOUGHT)
    assert all(c.response_reward == 1.0 and c.response_failure is None for c in found.values())
    assert count_thoughts(database, RUN, GENERATOR) == ThoughtCounts(5, 4, 1)
    assert tokens_drawn(database, Samples(RUN, GENERATOR, Split.TRAIN)) == (5, 4 * 2 + 4 * 3)


def test_a_response_that_is_all_thought_needs_no_reward_and_has_its_reason(database: Database) -> None:
    """No judge is paid for it, and it does not enter the scales of combined rewards."""
    samples = [replace(response(p), thought="<think>hm</think>") for p in TRAIN]
    save_responses(database, GENERATOR, [replace(samples[0], text=""), *samples[1:]])
    texts = answers_of(RUN, GENERATOR)
    [page] = iter_unscored(database, texts, SCORER)
    assert {each.subject_id for each in page} == {r.response_id for r in samples[1:]}
    save_scores(database, [Score(r.response_id, SCORER, float(i)) for i, r in enumerate(samples)][1:])
    [scale] = fix_scales(database, texts, "combined", [SCORER])
    assert scale.n == len(samples) - 1
    [dropped] = [each for each in candidates(database) if each.response_reward is None]
    assert (dropped.prompt_id, dropped.response_failure) == (TRAIN[0].prompt_id, ALL_THOUGHT)
    assert count_unscored(database, responses_of(RUN, GENERATOR, Split.TRAIN), SCORER) == 1


def test_a_sample_is_missing_until_it_is_stored_and_storing_it_twice_changes_nothing(
    database: Database,
) -> None:
    assert {s.prompt_id for s in missing(database)} == {p.prompt_id for p in TRAIN}
    assert save_responses(database, GENERATOR, [response(TRAIN[0])]) == 1
    assert save_responses(database, GENERATOR, [response(TRAIN[0])]) == 0
    assert TRAIN[0].prompt_id not in {s.prompt_id for s in missing(database)}
    assert len(missing(database, samples=3)) == 3 * len(TRAIN) - 1


def test_samples_are_of_one_split_and_of_a_limited_number_of_prompts(database: Database) -> None:
    assert {s.prompt_id for s in missing(database, split=Split.HELD_OUT)} == {p.prompt_id for p in HELD_OUT}
    assert len({s.prompt_id for s in missing(database, samples=2, limit=2)}) == 2


def test_prompts_of_another_run_are_invisible(database: Database) -> None:
    assert missing(database, run=OTHER) == []
    save_prompts(database, OTHER, TRAIN[:1])
    assert [s.prompt_id for s in missing(database, run=OTHER)] == [TRAIN[0].prompt_id]


def test_importing_again_changes_nothing(database: Database) -> None:
    save_prompts(database, RUN, TRAIN)
    assert len(missing(database)) == len(TRAIN)


def test_excluded_rows_stay_out(database: Database) -> None:
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


def test_a_prompt_keeps_the_split_it_was_first_given(database: Database) -> None:
    save_prompts(database, OTHER, [replace(HELD_OUT[0], split=Split.TRAIN)])
    assert missing(database, OTHER) == []
    assert len(missing(database, OTHER, Split.HELD_OUT)) == 1


def test_the_first_stored_row_stays(database: Database) -> None:
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


def test_texts_are_read_as_they_were_stored(database: Database) -> None:
    for text in ("", " spaces ", "line\nbreak", "nul\x00", "😀 'quoted' ; DROP TABLE runs"):
        messages = (Message("system", text), Message("user", text))
        save_prompts(database, OTHER, [Prompt(ids.prompt_id(messages), messages, Split.TRAIN)])
        assert messages in {sample.messages for sample in missing(database, OTHER)}


def test_pages_omit_and_repeat_nothing(database: Database) -> None:
    save_prompts(database, OTHER, [prompt(i, reference="good") for i in range(100, 2350)])
    samples = missing(database, OTHER, samples=2)
    assert len(samples) == len({(s.prompt_id, s.sample_index) for s in samples}) == 4500
    texts = [s.subject_id for page in iter_unscored(database, references_of(OTHER), SCORER) for s in page]
    assert len(texts) == len(set(texts)) == 2250
    assert texts == sorted(texts)
