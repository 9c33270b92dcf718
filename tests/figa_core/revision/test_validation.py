"""Which answers are revisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.records import RevisionStatus
from figa_core.revision.validation import edit_share, judge_answer, restore_ends

DRAFT = "Hello Ann, your blue lamp will arrive in Rome in three days."


def judge(
    answer: str | None, finish_reason: str | None = "stop", refusal: str | None = None, draft: str = DRAFT
):
    return judge_answer(draft, answer, finish_reason, refusal)


@pytest.mark.parametrize(
    "answer",
    [
        DRAFT.replace("blue", "red"),
        DRAFT + " Thank you for your patience!",
        "Dear Ann, your lamp, a red one, will arrive in Rome in two days.",
        "Sure! " + DRAFT.replace("blue", "red"),
        "Here is what I found: your blue lamp will arrive in Rome in three days.",
    ],
)
def test_a_small_change_succeeds(answer: str):
    assert judge(answer) == (RevisionStatus.SUCCEEDED, None)


@pytest.mark.parametrize("answer", [DRAFT, f"\n {DRAFT}\n"])
def test_the_same_text_is_unchanged_whatever_its_ends(answer: str):
    assert judge(answer).status is RevisionStatus.UNCHANGED


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n", "empty"),
        (f"Sure, here is the revised response: {DRAFT}", "preamble"),
        (f"Here's the corrected version:\n\n{DRAFT}", "preamble"),
        (f"Revised response: {DRAFT}", "preamble"),
        (f"I have corrected the colour. {DRAFT}", "preamble"),
        (f"<response>\n{DRAFT}\n</response>", "tags"),
        (f"{DRAFT}</response>", "tags"),
        (f"```\n{DRAFT}\n```", "code fence"),
        (f'"{DRAFT}"', "quotation"),
        ("Completely other words stand at this place, and none of them was there before us.", "rewrite"),
    ],
)
def test_what_is_no_revision_is_rejected_with_the_reason(answer: str | None, reason: str):
    judgement = judge(answer)
    assert judgement.status is RevisionStatus.REJECTED
    assert reason in str(judgement.reason)


def test_an_answer_cut_by_length_is_rejected_however_good_it_looks():
    assert judge(DRAFT.replace("blue", "red"), "length").status is RevisionStatus.REJECTED


@pytest.mark.parametrize(
    ("answer", "finish_reason", "refusal"),
    [
        (None, "stop", "I will not"),
        ("some", "content_filter", None),
        ("I'm sorry, but I can't help with that.", "stop", None),
        ("I cannot assist with this request.", "stop", None),
    ],
)
def test_a_refusal_is_a_refusal(answer: str | None, finish_reason: str, refusal: str | None):
    assert judge(answer, finish_reason, refusal).status is RevisionStatus.REFUSED


def test_what_the_draft_says_itself_is_not_held_against_the_answer():
    preamble = "Here is the updated version: it has two pages and a cover."
    assert judge(preamble.replace("two", "three"), draft=preamble).status is RevisionStatus.SUCCEEDED
    tagged = "Write <response> before and after all of your words, please do."
    assert judge(tagged.replace("all", "each"), draft=tagged).status is RevisionStatus.SUCCEEDED


def test_a_short_draft_may_change_entirely():
    assert judge("Yes, it arrives on Monday.", draft="No.").status is RevisionStatus.SUCCEEDED
    assert judge("Something.", draft="").status is RevisionStatus.SUCCEEDED


def test_the_limit_of_a_rewrite_is_a_setting():
    answer = DRAFT.replace("blue", "red")
    assert judge_answer(DRAFT, answer, "stop", None, max_edit_share=0.01).status is RevisionStatus.REJECTED


def test_the_edit_share_counts_words():
    assert edit_share("a b c d", "a x c d") == pytest.approx(0.25)
    assert edit_share("a b", "a b") == 0
    assert edit_share("a b", "c d") == 1


@given(st.text(" \nab", min_size=1), st.text(" \nab"))
def test_restored_ends_are_the_drafts(draft: str, answer: str):
    restored = restore_ends(draft, answer)
    assert restored.strip() == answer.strip()
    if draft.strip() and answer.strip():
        assert restored[: len(restored) - len(restored.lstrip())] == draft[: len(draft) - len(draft.lstrip())]
        assert restored[len(restored.rstrip()) :] == draft[len(draft.rstrip()) :]
    assert restore_ends(draft, restored) == restored
