"""The meaning of a provider's `finish_reason`. An unknown word does not mean a whole answer.

OpenAI uses four words; compatible servers pass on those of the engine or provider behind them, in capitals,
with hyphens, or with a prefix. Many small servers send none (None, ""): then the answer itself must show
whether it is whole (`cut_answers.py`).
"""

from enum import StrEnum


class End(StrEnum):
    """How an answer ended."""

    WHOLE = "whole"
    UNSTATED = "unstated"
    CUT = "cut"  # by a length limit: more tokens may help
    REFUSED = "refused"  # by a content filter
    BROKEN = "broken"  # by an error of the provider: asking again may help
    UNKNOWN = "unknown"


_WORDS = {
    End.WHOLE: "stop eos eos_token end_turn end_of_turn end_of_text stop_sequence stop_token complete "
    "completed finished finish end done normal natural",
    End.CUT: "length max_tokens max_length max_token model_length max_output_tokens max_new_tokens "
    "max_completion_tokens max_output_length max_output output_length token_limit length_limit "
    "max_tokens_reached model_context_window_exceeded context_window_exceeded context_length "
    "context_length_exceeded incomplete truncated out_of_tokens",
    End.REFUSED: "content_filter content_filtered contentfilter filtered safety recitation blocklist blocked "
    "prohibited_content spii refusal refused guardrail guardrail_intervened guardrails sensitive error_toxic "
    "moderation content_policy content_policy_violation policy_violation language image_safety",
    End.BROKEN: "error network_error server_error internal_error insufficient_system_resource abort aborted "
    "cancelled canceled cancel timeout time_limit user_cancel error_limit interrupted failed "
    "connection_error",
}
_ENDS = {word: end for end, words in _WORDS.items() for word in words.split()}
_PREFIXES = ("finish_reason_", "finishreason_", "stop_reason_")


def read_finish(reason: object) -> End:
    """The meaning of a `finish_reason`, whatever its spelling and type."""
    if reason is None or (isinstance(reason, str) and not reason.strip()):
        return End.UNSTATED
    word = str(reason).strip().lower().replace("-", "_").replace(" ", "_")
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    return _ENDS.get(word, End.UNKNOWN)
