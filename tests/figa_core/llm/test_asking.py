"""What a reply means for its question."""

from dataclasses import replace
from typing import Any

import pytest

from figa_core.llm.asking import Asking, CallEnd, judge
from figa_core.llm.attempts import Step
from figa_core.llm.calls import CallOutcome
from figa_core.llm.dialect import Dialect
from figa_core.llm.question import AskAgain, Cut, Decoding, Ending, NoAnswer, Question, Settled, Verdict
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings

C = CallOutcome
OBJECTION = ({"role": "user", "content": "Again."},)
UNFIT = AskAgain("odd", "it is odd", OBJECTION)
SETTINGS = AskerSettings("grading", max_attempts=3, asked_again_max=2)
ASKED = {"messages": [], "max_tokens": 7}


class Verdicts:
    """Gives the same verdict on every answer."""

    def __init__(self, verdict: Verdict[str]) -> None:
        self.verdict = verdict

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[str]:
        return self.verdict

    def without_answer(self, why: NoAnswer) -> str:
        return f"{why.ending}: {why.reason}"


def asking(verdict: Verdict[str] = UNFIT, **changes: Any) -> Asking[str]:
    question = Question("grading", "s", [], Decoding(7), Verdicts(verdict), 5)
    return Asking(question, 7, **changes)


def end(of: Asking[str], reply: Reply | CallOutcome, **changes: Any) -> CallEnd[str]:
    reply = Reply(reply) if isinstance(reply, CallOutcome) else reply
    asked = {**ASKED, **changes.pop("asked", {})}
    dialect = Dialect(bounded=True, on_note=lambda _: None)
    return judge(of, reply, asked, replace(SETTINGS, **changes), dialect, served=True, busy=False)


@pytest.mark.parametrize("outcome", [C.ANSWERED, C.CUT_BY_LENGTH])
def test_a_fit_answer_is_settled_even_if_it_was_cut(outcome: CallOutcome):
    found = end(asking(Settled("fit")), outcome)
    assert found == CallEnd(Step.SETTLE, Reply(outcome), "fit")


def test_an_answer_that_breaks_off_is_recorded_as_cut_and_asked_for_with_more_tokens_once():
    reply = Reply(C.ANSWERED, "note", "It is", prompt_tokens=5, completion_tokens=7)
    cut = replace(reply, outcome=C.CUT_BY_LENGTH, finish_reason="length")
    assert end(asking(Cut("part")), reply) == CallEnd(Step.RETRY_LONGER, cut)
    assert end(asking(Cut("part"), lengthened=True), reply) == CallEnd(Step.SETTLE, cut, "part")
    stated = replace(cut, finish_reason="model_length")
    assert end(asking(Cut("part"), attempt=3), stated) == CallEnd(Step.SETTLE, stated, "part")


@pytest.mark.parametrize(
    ("changes", "max_again", "again"),
    [
        ({}, 2, True),
        ({"attempt": 2}, 2, True),
        ({"attempt": 3}, 2, False),
        ({"asked_again": 1}, 2, True),
        ({"asked_again": 2}, 2, False),
        ({}, 0, False),
    ],
)
def test_an_unfit_answer_is_asked_for_again_while_tries_are_left(
    changes: dict[str, Any], max_again: int, again: bool
):
    found = end(asking(**changes), C.ANSWERED, asked_again_max=max_again)
    reply = Reply(C.ANSWERED)
    settled = CallEnd(Step.SETTLE, reply, "odd")
    assert found == (CallEnd(Step.ASK_AGAIN, reply, again=UNFIT) if again else settled)


def test_the_next_request_changes_as_the_last_call_demands():
    first = asking()
    first.prepare_next(CallEnd(Step.ASK_AGAIN, Reply(C.ANSWERED), again=UNFIT))
    assert first.messages == [*OBJECTION]
    assert (first.attempt, first.asked_again, first.unfit) == (2, 1, "it is odd")
    first.prepare_next(CallEnd(Step.RETRY_LONGER, Reply(C.CUT_BY_LENGTH)))
    assert (first.attempt, first.max_tokens, first.lengthened) == (3, 14, True)
    assert first.unfit == "the answer was cut by length"
    for step in (Step.WAIT, Step.RETRY_ADAPTED):
        first.prepare_next(CallEnd(step, Reply(C.RATE_LIMITED)))
    assert first.attempt == 3
    first.prepare_next(CallEnd(Step.RETRY, Reply(C.TIMEOUT)))
    assert (first.attempt, first.max_tokens) == (4, 14)


def test_a_question_without_an_answer_gets_its_value_from_the_reader():
    why = NoAnswer(Ending.FAILED, "3 attempts, the last one timeout: None", 3, retryable=True)
    found = end(asking(attempt=3), C.TIMEOUT)
    assert found == CallEnd(Step.SETTLE, Reply(C.TIMEOUT), f"failed: {why.reason}", no_answer=why)


def test_a_refusal_in_doubt_has_no_value_yet():
    reply = Reply(C.BAD_REQUEST, "no")
    why = NoAnswer(Ending.FAILED, "bad_request: no", 1, retryable=True)
    assert end(asking(), reply) == CallEnd(Step.DOUBT, reply, no_answer=why)


def test_an_error_about_json_that_was_not_asked_for_adapts_nothing():
    reply = Reply(C.UNSUPPORTED_SETTING, "no", setting="response_format")
    assert end(asking(), reply).reply.outcome is C.BAD_REQUEST
    assert end(asking(), reply, asked={"response_format": {}}).step is Step.RETRY_ADAPTED


def test_a_setting_refused_for_one_altered_question_settles_that_question():
    reply = Reply(C.UNSUPPORTED_SETTING, "no", setting="top_k")
    assert end(asking(), reply).step is Step.END_RUN
    found = end(asking(unfit="it is odd"), reply)
    assert found.step is Step.SETTLE
    assert str(found.value).startswith("unfit: it is odd; ")
