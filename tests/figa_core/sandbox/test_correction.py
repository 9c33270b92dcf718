import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.records import Message, RevisionStatus
from figa_core.revision.validation import judge_answer
from figa_core.sandbox.correction import correct, spoil
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.vocabulary import RUDE_SENTENCES, SLOT_OF_WORD
from figa_core.sandbox.world import FaultKind

PROMPT = "user: I am Anna. My order is a red lamp, marked lost. It should be in Oslo in 4 days."
GOOD = (
    "Dear Anna, thanks. Your red lamp is lost. It will reach Oslo in 4 days. Kind regards, your support team."
)


@pytest.mark.parametrize("seed", range(60))
def test_a_correct_draft_comes_back_unchanged(draw_case, seed):
    case = draw_case(seed)
    for text in (case.good.text, case.reference.text):
        assert correct(case.prompt_text, text, case.reference.text) == text


@given(seed=st.integers(0, 2**32))
def test_a_corrected_draft_is_right_and_only_its_faults_changed(draw_case, seed):
    case = draw_case(seed)
    corrected = correct(case.prompt_text, case.faulty.text, None)
    assert verify(case.messages, corrected) == pytest.approx(1)
    if FaultKind.NO_CLOSING in case.faults:
        body = case.good.text.removesuffix(case.good.sentences[-1])
        assert corrected.startswith(body)
    else:
        assert corrected == case.good.text


@given(seed=st.integers(0, 2**32))
def test_correcting_twice_changes_nothing_more(draw_case, seed):
    case = draw_case(seed)
    once = correct(case.prompt_text, case.faulty.text, None)
    assert correct(case.prompt_text, once, None) == once


WORDS = st.sampled_from(
    [
        *SLOT_OF_WORD,
        *RUDE_SENTENCES,
        *GOOD.split(),
        "Dear",
        "regards",
        "lam",
        "??",
        ".",
        "...",
        "\n",
        "Ünïcode",
    ]
)


@given(st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=80))
def test_garbage_never_crashes_and_never_scores_worse(draft):
    messages = (Message("user", PROMPT.removeprefix("user: ")),)
    corrected = correct(PROMPT, draft, None)
    assert verify(messages, corrected) >= verify(messages, draft) - 1e-9
    assert verify(messages, corrected) >= 0.9


def test_surrogates_and_empty_texts_do_not_crash():
    assert correct("", "", None).startswith(("Kind", "Best", "With"))
    correct("\ud800", "\ud800 Dear", "\ud800")


def test_missing_facts_are_supplied_before_the_closing():
    draft = GOOD.replace("It will reach Oslo in 4 days. ", "")
    assert correct(PROMPT, draft) == draft.replace("Kind", "It will reach Oslo in 4 days. Kind")


def test_an_unfinished_last_sentence_is_replaced_by_the_closing():
    corrected = correct(PROMPT, GOOD[: GOOD.index("Kind")] + "We have made a no")
    assert corrected.startswith(GOOD[: GOOD.index(" Kind")])
    assert "made a no" not in corrected
    assert verify((), corrected) == pytest.approx(1)


def test_facts_that_the_prompt_lacks_come_from_the_reference():
    prompt = PROMPT.replace("red ", "")
    assert correct(prompt, GOOD.replace("red", "blue"), GOOD) == GOOD
    assert correct(prompt, GOOD.replace("red", "blue"), None) == GOOD.replace("red", "blue")


def test_sentences_that_differ_only_in_a_wrong_value_become_one():
    draft = GOOD.replace("It will reach", "It will reach Rome in 4 days. It will reach")
    assert correct(PROMPT, draft) == GOOD


@given(seed=st.integers(0, 2**32))
def test_a_mistake_is_a_revision_that_the_verifier_does_not_prefer(draw_case, seed):
    case = draw_case(seed)
    for draft in (case.faulty.text, case.good.text):
        spoilt = spoil(case.prompt_text, draft)
        assert verify(case.messages, spoilt) <= verify(case.messages, draft)
        if any(word in SLOT_OF_WORD for word in draft.replace(",", " ").replace(".", " ").split()):
            assert spoilt != draft
            judgement = judge_answer(draft, spoilt, "stop", None, reference=case.reference.text)
            assert judgement.status is RevisionStatus.SUCCEEDED


def test_a_draft_without_values_cannot_be_made_worse():
    assert spoil(PROMPT, "Thank you.") == "Thank you."
