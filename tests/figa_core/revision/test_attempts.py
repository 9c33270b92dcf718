"""What follows from one reply."""

from typing import Any

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.llm.doubts import Blame
from figa_core.llm.reply import Reply
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.attempts import (
    Step,
    about_length,
    backoff_s,
    blame,
    may_ask_again,
    next_step,
    run_ending_message,
    settle,
    settle_altered,
)

C = CallOutcome
DRAFT = "Your blue lamp will arrives in Rome in three days.\n"
FIXED = "Your blue lamp will arrive in Rome in three days."
ROW = RevisionRequest("rev", "res", (Message("user", "Where is my lamp?"),), DRAFT, None)
RETRIED = {C.EMPTY_CHOICES, C.MALFORMED, C.TIMEOUT, C.CONNECTION_LOST, C.SERVER_ERROR, C.WRONG_ADDRESS}
WAITED = {C.CONNECTION_FAILED, C.RATE_LIMITED}
ENDING = {C.UNSUPPORTED_SETTING, C.BAD_KEY, C.NO_QUOTA, C.NO_ACCESS, C.UNKNOWN_MODEL}
DOUBTED = {C.CONTEXT_TOO_LONG, C.BAD_REQUEST}


def step(reply: Reply | CallOutcome, **changes: Any) -> Step:
    usual: dict[str, Any] = {
        "attempt": 1,
        "max_attempts": 3,
        "lengthened": False,
        "asked_again": False,
        "served": True,
        "busy": False,
    }
    return next_step(Reply(reply) if isinstance(reply, CallOutcome) else reply, **{**usual, **changes})


def settled(reply: Reply, attempt: int = 1) -> Revision:
    return settle(ROW, reply, attempt=attempt, max_edit_share=0.9)


def test_every_outcome_has_its_step():
    of_its_own = {C.ANSWERED: Step.SETTLE, C.REFUSED: Step.SETTLE, C.CUT_BY_LENGTH: Step.RETRY_LONGER}
    for outcome in CallOutcome:
        groups = ((RETRIED, Step.RETRY), (WAITED, Step.WAIT), (ENDING, Step.END_RUN), (DOUBTED, Step.DOUBT))
        expected = next((step for group, step in groups if outcome in group), None)
        assert step(outcome) is (expected or of_its_own[outcome])


def test_attempts_are_used_up_by_the_last_one():
    for outcome in RETRIED | {C.CUT_BY_LENGTH}:
        assert step(outcome, attempt=2) is not Step.SETTLE
        assert step(outcome, attempt=3) is step(outcome, attempt=4) is Step.SETTLE
    for outcome in WAITED | ENDING | DOUBTED:
        assert step(outcome, attempt=3) is step(outcome)


def test_a_row_is_given_more_room_once():
    assert step(C.CUT_BY_LENGTH, lengthened=True) is Step.SETTLE
    assert step(C.TIMEOUT, lengthened=True) is Step.RETRY


def test_an_address_that_has_answered_before_is_asked_again():
    assert step(C.WRONG_ADDRESS, served=False) is Step.END_RUN
    assert step(C.WRONG_ADDRESS, served=True) is Step.RETRY
    assert step(C.TIMEOUT, served=False) is Step.RETRY


def test_a_filters_refusal_is_in_doubt_and_the_models_own_is_not():
    assert step(Reply(C.REFUSED, status=400)) is Step.DOUBT
    assert step(Reply(C.REFUSED)) is Step.SETTLE
    assert step(Reply(C.ANSWERED, status=400)) is Step.SETTLE


def test_while_an_endpoint_is_busy_a_row_waits_without_using_up_attempts():
    assert step(C.SERVER_ERROR, busy=True, attempt=3) is Step.WAIT


@pytest.mark.parametrize("altered", ["lengthened", "asked_again"])
def test_a_refusal_of_a_length_that_only_one_row_asked_for_settles_that_row(altered: str):
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
def test_what_a_refusal_about_length_is(reply: Reply, expected: bool):
    assert about_length(reply) is expected


def test_a_refusal_is_put_down_to_the_row_only_where_it_names_the_row():
    blames = {C.REFUSED: Blame.ROW, C.CONTEXT_TOO_LONG: Blame.ROW, C.BAD_REQUEST: Blame.NOBODY}
    for outcome in CallOutcome:
        assert blame(Reply(outcome)) is blames.get(outcome, Blame.SERVER)


def test_an_answer_becomes_the_revision_with_the_drafts_ends():
    assert settled(Reply(C.ANSWERED, text=f" {FIXED}", finish_reason="stop"), attempt=2) == Revision(
        "rev", "res", RevisionStatus.SUCCEEDED, f"{FIXED}\n", None, retryable=False, attempts=2
    )


def test_an_answer_is_judged_with_all_that_is_known_of_its_row():
    reply = Reply(C.ANSWERED, text=FIXED, finish_reason="stop")
    rewritten = settle(ROW, reply, attempt=1, max_edit_share=0.01)
    assert (rewritten.status, rewritten.text) == (RevisionStatus.REJECTED, f"{FIXED}\n")
    asked = Reply(C.ANSWERED, text=f"Where is my lamp? {FIXED}", finish_reason="stop")
    assert "repeats the conversation" in str(settled(asked).reason)
    reference = "Where is my lamp? It arrives in Rome in three days."
    with_it = RevisionRequest("rev", "res", ROW.messages, DRAFT, reference)
    assert settle(with_it, asked, attempt=1, max_edit_share=0.9).status is RevisionStatus.SUCCEEDED
    marked = Reply(C.ANSWERED, text=f"{FIXED} </think>", finish_reason="stop")
    assert settled(marked).text is None
    with_mark = RevisionRequest("rev", "res", ROW.messages, DRAFT, f"{FIXED} </think>")
    assert settle(with_mark, marked, attempt=1, max_edit_share=0.9).text == f"{FIXED} </think>\n"
    filtered = Reply(C.ANSWERED, text=FIXED, finish_reason="stop", refusal="I will not.")
    assert settled(filtered).status is RevisionStatus.REFUSED


def test_an_answer_without_a_text_is_rejected_with_what_is_known_of_the_reason():
    for text in (None, "", " \n"):
        empty = settled(Reply(C.ANSWERED, text=text, finish_reason="stop"))
        assert (empty.status, empty.text) == (RevisionStatus.REJECTED, None)
        why = settled(Reply(C.ANSWERED, "the message has thoughts only", text=text, finish_reason="stop"))
        assert why.reason == f"{empty.reason} (the message has thoughts only)"
    said = settled(Reply(C.ANSWERED, "beside the point", text=FIXED, finish_reason="odd"))
    assert "beside the point" not in str(said.reason)


def test_an_answer_that_was_cut_is_rejected_with_its_text():
    cut = settled(Reply(C.CUT_BY_LENGTH, text=FIXED, finish_reason="length"))
    assert (cut.status, cut.text, cut.retryable) == (RevisionStatus.REJECTED, f"{FIXED}\n", False)


def test_a_refused_row_says_why():
    why = settled(Reply(C.REFUSED, "HTTP 400: flagged", status=400), attempt=2)
    assert why == Revision(
        "rev", "res", RevisionStatus.REFUSED, None, "the reviser refused: HTTP 400: flagged", False, 2
    )
    assert settled(Reply(C.REFUSED)).reason == "the reviser refused: content filter"


@pytest.mark.parametrize("outcome", sorted(set(CallOutcome) - {C.ANSWERED, C.CUT_BY_LENGTH, C.REFUSED}))
def test_a_row_that_failed_may_be_tried_again_where_another_time_may_help(outcome: CallOutcome):
    first, second = (settled(Reply(outcome, "why"), attempt=attempt) for attempt in (1, 2))
    retryable = outcome in RETRIED | {C.BAD_REQUEST}
    assert first == Revision("rev", "res", RevisionStatus.FAILED, None, f"{outcome}: why", retryable, 1)
    reason = f"2 attempts, the last one {outcome}: why" if retryable else f"{outcome}: why"
    assert second == Revision("rev", "res", RevisionStatus.FAILED, None, reason, retryable, 2)


def test_a_row_whose_altered_request_is_refused_keeps_its_answers_fault():
    end = settle_altered(ROW, Reply(C.CONTEXT_TOO_LONG, "HTTP 400: too long"), attempt=2, unfit="it is cut")
    assert end == Revision("rev", "res", RevisionStatus.REJECTED, None, end.reason, False, 2)
    assert str(end.reason).startswith("it is cut; ")
    assert str(end.reason).endswith("HTTP 400: too long")


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({}, True),
        ({"attempt": 2}, True),
        ({"attempt": 3}, False),
        ({"asked_again": 1}, True),
        ({"asked_again": 2}, False),
        ({"asked_again_max": 0}, False),
    ],
)
def test_a_rejected_answer_is_asked_for_again_while_tries_are_left(changes: dict[str, int], again: bool):
    usual = {"attempt": 1, "max_attempts": 3, "asked_again": 0, "asked_again_max": 2}
    for outcome, status, unfit in (
        (C.ANSWERED, RevisionStatus.REJECTED, True),
        (C.ANSWERED, RevisionStatus.SUCCEEDED, False),
        (C.CUT_BY_LENGTH, RevisionStatus.REJECTED, False),
    ):
        revision = Revision("rev", "res", status)
        assert may_ask_again(Reply(outcome), revision, **{**usual, **changes}) is (again and unfit)


def test_pauses_double_up_to_a_limit_and_half_of_each_is_spread():
    assert [backoff_s(attempt, 1.0) for attempt in (1, 2, 3, 6, 7, 50)] == [0.5, 1, 2, 16, 20, 20]
    assert [backoff_s(attempt, 0.0) for attempt in (1, 2, 7)] == [0.25, 0.5, 10]
    assert backoff_s(2, 0.5, first_s=3.0) == 4.5


def test_the_end_of_a_run_says_where_why_and_what_to_do():
    for outcome in {*ENDING, C.WRONG_ADDRESS}:
        said = run_ending_message(Reply(outcome, "why"), url="http://x/v1", model="m")
        assert said.startswith(f"http://x/v1, model 'm': why ({outcome}). ")
        assert "revision." in said or "account" in said or "section" in said
    hot, other = (
        run_ending_message(Reply(C.UNSUPPORTED_SETTING, "why", setting=setting), url="u", model="m")
        for setting in ("temperature", "stream")
    )
    assert "revision.temperature" in hot
    assert "revision.temperature" not in other
    assert "revision.temperature" not in run_ending_message(
        Reply(C.BAD_KEY, "why", setting="temperature"), url="u", model="m"
    )
