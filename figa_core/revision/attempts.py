"""What follows from one reply: settle the row, ask again, ask for more room, wait, or end the run.

Pure; the table below is the whole policy.
"""

from enum import StrEnum

from figa_core.ports import RevisionRequest
from figa_core.records import Revision, RevisionStatus
from figa_core.revision.calls import CallOutcome
from figa_core.revision.prompt import read_answer
from figa_core.revision.reply import Reply
from figa_core.revision.validation import judge_answer, restore_ends

BACKOFF_MAX_S = 20.0


class Step(StrEnum):
    """What to do next with a row."""

    SETTLE = "settle"
    RETRY = "retry"  # after a pause; uses up an attempt
    RETRY_LONGER = "retry_longer"  # with more tokens, once; uses up an attempt
    RETRY_RENAMED = "retry_renamed"  # with `max_completion_tokens`; uses up none
    RETRY_PLAIN = "retry_plain"  # without structured output, which the endpoint does not know; uses up none
    ASK_AGAIN = "ask_again"  # with the reason why the answer is unfit; uses up an attempt
    WAIT = "wait"  # until the limiter lets it pass; uses up none
    END_RUN = "end_run"


_STEPS = {
    CallOutcome.ANSWERED: Step.SETTLE,
    CallOutcome.REFUSED: Step.SETTLE,
    CallOutcome.CONTEXT_TOO_LONG: Step.SETTLE,
    CallOutcome.BAD_REQUEST: Step.SETTLE,
    CallOutcome.CUT_BY_LENGTH: Step.RETRY_LONGER,
    CallOutcome.EMPTY_CHOICES: Step.RETRY,
    CallOutcome.MALFORMED: Step.RETRY,
    CallOutcome.TIMEOUT: Step.RETRY,
    CallOutcome.CONNECTION_LOST: Step.RETRY,
    CallOutcome.SERVER_ERROR: Step.RETRY,
    CallOutcome.CONNECTION_FAILED: Step.WAIT,
    CallOutcome.RATE_LIMITED: Step.WAIT,
    CallOutcome.UNSUPPORTED_SETTING: Step.END_RUN,
    CallOutcome.BAD_KEY: Step.END_RUN,
    CallOutcome.NO_QUOTA: Step.END_RUN,
    CallOutcome.UNKNOWN_MODEL: Step.END_RUN,
}

_ADVICE = {
    CallOutcome.BAD_KEY: "Check the API key in the environment variable that revision.api_key_env names.",
    CallOutcome.NO_QUOTA: "Top up the account or raise its limit, then run again: no answer is paid twice.",
    CallOutcome.UNKNOWN_MODEL: "Check revision.model and revision.base_url (which usually ends in /v1).",
    CallOutcome.UNSUPPORTED_SETTING: "Give that setting of the revision section a value the model takes.",
}


def next_step(
    reply: Reply,
    *,
    attempt: int,
    max_attempts: int,
    lengthened: bool,
    limit_name: str,
    structured: bool = False,
) -> Step:
    """The step after attempt number `attempt` (from 1).

    `lengthened` says whether more tokens were asked for already, `limit_name` under which name
    (`max_tokens` or `max_completion_tokens`) the length limit was sent, `structured` whether the answer
    was asked for as JSON. Whether an unfit answer is asked for again is `may_ask_again`'s.
    """
    step = _STEPS[reply.outcome]
    if step is Step.END_RUN and reply.setting == limit_name == "max_tokens":
        return Step.RETRY_RENAMED
    if step is Step.END_RUN and structured and reply.setting == "response_format":
        return Step.RETRY_PLAIN
    used_up = attempt >= max_attempts
    if (step is Step.RETRY and used_up) or (step is Step.RETRY_LONGER and (used_up or lengthened)):
        return Step.SETTLE
    return step


def settle(request: RevisionRequest, reply: Reply, *, attempt: int, max_edit_share: float) -> Revision:
    """The row's final state, given the reply that settles it."""
    status, reason, retryable = RevisionStatus.FAILED, f"{reply.outcome}: {reply.message}", False
    text = None
    if reply.outcome in (CallOutcome.ANSWERED, CallOutcome.CUT_BY_LENGTH):
        answer = read_answer(reply.text or "")
        status, reason = judge_answer(
            request.response, answer, reply.finish_reason, reply.refusal, max_edit_share=max_edit_share
        )
        text = restore_ends(request.response, answer) if answer.strip() else None
    elif reply.outcome is CallOutcome.REFUSED:
        status, reason = RevisionStatus.REFUSED, f"the reviser refused: {reply.message or 'content filter'}"
    elif _STEPS[reply.outcome] is Step.RETRY:
        retryable = True
        reason = f"{attempt} attempts, the last one {reason}"
    return Revision(request.revision_id, request.response_id, status, text, reason, retryable, attempt)


def may_ask_again(
    reply: Reply,
    revision: Revision,
    *,
    attempt: int,
    max_attempts: int,
    asked_again: int,
    asked_again_max: int,
) -> bool:
    """Whether a rejected answer gets another try with the reason; not one that was only cut."""
    unfit = reply.outcome is CallOutcome.ANSWERED and revision.status is RevisionStatus.REJECTED
    return unfit and asked_again < asked_again_max and attempt < max_attempts


def backoff_s(attempt: int, jitter: float, *, first_s: float = 0.5) -> float:
    """Seconds before the attempt after `attempt`: doubling, half of it spread by `jitter` (0 to 1)."""
    full = min(BACKOFF_MAX_S, first_s * 2.0 ** (attempt - 1))
    return full * (0.5 + 0.5 * jitter)


def run_ending_message(reply: Reply, *, url: str, model: str) -> str:
    """Why the endpoint will refuse every row, where, and what to do."""
    return (
        f"{url}, model {model!r}: {reply.message} ({reply.outcome}). {_ADVICE[reply.outcome]} "
        "The rows not answered yet stay pending."
    )
