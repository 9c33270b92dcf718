"""The characters that a reviser replaces by habit are the draft's again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from figa_core.revision.answer import read_answer
from figa_core.revision.typography import as_in_draft

DRAFT = 'Dear "Ann",\n\nit\'s late...\n- a red lamp\n- a blue lamp\n\nYour café'
FIXED = DRAFT.replace("late", "here")


@pytest.mark.parametrize(
    "answer",
    [
        FIXED.replace("'", "’"),
        FIXED.replace("'", "‘"),
        FIXED.replace('"Ann"', "“Ann”"),
        FIXED.replace('"Ann"', "„Ann“"),
        FIXED.replace("...", "…"),
        FIXED.replace("- ", "* "),
        FIXED.replace("- ", "• "),
        FIXED.replace("\n", "\r\n"),
        FIXED.replace("\n", "\r"),
        FIXED.replace("\n", "  \n"),
        FIXED.replace(" ", "\u00a0"),
        FIXED.replace("a red", "a\u202fred"),
        FIXED.replace("é", "e\u0301"),
        FIXED.replace("lamp", "la\u200bmp"),
        FIXED.replace("lamp", "la\u00admp"),
        f"\u202b{FIXED}\u202c",
        FIXED + "\U000e0041\U000e0042",
    ],
)
def test_what_was_replaced_throughout_is_put_back(answer: str):
    assert as_in_draft(answer, DRAFT, None) == FIXED
    assert read_answer(answer, DRAFT).text == FIXED


@pytest.mark.parametrize(
    ("draft", "answer", "fixed"),
    [
        ("It’s “late” now…", 'It\'s "here" now...', "It’s “here” now…"),
        ("one\r\ntwo\r\n", "one\nzwei\n", "one\r\nzwei\r\n"),
        ("cafe\u0301 one", "café two", "cafe\u0301 two"),
        ("• a\n• b", "- a\n- c", "• a\n• c"),
    ],
)
def test_a_draft_with_the_rarer_forms_keeps_them(draft: str, answer: str, fixed: str):
    assert as_in_draft(answer, draft, None) == fixed


@pytest.mark.parametrize(
    ("draft", "answer"),
    [
        ('He said "no“ to us.', 'He said "no" to us.'),
        ("It's a ‘lamp’.", "It’s a ‘lamp’."),
        ("one\r\ntwo\nthree", "one\ntwo\nthree"),
        ("- a\n* b", "* a\n* b"),
        ("an\u00a0old\u00a0lamp, a new lamp", "an old lamp, a\u00a0new lamp"),
        ("no quotes at all", "no “quotes” at all"),
        ("می‌رود", "می‌روند"),  # a zero-width non-joiner is spelling
        ("The flag: \U0001f3f4", "The flag: \U0001f3f4\U000e0067\U000e0062\U000e007f"),
    ],
)
def test_an_edit_of_characters_that_the_draft_mixes_or_lacks_stays_one(draft: str, answer: str):
    assert as_in_draft(answer, draft, None) == answer


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        (FIXED.replace("'", "’"), "It’s here."),
        (FIXED.replace('"Ann"', "“Ann”"), "Dear “Ann”"),
        (FIXED.replace("...", "…"), "Well…"),
        (FIXED.replace("- ", "* "), "* a lamp"),
        (FIXED.replace("red lamp", "red\u00a0lamp"), "a blue\u00a0lamp"),
        (FIXED.replace("é", "e\u0301"), "cafe\u0301"),
        (FIXED.replace("lamp", "la\u00admp"), "la\u00admp"),
    ],
)
def test_the_characters_of_the_reference_are_an_edit(answer: str, reference: str):
    assert as_in_draft(answer, DRAFT, reference) == answer


@given(st.text(alphabet="ab \n\r\u00a0'\"’“…. -*é\u0301\u200b"), st.none() | st.text())
def test_the_draft_itself_stays_as_it_is(draft: str, reference: str | None):
    assert as_in_draft(draft, draft, reference) == draft


@example(answer="a\u200b\u0301", draft="a")
@given(
    st.text(alphabet="ab \n\r\u00a0'\"’“…. -*é\u0301\u200b"),
    st.text(alphabet="ab \n\r\u00a0'\"’“…. -*é\u0301"),
)
def test_putting_back_twice_changes_nothing_more(answer: str, draft: str):
    once = as_in_draft(answer, draft, None)
    assert as_in_draft(once, draft, None) == once
