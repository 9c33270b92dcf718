"""Weights by an LLM's scores of the changed words, on a tokenizer of single bytes."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from figa_core.records import AdmittedPair, EditClass, FinishReason, Message, WeighedPair
from figa_core.weighting.graded import NO_CHANGE_MATTERS, ONLY_DELETES, regrade
from figa_core.weighting.schemes import HIGHEST_SCORES, PairEdits, levenshtein, scheme_named
from figa_core.weighting.weigh import SkippedPair, weigh_pairs
from figa_core.weighting.words import changed_words
from tests.figa_core.chat.templates.styles import Spaces
from tests.figa_core.weighting.test_weigh import bytes_format
from tests.figa_core.weighting.test_words import FORMATS, SPACES, texts

K, I, S, D, E, U = (EditClass(value) for value in range(6))  # noqa: E741
CHAT = bytes_format("<e>")


def weigh(response: str, revision: str, scores: tuple[int, ...] | None, max_length: int = 100) -> Any:
    pair = AdmittedPair(
        pair_id="pair",
        messages=(Message("user", "hi"),),
        response_text=response,
        response_finish=FinishReason.STOP,
        response_token_ids=CHAT.response_ids(response),
        revision_text=revision,
        reference_text=None,
        response_reward=-1.0,
        revision_reward=2.0,
        word_scores=scores,
    )
    return next(weigh_pairs(CHAT, [pair], scheme=levenshtein, max_length=max_length, highest_score=5))


def test_every_token_of_a_word_has_its_score_over_the_highest_one() -> None:
    pair: WeighedPair = weigh("a red sofa", "a blue sofa now", (5, 2))
    assert pair.revision_ids == (*CHAT.response_ids("a blue sofa now"), *CHAT.end_of_turn_ids)
    factors = pair.revision_factors
    assert factors is not None
    by_letter = list(zip("a blue sofa now.", pair.revision_classes, factors, strict=True))
    assert [letter for letter, value, _ in by_letter if value in (I, S)] == list("blu now")
    assert {factor for letter, value, factor in by_letter[:10] if value in (I, S)} == {1.0}
    assert [factor for _, _, factor in by_letter[11:15]] == [0.4] * 4
    assert by_letter[15] == (".", E, 1.0)
    assert set(pair.response_classes) == {K, E}


def test_the_tokens_of_a_word_that_makes_no_difference_have_no_weight() -> None:
    pair: WeighedPair = weigh("a red sofa", "a blue sofa now", (0, 1))
    assert pair.revision_classes == (K, K, U, U, U, *(K,) * 6, *(I,) * 4, E)
    assert pair.revision_factors == (*(1.0,) * 11, *(0.2,) * 4, 1.0)


def test_a_pair_without_scores_has_the_levenshtein_weights() -> None:
    response, revision, _ = levenshtein(CHAT.response_ids("a red sofa"), CHAT.response_ids("a blue sofa"), 1)
    pair: WeighedPair = weigh("a red sofa", "a blue sofa", None)
    assert (pair.response_classes, pair.revision_classes) == ((*response, E), (*revision, E))
    assert pair.revision_factors is None


def test_factors_are_cut_with_the_answer() -> None:
    pair: WeighedPair = weigh("abc", "abxyz", (3,), max_length=7)
    assert pair.revision_ids == CHAT.response_ids("abxy")
    assert pair.revision_factors == (1.0, 1.0, 0.6, 0.6)


@pytest.mark.parametrize(
    ("response", "revision", "scores", "reason"),
    [
        ("a red sofa", "a sofa", None, ONLY_DELETES),
        ("a red sofa", "a blue sofa now", (0, 0), NO_CHANGE_MATTERS),
    ],
)
def test_pairs_without_a_change_that_matters_are_left_out(
    response: str, revision: str, scores: tuple[int, ...] | None, reason: str
) -> None:
    assert weigh(response, revision, scores) == SkippedPair("pair", reason)


def test_scores_for_other_words_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 scores for 1 changed words"):
        weigh("a red sofa", "a blue sofa", (1, 2))


@pytest.mark.parametrize("scheme", HIGHEST_SCORES)
def test_pairs_without_scores_use_the_levenshtein_scheme(scheme: str) -> None:
    assert scheme_named(scheme) is levenshtein


@given(texts, texts, st.sampled_from(SPACES), st.data())
def test_weights_are_the_words_scores_in_any_language(
    before: str, after: str, spaces: Spaces, data: st.DataObject
) -> None:
    chat = FORMATS[spaces]
    tokens, ids = chat.response_spans(after), chat.response_ids(after)
    edits = levenshtein(chat.response_ids(before), ids, 1.0)
    words, word_of_token = changed_words(after, tokens, edits.revision_classes)
    assume(words)
    scores = data.draw(st.lists(st.integers(0, 5), min_size=len(words), max_size=len(words)))
    unchanged = PairEdits(*edits)

    regraded, factors = regrade(edits, after, tokens, scores, 5)

    assert edits == unchanged
    assert set(regraded.response_classes) <= {K}
    for word, value, old, factor in zip(
        word_of_token, regraded.revision_classes, edits.revision_classes, factors, strict=True
    ):
        matters = word is not None and scores[word] > 0
        assert value == (old if matters or word is None else U)
        assert factor == (scores[word] / 5 if matters and word is not None else 1.0)
