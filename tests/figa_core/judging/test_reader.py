"""A score that fits is used; whatever does not is asked for again with the reason, and then there is none."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.judging.reader import JudgementReader, ScoreForm, UnfitAnswerError, read_score
from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import AskAgain, Cut, Ending, NoAnswer, Settled
from figa_core.llm.reply import Reply
from figa_core.records import Judgement, JudgementStatus

FITS = '{"reason": "It is right.", "score": 7}'


def read(text: str | None, outcome: CallOutcome = CallOutcome.ANSWERED, **fields: Any) -> Any:
    reply = Reply(outcome, text=text, finish_reason="stop", **fields)
    return JudgementReader("j", ScoreForm(10)).read(reply, attempt=3, max_tokens=100)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (FITS, 7.0),
        (f"\n{FITS} ", 7.0),
        (f"```json\n{FITS}\n```", 7.0),
        (f"<think>Eight? No.</think>\n{FITS}", 7.0),
        ('{"score": 1}', 1.0),
        ('{"score": 9.5, "confidence": 0.2}', 9.5),
        ('{"score": 10.0}', 10.0),
    ],
)
def test_a_score_is_read(text: str, score: float) -> None:
    assert read(text) == Settled(Judgement("j", JudgementStatus.JUDGED, score, attempts=3))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I would give it 7 of 10.", "it is not JSON"),
        ('{"score": NaN}', "NaN is not a number"),
        ('{"score": Infinity}', "Infinity is not a number"),
        (f"Here it is: {FITS}", "it is not JSON"),
        (f"{FITS}\n{FITS}", "it is not JSON"),
        ("", "it is not JSON"),
        (None, "it is not JSON"),
        ("7", 'it is not a JSON object with the field "score"'),
        ('{"rating": 7}', 'it is not a JSON object with the field "score"'),
        ('{"score": 7, "score": 8}', "a field of the JSON occurs twice"),
        *(
            (f'{{"score": {value}}}', "the score is not a number from 1 to 10")
            for value in ('"7"', "0", "10.5", "-3", "true", "null", "[7]", "1" + 400 * "0")
        ),
    ],
)
def test_an_answer_without_a_score_is_asked_for_again_and_quoted(text: str | None, why: str) -> None:
    verdict = read(text)
    assert isinstance(verdict, AskAgain)
    assert verdict.reason == why
    assert verdict.value == Judgement("j", JudgementStatus.UNFIT, reason=why, attempts=3)
    quoted, asked = verdict.messages
    assert quoted == {"role": "assistant", "content": text or ""}
    assert why in asked["content"]
    assert "from 1 to 10" in asked["content"]


def test_an_answer_that_breaks_off_is_asked_for_with_more_tokens_and_a_refusal_is_final() -> None:
    cut = read('{"reason": "It', CallOutcome.CUT_BY_LENGTH)
    assert isinstance(cut, Cut)
    assert cut.value.reason == "the answer was cut after 100 tokens"
    assert read(FITS, CallOutcome.CUT_BY_LENGTH) == read(FITS)
    refused = read(None, refusal="No.").value
    assert (refused.status, refused.reason) == (JudgementStatus.REFUSED, "the judge refused: No.")


@pytest.mark.parametrize(
    ("ending", "retryable", "status"),
    [
        (Ending.FAILED, True, JudgementStatus.FAILED),
        (Ending.FAILED, False, JudgementStatus.FAILED),
        (Ending.REFUSED, False, JudgementStatus.REFUSED),
        (Ending.UNFIT, False, JudgementStatus.UNFIT),
        (Ending.UNFIT, True, JudgementStatus.FAILED),
    ],
)
def test_without_an_answer_there_is_no_score(
    ending: Ending, retryable: bool, status: JudgementStatus
) -> None:
    found = JudgementReader("j", ScoreForm(10)).without_answer(NoAnswer(ending, "why", 2, retryable))
    assert (found.status, found.score, found.retryable, found.attempts) == (status, None, retryable, 2)


@given(st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    with contextlib.suppress(UnfitAnswerError):
        assert 1 <= read_score(text, 10) <= 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "judged", "score": None},
        {"status": "unfit", "score": 3.0},
        {"status": "new", "score": None},
        {"status": "judged", "score": "3"},
        {"status": "judged", "score": 3.0, "more": 1},
        {"score": 3.0},
    ],
)
def test_a_stored_judgement_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no judgement|not a valid JudgementStatus"):
        Judgement.of({"judgement_id": "j", **wrong})
