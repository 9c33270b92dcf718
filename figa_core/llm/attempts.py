"""The policy, as one table: what to do with a question after each kind of reply. Pure."""

import re
from enum import StrEnum

from figa_core.llm.calls import CallOutcome
from figa_core.llm.dialect import LIMIT_NAMES
from figa_core.llm.doubts import Blame
from figa_core.llm.question import Ending, NoAnswer
from figa_core.llm.reply import Reply

_BACKOFF_MAX_S = 20.0


class Step(StrEnum):
    """What to do next with a question."""

    SETTLE = "settle"
    DOUBT = "doubt"  # settle it once another answer shows that not everything is refused
    RETRY = "retry"  # after a pause; uses up an attempt
    RETRY_LONGER = "retry_longer"  # with more tokens, once; uses up an attempt
    RETRY_ADAPTED = "retry_adapted"  # without the unsupported field; uses up no attempt
    ASK_AGAIN = "ask_again"  # with the reason why the answer is unfit; uses up an attempt
    WAIT = "wait"  # for the limiter; uses up no attempt
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
    CallOutcome.BAD_REQUEST  # its cause is unknown
}
_ABOUT_THE_REQUEST = (
    CallOutcome.CONTEXT_TOO_LONG,
    CallOutcome.UNSUPPORTED_SETTING,
    CallOutcome.BAD_REQUEST,
)
_ABOUT_LENGTH = re.compile(r"max_\w*tokens|\btokens\b", re.IGNORECASE)

_ADVICE = {
    CallOutcome.BAD_KEY: "Check the API key in the environment variable that {section}.api_key_env names, "
    "or in the Secret block of {section}.api_key_secret.",
    CallOutcome.NO_QUOTA: "Top up the account or raise its limit. Then run again: nothing is paid for twice.",
    CallOutcome.NO_ACCESS: "Ask the provider for access to the model, or use another account's API key "
    "({section}.api_key_env or api_key_secret).",
    CallOutcome.UNKNOWN_MODEL: "Check {section}.model and {section}.base_url (which usually ends in /v1).",
    CallOutcome.WRONG_ADDRESS: "Check {section}.base_url (which usually ends in /v1) and {section}.model.",
    CallOutcome.UNSUPPORTED_SETTING: "Set it in the {section} section to a value the model accepts.",
}
_ADVICE_TEMPERATURE = (
    "Set {section}.temperature to a value the model accepts, such as 0.01 for nearly greedy, or to "
    '"none" for the provider\'s default.'
)


def next_step(
    reply: Reply, *, used_up: bool, lengthened: bool, asked_again: bool, served: bool, busy: bool
) -> Step:
    """What to do after a call.

    `used_up`: it was the last attempt; `lengthened`: it allowed more tokens than usual; `asked_again`: it
    quoted an unfit answer; `served`: the endpoint has answered some call; `busy`: it asks all calls to wait.
    The reader decides whether to ask again for an unfit answer, the dialect whether a refused setting can be
    left out.
    """
    step = _STEPS[reply.outcome]
    if (lengthened or asked_again) and about_length(reply):
        return Step.SETTLE  # other questions' requests are not like this one
    if reply.outcome is CallOutcome.WRONG_ADDRESS and not served:
        return Step.END_RUN
    if reply.outcome is CallOutcome.REFUSED and reply.status is not None:
        return Step.DOUBT  # an error of the endpoint, not an answer of the model
    if busy:
        return Step.WAIT
    if (step is Step.RETRY and used_up) or (step is Step.RETRY_LONGER and (used_up or lengthened)):
        return Step.SETTLE
    return step


def about_length(reply: Reply) -> bool:
    """Whether a refusal is about the length of a request or of the answer it asks for."""
    if reply.outcome not in _ABOUT_THE_REQUEST:
        return False
    if reply.outcome is CallOutcome.CONTEXT_TOO_LONG or reply.setting in LIMIT_NAMES:
        return True
    return reply.setting is None and _ABOUT_LENGTH.search(reply.message or "") is not None


def blame(reply: Reply) -> Blame:
    """The likely cause of a refusal, or of a question's last error."""
    if reply.outcome in (CallOutcome.REFUSED, CallOutcome.CONTEXT_TOO_LONG):
        return Blame.ROW
    return Blame.UNKNOWN if reply.outcome is CallOutcome.BAD_REQUEST else Blame.SERVER


def no_answer(reply: Reply, *, attempt: int, unfit: str | None = None) -> NoAnswer:
    """How a question ends if its last reply has no answer.

    `unfit` is why an earlier answer was unfit. It decides if the endpoint refuses the request altered for it.
    """
    if unfit is not None and reply.outcome in _ABOUT_THE_REQUEST:
        reason = f"{unfit}; asked for another answer, the endpoint refused: {reply.message}"
        return NoAnswer(Ending.UNFIT, reason, attempt)
    if reply.outcome is CallOutcome.REFUSED:
        return NoAnswer(Ending.REFUSED, reply.message or "content filter", attempt)
    reason, retryable = f"{reply.outcome}: {reply.message}", reply.outcome in _FAILED_FOR_NOW
    if retryable and attempt > 1:
        reason = f"{attempt} attempts, the last one {reason}"
    return NoAnswer(Ending.FAILED, reason, attempt, retryable)


def backoff_s(attempt: int, jitter: float, *, first_s: float = 0.5) -> float:
    """Seconds before the attempt after `attempt`: doubling, half of them multiplied by `jitter` (0 to 1)."""
    return min(_BACKOFF_MAX_S, first_s * 2.0 ** (attempt - 1)) * (0.5 + 0.5 * jitter)


def run_ending_message(reply: Reply, *, url: str, model: str, section: str) -> str:
    """Why the endpoint will refuse every question, and what to do about which setting of `section`."""
    advice = _ADVICE[reply.outcome]
    if reply.outcome is CallOutcome.UNSUPPORTED_SETTING and reply.setting == "temperature":
        advice = _ADVICE_TEMPERATURE
    return (
        f"{url}, model {model!r}: {reply.message} ({reply.outcome}). {advice.format(section=section)} "
        "The rows not answered yet stay pending."
    )
