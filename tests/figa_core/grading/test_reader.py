"""What fits the words is used; whatever does not is asked for again with the reason, and then falls back."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.grading.reader import GradeReader, UnfitAnswerError, read_scores
from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import AskAgain, Cut, Ending, NoAnswer, Settled
from figa_core.llm.reply import Reply
from figa_core.records import GradeStatus, WordGrades

GRADED, BINARY = "llm_graded", "llm_binary"


def read(text: str | None, scheme: str = GRADED, outcome: CallOutcome = CallOutcome.ANSWERED) -> Any:
    reply = Reply(outcome, text=text, finish_reason="stop")
    return GradeReader("grade-1", 2, scheme).read(reply, attempt=3, max_tokens=100)


def graded(*scores: int) -> Settled[WordGrades]:
    return Settled(WordGrades("grade-1", GradeStatus.GRADED, scores, attempts=3))


FITS = '{"scores": [{"word": 2, "score": 0}, {"word": 1, "score": 5}]}'


@pytest.mark.parametrize(
    "text",
    [
        FITS,
        f"\n {FITS} \n",
        f"```json\n{FITS}\n```",
        f"```\n{FITS}\n```",
        f"<think>The first one is a fact.</think>\n{FITS}",
    ],
)
def test_scores_are_read_in_the_order_of_the_words(text: str) -> None:
    assert read(text) == graded(5, 0)


@pytest.mark.parametrize(
    ("text", "scores"),
    [('{"matter": [2]}', (0, 1)), ('{"matter": [2, 1]}', (1, 1)), ('{"matter": []}', (0, 0))],
)
def test_the_words_that_matter_are_read(text: str, scores: tuple[int, ...]) -> None:
    assert read(text, BINARY) == graded(*scores)


UNFIT = {
    "": "not JSON",
    "The first word matters most; the second is a matter of taste.": "not JSON",
    f"Here are the scores: {FITS}": "not JSON",
    f"{FITS} I hope this helps!": "not JSON",
    f"{FITS}\n{FITS}": "not JSON",
    FITS[:-1]: "not JSON",
    FITS.replace('"', "'"): "not JSON",
    "[" * 100_000: "not JSON",
    '{"scores": [' + "9" * 5000 + "]}": "not JSON|other fields",
    "null": 'only field is the list "scores"',
    "[5, 0]": 'only field is the list "scores"',
    '"5, 0"': 'only field is the list "scores"',
    '{"scores": {"1": 5, "2": 0}}': 'only field is the list "scores"',
    '{"matter": [1]}': 'only field is the list "scores"',
    FITS.replace("}]}", '}], "why": "a fact"}'): 'only field is the list "scores"',
    '{"scores": [5, 0]}': "other fields",
    '{"scores": [{"word": 1, "score": 5, "why": "x"}, {"word": 2, "score": 0}]}': "other fields",
    '{"scores": []}': "2 of 2 words have no score, such as word 1",
    '{"scores": [{"word": 1, "score": 5}]}': "1 of 2 words have no score, such as word 2",
    FITS.replace("2,", "3,"): "numbered 1 to 2, and it names word 3",
    FITS.replace("2,", "0,"): "numbered 1 to 2, and it names word 0",
    FITS.replace("2,", "-1,"): "names word -1",
    FITS.replace("2,", "1,"): "names word 1 twice",
    FITS.replace("2,", '"2",'): "the number of a word is not a whole number",
    FITS.replace("2,", "2.0,"): "the number of a word is not a whole number",
    FITS.replace("5}", "6}"): "the score of word 1 is not a whole number from 0 to 5",
    FITS.replace("5}", "-1}"): "the score of word 1 is not a whole number from 0 to 5",
    FITS.replace("5}", "4.5}"): "the score of word 1 is not a whole number from 0 to 5",
    FITS.replace("5}", "true}"): "the score of word 1 is not a whole number from 0 to 5",
    FITS.replace("5}", '"5"}'): "the score of word 1 is not a whole number from 0 to 5",
    FITS.replace("5}", "null}"): "the score of word 1 is not a whole number from 0 to 5",
    FITS.replace("5}", "NaN}"): "NaN is not a number",
    FITS.replace("5}", "-Infinity}"): "-Infinity is not a number",
    FITS.replace("5}", '5, "score": 4}'): "a field of the JSON occurs twice",
}


@pytest.mark.parametrize("text", UNFIT, ids=[str(i) for i in range(len(UNFIT))])
def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason(text: str) -> None:
    verdict = read(text)
    assert isinstance(verdict, AskAgain)
    assert (verdict.value.status, verdict.value.scores, verdict.value.attempts) == (
        GradeStatus.UNFIT,
        None,
        3,
    )
    with pytest.raises(UnfitAnswerError, match=UNFIT[text]):
        read_scores(text, 2, GRADED)
    assert verdict.value.reason == verdict.reason
    quoted, asked = verdict.messages
    assert quoted == {"role": "assistant", "content": text}
    assert verdict.reason in asked["content"]
    assert '{"scores": ' in asked["content"]
    assert "1 to 2" in asked["content"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"matter": [1, 1]}', "names word 1 twice"),
        ('{"matter": [3]}', "numbered 1 to 2"),
        ('{"matter": [true]}', "not a whole number"),
        ('{"matter": "1"}', 'only field is the list "matter"'),
        (FITS, 'only field is the list "matter"'),
    ],
)
def test_binary_answers_that_do_not_fit_are_asked_for_again(text: str, reason: str) -> None:
    verdict = read(text, BINARY)
    assert isinstance(verdict, AskAgain)
    assert reason in verdict.reason
    assert '{"matter": ' in verdict.messages[1]["content"]


def test_an_answer_that_breaks_off_is_cut_and_a_whole_one_is_used() -> None:
    cut = read(FITS[:30], outcome=CallOutcome.CUT_BY_LENGTH)
    assert isinstance(cut, Cut)
    assert cut.value.status is GradeStatus.UNFIT
    assert cut.value.reason == "the answer was cut after 100 tokens"
    assert read(FITS, outcome=CallOutcome.CUT_BY_LENGTH) == graded(5, 0)


def test_a_refusal_is_final() -> None:
    reply = Reply(CallOutcome.ANSWERED, text=None, refusal="I cannot judge this.")
    verdict = GradeReader("grade-1", 2, GRADED).read(reply, attempt=1, max_tokens=9)
    reason = "the grader refused: I cannot judge this."
    assert verdict == Settled(WordGrades("grade-1", GradeStatus.REFUSED, reason=reason, attempts=1))


@pytest.mark.parametrize(
    ("why", "status", "reason"),
    [
        (NoAnswer(Ending.REFUSED, "flagged", 1), GradeStatus.REFUSED, "the grader refused: flagged"),
        (NoAnswer(Ending.FAILED, "HTTP 500", 5, retryable=True), GradeStatus.FAILED, "HTTP 500"),
        (
            NoAnswer(Ending.REFUSED, "quota", 1, retryable=True),
            GradeStatus.FAILED,
            "the grader refused: quota",
        ),
        (NoAnswer(Ending.UNFIT, "too long", 2), GradeStatus.UNFIT, "too long"),
    ],
)
def test_a_pair_without_an_answer_says_why(why: NoAnswer, status: GradeStatus, reason: str) -> None:
    expected = WordGrades("grade-1", status, None, reason, why.retryable, why.attempts)
    assert GradeReader("grade-1", 2, GRADED).without_answer(why) == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_any_scores_in_any_order_are_read(scores: list[int], random: Any) -> None:
    entries = [{"word": number, "score": score} for number, score in enumerate(scores, 1)]
    random.shuffle(entries)
    assert read_scores(orjson.dumps({"scores": entries}).decode(), len(scores), GRADED) == tuple(scores)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["scores", "matter", "word", "score", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values | st.text(), st.sampled_from([GRADED, BINARY]))
def test_any_other_answer_is_unfit_or_has_a_score_for_each_word(value: Any, scheme: str) -> None:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    try:
        scores = read_scores(text, 2, scheme)
    except UnfitAnswerError:
        return
    assert len(scores) == 2
    assert all(type(score) is int and 0 <= score <= 5 for score in scores)


def test_a_stored_value_is_read_as_it_was_written_and_others_are_refused() -> None:
    stored = WordGrades("grade-1", GradeStatus.GRADED, (5, 0), attempts=1)
    fields = orjson.loads(orjson.dumps(stored))
    assert WordGrades.of(fields) == stored
    for wrong in (
        {"status": "odd"},
        {"scores": None},
        {"scores": []},
        {"scores": [1.5]},
        {"scores": [-1]},
        {"scores": "12"},
        {"attempts": "1"},
        {"status": "unfit"},
        {"more": 1},
    ):
        with pytest.raises(ValueError, match=r"no word grades|GradeStatus"):
            WordGrades.of({**fields, **wrong})
