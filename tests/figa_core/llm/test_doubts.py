"""Whether a refusal concerns one row or all rows."""

import math

import pytest

from figa_core.llm.calls import RowSettled
from figa_core.llm.doubts import Blame, Doubt, Doubts, Suspicion, beyond_chance
from figa_core.llm.question import Decoding, Ending, NoAnswer, Question, Settled, Verdict
from figa_core.llm.reply import Reply


class Words:
    """Returns the text of any reply."""

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[str]:
        return Settled(str(reply.text))

    def without_answer(self, why: NoAnswer) -> str:
        return f"{why.ending}, {why.reason}, {why.retryable}"


def owner(value: str) -> None:
    raise AssertionError("nothing is handed over here")


def doubt(number: int, sent_at: float, *, blame: Blame = Blame.UNKNOWN, alike: str = "a", to=owner) -> Doubt:
    question = Question("grading", f"r{number}", [], Decoding(5), Words(), 5)
    why = NoAnswer(Ending.FAILED, f"reason {number}", 1)
    return Doubt(question, why, blame, alike, f"message {number}", sent_at, to, held=True)


def held(count: int, *, blame: Blame = Blame.UNKNOWN, alike: str = "a", **limits: float) -> Doubts:
    doubts = Doubts(Suspicion(**limits))
    for number in range(count):
        doubts.hold(doubt(number, float(number), blame=blame, alike=alike))
    return doubts


@pytest.mark.parametrize(
    ("blame", "limits", "enough"),
    [(Blame.UNKNOWN, {"unknown": 4}, 4), (Blame.ROW, {"row": 7}, 7), (Blame.SERVER, {"server": 3}, 3)],
)
def test_refusals_alike_are_systematic_from_the_limit_of_their_cause_on(blame: Blame, limits, enough: int):
    assert held(enough - 1, blame=blame, **limits).systematic() == []
    found = held(enough, blame=blame, **limits).systematic()
    assert [doubt.message for doubt in found] == [f"message {number}" for number in range(enough)]


def test_refusals_in_different_words_count_together_only_if_no_words_are_recognised():
    for blame, systematic in ((Blame.UNKNOWN, True), (Blame.ROW, False), (Blame.SERVER, False)):
        doubts = Doubts(Suspicion(any_words=6))
        for number in range(6):
            doubts.hold(doubt(number, 0.0, blame=blame, alike=str(number)))
        assert len(doubts.systematic()) == (6 if systematic else 0)


def test_only_an_answer_to_a_call_sent_later_clears_a_refusal():
    doubts = held(5, unknown=3)
    assert doubts.refute(0.0) == []
    assert [d.question.subject_id for d in doubts.refute(2.5)] == ["r0", "r1", "r2"]
    assert doubts.systematic() == []
    assert doubts.refute(2.5) == []


def test_released_refusals_still_count_and_are_not_returned_again():
    def other(value: str) -> None: ...

    doubts = held(2, unknown=3)
    doubts.hold(doubt(7, 0.0, alike="b", to=other))
    assert [d.question.subject_id for d in doubts.release(owner)] == ["r0", "r1"]
    assert doubts.release(owner) == []
    doubts.hold(doubt(2, 2.0, to=other))
    assert len(doubts.systematic()) == 3
    assert [d.question.subject_id for d in doubts.refute(9.0)] == ["r7", "r2"]


def test_chance_explains_no_more_refusals_in_a_row_than_are_tolerated():
    assert beyond_chance(1.0) == math.inf
    assert beyond_chance(0.0) == 5
    assert beyond_chance(1e-4) == 5
    for share in (0.05, 0.2, 0.5, 0.9):
        rows = beyond_chance(share)
        assert share**rows <= 1e-9 < share ** (rows - 1)


def test_a_held_question_is_settled_by_its_own_refusal():
    held = doubt(3, 0.0)
    assert held.settled(7.5) == RowSettled(7.5, "grading", "r3", "failed, reason 3, False")
    assert held.settled(7.5, retryable=True).value == "failed, reason 3, True"
