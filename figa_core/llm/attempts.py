"""What follows from one reply: settle the question, ask again, ask for more room, wait, or end the run.

Pure; the table below is the whole policy.
"""

import re
from enum import StrEnum

from figa_core.llm.calls import CallOutcome
from figa_core.llm.dialect import LIMIT_NAMES
from figa_core.llm.doubts import Blame
from figa_core.llm.question import Ending, NoAnswer
from figa_core.llm.reply import Reply

BACKOFF_MAX_S = 20.0


class Step(StrEnum):
    """What to do next with a question."""

    SETTLE = "settle"
    DOUBT = "doubt"  # settle it once it is clear that not everything is refused
    RETRY = "retry"  # after a pause; uses up an attempt
    RETRY_LONGER = "retry_longer"  # with more tokens, once; uses up an attempt
    RETRY_ADAPTED = "retry_adapted"  # without the field that the endpoint does not take; uses up none
    ASK_AGAIN = "ask_again"  # with the reason why the answer is unfit; uses up an attempt
    WAIT = "wait"  # until the limiter lets it pass; uses up none
    END_RUN = "end_run"


_STEPS = {
    CallOutcome.ANSWERED: Step.SETTLE,
    CallOutcome.REFUSED: Step.SETTLE,
    CallOutcome.CONTEXT_TOO_LONG: Step.DOUBT,
    CallOutcome.BAD_REQUEST: Step.DOUBT,
    CallOutcome.CUT_BY_LENGTH: Step.RETRY_LONGER,
    CallOutcome.EMPTY_CHOICES: Step.RETRY,
    CallOutcome.MALFORMED: Step.RETRY,
    CallOutcome.TIMEOUT: Step.RETRY,
    CallOutcome.CONNECTION_LOST: Step.RETRY,
    CallOutcome.SERVER_ERROR: Step.RETRY,
    CallOutcome.WRONG_ADDRESS: Step.RETRY,
    CallOutcome.CONNECTION_FAILED: Step.WAIT,
    CallOutcome.RATE_LIMITED: Step.WAIT,
    CallOutcome.UNSUPPORTED_SETTING: Step.END_RUN,
    CallOutcome.BAD_KEY: Step.END_RUN,
    CallOutcome.NO_QUOTA: Step.END_RUN,
    CallOutcome.NO_ACCESS: Step.END_RUN,
    CallOutcome.UNKNOWN_MODEL: Step.END_RUN,
}
_FAILED_FOR_NOW = {outcome for outcome, step in _STEPS.items() if step is Step.RETRY} | {
    CallOutcome.BAD_REQUEST  # nobody knows what it was about
}
ABOUT_THE_REQUEST = (
    CallOutcome.CONTEXT_TOO_LONG,
    CallOutcome.UNSUPPORTED_SETTING,
    CallOutcome.BAD_REQUEST,
)
_ABOUT_LENGTH = re.compile(r"max_\w*tokens|\btokens\b", re.IGNORECASE)

_ADVICE = {
    CallOutcome.BAD_KEY: "Check the API key in the environment variable that {section}.api_key_env names.",
    CallOutcome.NO_QUOTA: "Top up the account or raise its limit, then run again: no answer is paid twice.",
    CallOutcome.NO_ACCESS: "Ask the provider to let this account use the model, or use the API key of "
    "another one ({section}.api_key_env).",
    CallOutcome.UNKNOWN_MODEL: "Check {section}.model and {section}.base_url (which usually ends in /v1).",
    CallOutcome.WRONG_ADDRESS: "Check {section}.base_url (which usually ends in /v1) and {section}.model.",
    CallOutcome.UNSUPPORTED_SETTING: "Give that setting of the {section} section a value the model takes.",
}
_ADVICE_TEMPERATURE = (
    'Set {section}.temperature to a value the model takes, such as 0.01 for nearly greedy, or to "none" to '
    "leave it to the provider's default."
)


def next_step(
    reply: Reply,
    *,
    attempt: int,
    max_attempts: int,
    lengthened: bool,
    asked_again: bool,
    served: bool,
    busy: bool,
) -> Step:
    """The step after attempt number `attempt` (from 1).

    `lengthened` says whether more tokens were asked for than for other questions, `asked_again` whether an
    unfit answer and what is wrong with it were sent along, `served` whether the endpoint has answered any
    call yet, `busy` whether it asks all calls to wait. Whether an unfit answer is asked for again is the
    reader's verdict; whether a refused setting can be left out is the dialect's.
    """
    step = _STEPS[reply.outcome]
    if (lengthened or asked_again) and about_length(reply):
        return Step.SETTLE  # only this question's request was altered
    if reply.outcome is CallOutcome.WRONG_ADDRESS and not served:
        return Step.END_RUN
    if reply.outcome is CallOutcome.REFUSED and reply.status is not None:
        return Step.DOUBT  # not the model's own answer, which is paid for
    if busy:
        return Step.WAIT
    used_up = attempt >= max_attempts
    if (step is Step.RETRY and used_up) or (step is Step.RETRY_LONGER and (used_up or lengthened)):
        return Step.SETTLE
    return step


def about_length(reply: Reply) -> bool:
    """Whether a refusal is about how many tokens a request is or asks for."""
    if reply.outcome not in ABOUT_THE_REQUEST:
        return False
    if reply.outcome is CallOutcome.CONTEXT_TOO_LONG or reply.setting in LIMIT_NAMES:
        return True
    return reply.setting is None and _ABOUT_LENGTH.search(reply.message or "") is not None


def blame(reply: Reply) -> Blame:
    """What a refusal, or the last of a question's errors, is put down to."""
    if reply.outcome in (CallOutcome.REFUSED, CallOutcome.CONTEXT_TOO_LONG):
        return Blame.ROW
    return Blame.NOBODY if reply.outcome is CallOutcome.BAD_REQUEST else Blame.SERVER


def no_answer(reply: Reply, *, attempt: int, unfit: str | None = None) -> NoAnswer:
    """How a question ends whose last reply holds no answer.

    `unfit` says why an earlier answer was: if the request altered for that is refused, that answer decides.
    """
    if unfit is not None and reply.outcome in ABOUT_THE_REQUEST:
        reason = f"{unfit}; asked for another answer, the endpoint refused: {reply.message}"
        return NoAnswer(Ending.UNFIT, reason, attempt)
    if reply.outcome is CallOutcome.REFUSED:
        return NoAnswer(Ending.REFUSED, reply.message or "content filter", attempt)
    reason, retryable = f"{reply.outcome}: {reply.message}", reply.outcome in _FAILED_FOR_NOW
    if retryable and attempt > 1:
        reason = f"{attempt} attempts, the last one {reason}"
    return NoAnswer(Ending.FAILED, reason, attempt, retryable)


def backoff_s(attempt: int, jitter: float, *, first_s: float = 0.5) -> float:
    """Seconds before the attempt after `attempt`: doubling, half of it spread by `jitter` (0 to 1)."""
    full = min(BACKOFF_MAX_S, first_s * 2.0 ** (attempt - 1))
    return full * (0.5 + 0.5 * jitter)


def run_ending_message(reply: Reply, *, url: str, model: str, section: str) -> str:
    """Why the endpoint will refuse every question, where, and what to do about which setting of `section`."""
    advice = _ADVICE[reply.outcome]
    if reply.outcome is CallOutcome.UNSUPPORTED_SETTING and reply.setting == "temperature":
        advice = _ADVICE_TEMPERATURE
    return (
        f"{url}, model {model!r}: {reply.message} ({reply.outcome}). {advice.format(section=section)} "
        "The rows not answered yet stay pending."
    )
