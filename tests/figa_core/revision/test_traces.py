"""Traces of how an answer was written, which are no part of a revision."""

import pytest

from figa_core.records import RevisionStatus
from figa_core.revision.validation import judge_answer
from tests.figa_core.revision.natural_edits import EDITS

DRAFT = (
    "Hello Ann,\n\nyour lamp of type big_blue will arrives in Rome on Friday.\n\n"
    "You can follow it on our page, and we will write to you when it has left the depot.\n\n"
    "Kind regards,\nyour support team"
)
FIXED = DRAFT.replace("arrives", "arrive")


def reason(answer: str, draft: str = DRAFT, reference: str | None = None, conversation: str = "") -> str:
    judgement = judge_answer(draft, answer, "stop", None, reference=reference, conversation=conversation)
    if judgement.status is RevisionStatus.REJECTED:
        return judgement.reason or ""
    assert judgement.status is RevisionStatus.SUCCEEDED
    return ""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (FIXED.replace("\n", "<br>"), "HTML (<br>)"),
        (FIXED.replace("\n", "<br/>\n"), "HTML (<br/>)"),
        (FIXED.replace("your lamp", '<span class="x">your lamp</span>'), "HTML"),
        (FIXED.replace("big_blue", "big\\_blue"), "backslashes"),
        (FIXED.replace("Rome", "Romeâ€™s port"), "could not be decoded"),
        (FIXED.replace("Rome", "Ã©tape Rome"), "could not be decoded"),
        (FIXED.replace("Friday", "Friday【4†source】"), "citations"),
        (FIXED.replace("Friday", "Friday\ue200cite\ue202turn0search0\ue201"), "citations"),
        (FIXED.replace("page", "p\u0430ge"), "two scripts"),
        (FIXED.replace("Ann", "<NAME>"), "marks"),
        (FIXED + " your support team" * 20, "repeats itself"),
        (FIXED + " and so on" * 5, "repeats itself"),
        (FIXED.split("You can")[0].strip() + " ...\n\nKind regards,\nyour support team", "'...'"),
        (FIXED.split("\n\nYou can")[0] + "\n\n[...]", "'[...]'"),
        (FIXED.split(".\n\nYou can")[0] + "…", ""),  # an unfinished sentence may end so
    ],
)
def test_a_trace_that_the_draft_has_not_is_the_reason(answer: str, expected: str):
    assert expected in reason(answer)
    assert bool(reason(answer)) is bool(expected)


def test_traces_that_the_draft_or_the_reference_has_are_text():
    for answer in (
        FIXED.replace("\n", "<br>"),
        FIXED.replace("Rome", "Romeâ€™s port"),
        FIXED.replace("Friday", "Friday【4†source】"),
        FIXED.replace("page", "p\u0430ge"),
        FIXED + " and so on" * 5,
    ):
        assert reason(answer)
        assert not reason(answer, draft=answer.replace("arrive", "arrives"))
        assert not reason(answer, reference=answer)


def test_html_is_text_in_a_conversation_about_it():
    draft = "Use the tag for a line break wherever you want a new line to begin on your page."
    answer = draft.replace("tag for a line break", "tag <br>")
    assert "HTML" in reason(answer, draft)
    assert not reason(answer, draft, conversation="How do I break a line in HTML?")


def test_a_comment_in_place_of_code_leaves_it_out():
    draft = "def add(a, b):\n    return a - b\n\ndef main():\n    print(add(1, 2))\n    print(add(3, 4))"
    answer = "def add(a, b):\n    return a + b\n\n# ... the rest stays as it is"
    assert "leaves out" in reason(answer, draft)


def test_a_part_that_the_reference_has_may_not_be_left_out():
    part = "Your lamp of type big_blue will arrive in Rome on Friday."
    assert not reason(part), "without a reference nothing shows that the rest is needed"
    assert "both say" in reason(part, reference=FIXED)
    assert not reason(part, reference="It will be in Rome on Friday.")


@pytest.mark.parametrize("pair", EDITS, ids=lambda pair: pair.draft[:30])
def test_natural_edits_have_no_trace(pair):
    judgement = judge_answer(pair.draft, pair.revision, "stop", None, reference=pair.reference)
    assert judgement.status is RevisionStatus.SUCCEEDED, judgement.reason


@pytest.mark.parametrize("period", [1, 2, 3, 7, 20])
def test_a_loop_of_any_length_is_found_where_it_begins(period: int):
    phrase = " ".join(f"word{number}" for number in range(period))
    turns = max(4, 13 // period + 1)
    found = reason(FIXED + f" {phrase}" * turns)
    assert "repeats itself" in found
    assert "'word0" in found
    assert not reason(FIXED + f" {phrase}" * 3)
