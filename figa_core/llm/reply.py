"""The outcome of one call to the endpoint, as the rest of this package sees it."""

from dataclasses import dataclass

from figa_core.llm.calls import CallOutcome
from figa_core.llm.stated import StatedLimits

MESSAGE_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """How one call ended, and what came with it. `message` quotes the endpoint."""

    outcome: CallOutcome
    message: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    retry_after_s: float | None = None
    limits: StatedLimits | None = None  # the provider's rate limits, from the headers
    setting: str | None = None  # the request field that an UNSUPPORTED_SETTING is about
    value_refused: bool = False  # the endpoint knows that field and accepts other values
    status: int | None = None  # of an error; None for a completion, and without a response

    @property
    def used_tokens(self) -> int | None:
        """Prompt and completion tokens together; None if the endpoint counted none."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


def shorten(text: str) -> str:
    """At most `MESSAGE_LENGTH_MAX` characters of a message."""
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 1] + "…"
