"""Answers of servers that do not report how they ended."""

import json

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply
from figa_core.revision.answer import read_answer
from figa_core.revision.cut_answers import breaks_off, is_cut

DRAFT = "Your parcel left the depot on Monday. It will arrives on Thursday, so please be at home."
FIXED = DRAFT.replace("arrives", "arrive")


def cut(
    text: str | None,
    *,
    finish_reason: str | None = None,
    used: int | None = 20,
    outcome: CallOutcome = CallOutcome.ANSWERED,
) -> bool:
    reply = Reply(outcome, text=text, finish_reason=finish_reason, completion_tokens=used)
    return is_cut(reply, read_answer(text or "", DRAFT), DRAFT, max_tokens=100)


@pytest.mark.parametrize(
    "text",
    [
        FIXED,
        DRAFT,
        json.dumps({"revised_response": FIXED}),
        FIXED + " We are sorry.",
        FIXED.replace("please be at home", "be at home please"),
        FIXED.replace(" on Thursday, so please be at home.", " on Thursday, so please wait for it."),
        FIXED.replace("home.", "home!"),
        FIXED.replace("home.", "home 😊"),
    ],
)
def test_a_whole_answer_is_recognised_without_a_finish_reason(text: str):
    assert not cut(text)
    assert not cut(text, used=None)
    assert not cut(text, finish_reason="")


@pytest.mark.parametrize(
    "text",
    [
        FIXED[: len(FIXED) // 2],
        FIXED[:-8],
        FIXED[:-1].rsplit(maxsplit=1)[0],
        FIXED.partition(".")[0] + ".",
        json.dumps({"revised_response": FIXED})[:-1],
        json.dumps({"revised_response": FIXED})[:40],
        "<think>Few edits are",
        json.dumps({"revised_response": FIXED[:50]}),
    ],
)
def test_an_answer_that_breaks_off_was_cut(text: str):
    assert cut(text)


def test_an_answer_that_used_up_its_tokens_was_cut():
    assert cut(FIXED, used=100)
    assert cut(FIXED, used=101)
    assert not cut(FIXED, used=99)


def test_a_refusal_is_not_cut():
    assert not cut("It is", outcome=CallOutcome.REFUSED)


def test_a_stated_finish_reason_decides():
    assert not cut(FIXED[:40], finish_reason="stop", used=100)


def test_an_empty_answer_is_not_cut():
    assert not cut(None)


@pytest.mark.parametrize(
    ("draft", "text", "cut"),
    [
        ("A poem without an end", "A poem with no end", False),
        ("A draft that was cut in the mid", "A draft that was cut in the middle of it", False),
        ("您的灯将在五天内到达罗马，请耐心等待。", "您的灯将在三天内到达罗马，请耐心等待。", False),
        ("您的灯将在五天内到达罗马，请耐心等待。", "您的灯将在三天内到", True),
        ("It is here.", "It is", True),
        ("No.", "Yes.", False),
        ("No way.", "Yes, sure.", False),
        ("No way, Ann.", "Yes, sure, Bob.", True),
        ("It is here.", "It is here now", False),
        ("It is here. \n", " \nIt is red. \n", False),
        ("Buy:\n- eggs\n- milk", "Buy:\n- eggs\n- oat milk", False),
        ("", "Anything", False),
        ("Anything.", "", False),
        ("It is here.", "Nobody here knows where it really is.", False),
        ("It is here.", "Nobody here knows where it really is", True),
        ("It is here.", "Nobody here knows where it really", True),
        ("It is here.", "Nobody here knows that it is here", False),
        ("It is here", "Nobody here knows where it really", False),
        ("one two three four.", "a b c d e f.", True),
        ("one two three four.", "a b c d e f g.", False),
        ("one two three four.", "one two three more,", True),
        ("one two three four,", "one two three more", False),
        ("one two three four.", "one two.", False),
        ("one two three four.", "one.", True),
        (f"{'same ' * 17}one two three.", f"{'same ' * 16}", True),
        (f"{'same ' * 17}one two three.", f"{'same ' * 16}.", False),
        (f"{'same ' * 17}one two three.", f"{'same ' * 15}.", True),
    ],
)
def test_the_end_is_compared_with_the_drafts(draft: str, text: str, cut: bool):
    assert breaks_off(draft, text) is cut
