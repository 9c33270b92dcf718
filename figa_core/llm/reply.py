"""What one call to the endpoint came to, as the rest of the reviser sees it."""

from dataclasses import dataclass

from figa_core.llm.calls import CallOutcome
from figa_core.llm.stated import StatedLimits

MESSAGE_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """One call's end: what kind it is, and what came with it. `message` is the endpoint's own words."""

    outcome: CallOutcome
    message: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    retry_after_s: float | None = None
    limits: StatedLimits | None = None  # what the headers state about the provider's rate limits
    setting: str | None = None  # the request field that an UNSUPPORTED_SETTING is about
    value_refused: bool = False  # the endpoint knows that field, and takes other values of it
    status: int | None = None  # of an error reply; None for a completion, and where nothing was answered

    @property
    def used_tokens(self) -> int | None:
        """Prompt and completion tokens together, None where the endpoint counted none."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


def shorten(text: str) -> str:
    """At most `MESSAGE_LENGTH_MAX` characters of an endpoint's words."""
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 1] + "…"
