"""The state of a row after each kind of reply."""

from dataclasses import replace

import pytest

from figa_core.llm.attempts import no_answer
from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import AskAgain, Cut, Ending, NoAnswer, Settled
from figa_core.llm.reply import Reply
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.prompt import ask_again
from figa_core.revision.reader import RevisionReader

C = CallOutcome


DRAFT = "Your blue lamp will arrives in Rome in three days.\n"


FIXED = "Your blue lamp will arrive in Rome in three days."


ROW = RevisionRequest("rev", "res", (Message("user", "Where is my lamp?"),), DRAFT, None)


RETRIED = {C.EMPTY_CHOICES, C.MALFORMED, C.TIMEOUT, C.CONNECTION_LOST, C.SERVER_ERROR, C.WRONG_ADDRESS}


def reader(row: RevisionRequest = ROW, max_edit_share: float = 0.9) -> RevisionReader:
    return RevisionReader(row, max_edit_share)


def settled(
    reply: Reply, attempt: int = 1, *, row: RevisionRequest = ROW, max_edit_share: float = 0.9
) -> Revision:
    """The row's final state if it is not asked again."""
    found = reader(row, max_edit_share)
    if reply.outcome in (C.ANSWERED, C.CUT_BY_LENGTH):
        return found.read(reply, attempt=attempt, max_tokens=100).value
    return found.without_answer(no_answer(reply, attempt=attempt))


def test_an_answer_becomes_the_revision_with_the_drafts_ends():
    assert settled(Reply(C.ANSWERED, text=f" {FIXED}", finish_reason="stop"), attempt=2) == Revision(
        "rev", "res", RevisionStatus.SUCCEEDED, f"{FIXED}\n", None, retryable=False, attempts=2
    )


def test_an_answer_is_judged_with_the_reference_and_the_conversation():
    reply = Reply(C.ANSWERED, text=FIXED, finish_reason="stop")
    rewritten = settled(reply, row=ROW, max_edit_share=0.01)
    assert (rewritten.status, rewritten.text) == (RevisionStatus.REJECTED, f"{FIXED}\n")
    asked = Reply(C.ANSWERED, text=f"Where is my lamp? {FIXED}", finish_reason="stop")
    assert "repeats the conversation" in str(settled(asked).reason)
    reference = "Where is my lamp? It arrives in Rome in three days."
    with_it = RevisionRequest("rev", "res", ROW.messages, DRAFT, reference)
    assert settled(asked, row=with_it, max_edit_share=0.9).status is RevisionStatus.SUCCEEDED
    marked = Reply(C.ANSWERED, text=f"{FIXED} </think>", finish_reason="stop")
    assert settled(marked).text is None
    with_mark = RevisionRequest("rev", "res", ROW.messages, DRAFT, f"{FIXED} </think>")
    assert settled(marked, row=with_mark, max_edit_share=0.9).text == f"{FIXED} </think>\n"
    filtered = Reply(C.ANSWERED, text=FIXED, finish_reason="stop", refusal="I will not.")
    assert settled(filtered).status is RevisionStatus.REFUSED


def test_an_answer_without_a_text_is_rejected_with_the_known_reason():
    for text in (None, "", " \n"):
        empty = settled(Reply(C.ANSWERED, text=text, finish_reason="stop"))
        assert (empty.status, empty.text) == (RevisionStatus.REJECTED, None)
        why = settled(Reply(C.ANSWERED, "the message has thoughts only", text=text, finish_reason="stop"))
        assert why.reason == f"{empty.reason} (the message has thoughts only)"
    revision = settled(Reply(C.ANSWERED, "beside the point", text=FIXED, finish_reason="odd"))
    assert "beside the point" not in str(revision.reason)


def test_an_answer_that_was_cut_is_rejected_with_its_text():
    cut = settled(Reply(C.CUT_BY_LENGTH, text=FIXED, finish_reason="length"))
    assert (cut.status, cut.text, cut.retryable) == (RevisionStatus.REJECTED, f"{FIXED}\n", False)


def test_a_refused_row_has_a_reason():
    why = settled(Reply(C.REFUSED, "HTTP 400: flagged", status=400), attempt=2)
    assert why == Revision(
        "rev", "res", RevisionStatus.REFUSED, None, "the reviser refused: HTTP 400: flagged", False, 2
    )
    assert settled(Reply(C.REFUSED)).reason == "the reviser refused: content filter"


@pytest.mark.parametrize("outcome", sorted(set(CallOutcome) - {C.ANSWERED, C.CUT_BY_LENGTH, C.REFUSED}))
def test_a_failed_row_is_retryable_if_a_later_run_may_succeed(outcome: CallOutcome):
    first, second = (settled(Reply(outcome, "why"), attempt=attempt) for attempt in (1, 2))
    retryable = outcome in RETRIED | {C.BAD_REQUEST}
    assert first == Revision("rev", "res", RevisionStatus.FAILED, None, f"{outcome}: why", retryable, 1)
    reason = f"2 attempts, the last one {outcome}: why" if retryable else f"{outcome}: why"
    assert second == Revision("rev", "res", RevisionStatus.FAILED, None, reason, retryable, 2)


def test_a_row_whose_altered_request_is_refused_is_rejected_for_its_answer():
    end = reader().without_answer(NoAnswer(Ending.UNFIT, "it is cut; the endpoint refused", 2))
    reason = "it is cut; the endpoint refused"
    assert end == Revision("rev", "res", RevisionStatus.REJECTED, None, reason, False, 2)


@pytest.mark.parametrize("ending", Ending)
def test_a_row_that_may_be_asked_about_again_has_failed(ending: Ending):
    end = reader().without_answer(NoAnswer(ending, "why", 1, retryable=True))
    assert (end.status, end.retryable) == (RevisionStatus.FAILED, True)
    assert str(end.reason).endswith("why")


def test_an_unfit_answer_is_asked_about_again_with_itself_and_the_reason():
    reply = Reply(C.ANSWERED, text="", finish_reason="stop")
    verdict = reader().read(reply, attempt=1, max_tokens=100)
    quoted = {"role": "assistant", "content": ""}
    assert isinstance(verdict, AskAgain)
    assert verdict.reason == verdict.value.reason == "the answer is empty"
    assert verdict.messages == (quoted, ask_again("the answer is empty"))


def test_a_fit_answer_is_settled_and_so_is_a_refusal():
    for reply in (
        Reply(C.ANSWERED, text=FIXED, finish_reason="stop"),
        Reply(C.ANSWERED, text=DRAFT, finish_reason="stop"),
        Reply(C.ANSWERED, text=FIXED, finish_reason="stop", refusal="I will not."),
    ):
        assert isinstance(reader().read(reply, attempt=1, max_tokens=100), Settled)


def test_an_answer_is_cut_by_its_finish_reason_or_by_its_text():
    stated = Reply(C.CUT_BY_LENGTH, text=FIXED, finish_reason="model_length")
    shown = Reply(C.ANSWERED, text=FIXED[:30], finish_reason=None)
    used_up = Reply(C.ANSWERED, text=FIXED, finish_reason=None, completion_tokens=100)
    for reply in (stated, shown, used_up):
        verdict = reader().read(reply, attempt=1, max_tokens=100)
        assert isinstance(verdict, Cut)
        assert "cut by length; raise revision.max_tokens" in str(verdict.value.reason)
    whole = replace(used_up, completion_tokens=99)
    assert isinstance(reader().read(whole, attempt=1, max_tokens=100), Settled)


def test_a_row_that_no_request_can_carry_has_failed_with_a_short_reason():
    end = reader().unaskable(ValueError("x" * 900))
    assert (end.status, end.retryable, end.attempts) == (RevisionStatus.FAILED, False, 0)
    assert str(end.reason).startswith("the row cannot be put into a request: xxx")
    assert len(str(end.reason)) == 500
