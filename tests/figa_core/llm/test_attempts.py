"""The policy after each kind of reply."""

from typing import Any

import pytest

from figa_core.llm.attempts import (
    Step,
    about_length,
    backoff_s,
    blame,
    next_step,
    no_answer,
    run_ending_message,
)
from figa_core.llm.calls import CallOutcome
from figa_core.llm.doubts import Blame
from figa_core.llm.question import Ending, NoAnswer
from figa_core.llm.reply import Reply

C = CallOutcome
RETRIED = {C.EMPTY_CHOICES, C.MALFORMED, C.TIMEOUT, C.CONNECTION_LOST, C.SERVER_ERROR, C.WRONG_ADDRESS}
WAITED = {C.CONNECTION_FAILED, C.RATE_LIMITED}
ENDING = {C.UNSUPPORTED_SETTING, C.BAD_KEY, C.NO_QUOTA, C.NO_ACCESS, C.UNKNOWN_MODEL}
DOUBTED = {C.CONTEXT_TOO_LONG, C.BAD_REQUEST}


def step(reply: Reply | CallOutcome, **changes: Any) -> Step:
    usual = dict.fromkeys(("used_up", "lengthened", "asked_again", "busy"), False)
    reply = Reply(reply) if isinstance(reply, CallOutcome) else reply
    return next_step(reply, **{**usual, "served": True, **changes})


def test_every_outcome_has_its_step():
    of_its_own = {C.ANSWERED: Step.SETTLE, C.REFUSED: Step.SETTLE, C.CUT_BY_LENGTH: Step.RETRY_LONGER}
    for outcome in CallOutcome:
        groups = ((RETRIED, Step.RETRY), (WAITED, Step.WAIT), (ENDING, Step.END_RUN), (DOUBTED, Step.DOUBT))
        expected = next((step for group, step in groups if outcome in group), None)
        assert step(outcome) is (expected or of_its_own[outcome])


def test_a_retry_after_the_last_attempt_settles_the_question():
    for outcome in RETRIED | {C.CUT_BY_LENGTH}:
        assert step(outcome) is not Step.SETTLE
        assert step(outcome, used_up=True) is Step.SETTLE
    for outcome in WAITED | ENDING | DOUBTED:
        assert step(outcome, used_up=True) is step(outcome)


def test_a_question_gets_more_tokens_once():
    assert step(C.CUT_BY_LENGTH, lengthened=True) is Step.SETTLE
    assert step(C.TIMEOUT, lengthened=True) is Step.RETRY


def test_an_address_that_has_answered_before_is_retried():
    assert step(C.WRONG_ADDRESS, served=False) is Step.END_RUN
    assert step(C.WRONG_ADDRESS, served=True) is Step.RETRY
    assert step(C.TIMEOUT, served=False) is Step.RETRY


def test_a_filters_refusal_is_in_doubt_and_the_models_is_not():
    assert step(Reply(C.REFUSED, status=400)) is Step.DOUBT
    assert step(Reply(C.REFUSED)) is Step.SETTLE
    assert step(Reply(C.ANSWERED, status=400)) is Step.SETTLE


def test_while_an_endpoint_is_busy_a_question_waits_without_using_up_attempts():
    assert step(C.SERVER_ERROR, busy=True, used_up=True) is Step.WAIT


@pytest.mark.parametrize("altered", ["lengthened", "asked_again"])
def test_a_refusal_of_a_length_that_only_one_question_asked_for_settles_that_question(altered: str):
    refused = Reply(C.UNSUPPORTED_SETTING, setting="max_tokens")
    assert step(refused, **{altered: True}) is Step.SETTLE
    assert step(refused) is Step.END_RUN
    assert step(Reply(C.UNSUPPORTED_SETTING, setting="temperature"), **{altered: True}) is Step.END_RUN


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(C.CONTEXT_TOO_LONG), True),
        (Reply(C.CONTEXT_TOO_LONG, setting="temperature"), True),
        (Reply(C.BAD_REQUEST, "no", setting="max_tokens"), True),
        (Reply(C.UNSUPPORTED_SETTING, setting="max_completion_tokens"), True),
        (Reply(C.BAD_REQUEST, "Max_New_Tokens is too large"), True),
        (Reply(C.BAD_REQUEST, "too many tokens"), True),
        (Reply(C.BAD_REQUEST, "a token"), False),
        (Reply(C.BAD_REQUEST, "no"), False),
        (Reply(C.BAD_REQUEST), False),
        (Reply(C.UNSUPPORTED_SETTING, "too many tokens", setting="temperature"), False),
        (Reply(C.RATE_LIMITED, "too many tokens"), False),
        (Reply(C.SERVER_ERROR, "no", setting="max_tokens"), False),
    ],
)
def test_refusals_about_length_are_recognised(reply: Reply, expected: bool):
    assert about_length(reply) is expected


def test_a_refusal_is_blamed_on_the_row_only_if_it_names_the_row():
    blames = {C.REFUSED: Blame.ROW, C.CONTEXT_TOO_LONG: Blame.ROW, C.BAD_REQUEST: Blame.UNKNOWN}
    for outcome in CallOutcome:
        assert blame(Reply(outcome)) is blames.get(outcome, Blame.SERVER)


def test_pauses_double_up_to_a_limit_and_half_of_each_is_spread():
    assert [backoff_s(attempt, 1.0) for attempt in (1, 2, 3, 6, 7, 50)] == [0.5, 1, 2, 16, 20, 20]
    assert [backoff_s(attempt, 0.0) for attempt in (1, 2, 7)] == [0.25, 0.5, 10]
    assert backoff_s(2, 0.5, first_s=3.0) == 4.5


def test_the_message_that_ends_a_run_has_the_place_the_cause_and_the_remedy():
    for outcome in {*ENDING, C.WRONG_ADDRESS}:
        message = run_ending_message(Reply(outcome, "why"), url="http://x/v1", model="m", section="grading")
        assert message.startswith(f"http://x/v1, model 'm': why ({outcome}). ")
        assert "grading." in message or "account" in message or "section" in message
    hot, other = (
        run_ending_message(
            Reply(C.UNSUPPORTED_SETTING, "why", setting=setting), url="u", model="m", section="grading"
        )
        for setting in ("temperature", "stream")
    )
    assert "grading.temperature" in hot
    assert "grading.temperature" not in other
    assert "grading.temperature" not in run_ending_message(
        Reply(C.BAD_KEY, "why", setting="temperature"), url="u", model="m", section="grading"
    )


def test_a_refused_question_has_a_reason():
    why = no_answer(Reply(C.REFUSED, "HTTP 400: flagged", status=400), attempt=2)
    assert why == NoAnswer(Ending.REFUSED, "HTTP 400: flagged", 2)
    assert no_answer(Reply(C.REFUSED), attempt=1).reason == "content filter"


@pytest.mark.parametrize("outcome", sorted(set(CallOutcome) - {C.ANSWERED, C.CUT_BY_LENGTH, C.REFUSED}))
def test_a_failed_question_is_retryable_if_a_later_run_may_succeed(outcome: CallOutcome):
    first, second = (no_answer(Reply(outcome, "why"), attempt=attempt) for attempt in (1, 2))
    retryable = outcome in RETRIED | {C.BAD_REQUEST}
    assert first == NoAnswer(Ending.FAILED, f"{outcome}: why", 1, retryable)
    reason = f"2 attempts, the last one {outcome}: why" if retryable else f"{outcome}: why"
    assert second == NoAnswer(Ending.FAILED, reason, 2, retryable)


def test_an_unfit_answer_decides_if_the_request_altered_for_it_is_refused():
    refused = Reply(C.CONTEXT_TOO_LONG, "HTTP 400: too long")
    reason = "it is odd; asked for another answer, the endpoint refused: HTTP 400: too long"
    assert no_answer(refused, attempt=2, unfit="it is odd") == NoAnswer(Ending.UNFIT, reason, 2)
    down = Reply(C.SERVER_ERROR, "HTTP 500")
    assert no_answer(down, attempt=2, unfit="it is odd").ending is Ending.FAILED
