"""The meaning of finish reasons."""

import pytest

from figa_core.llm.finish import End, read_finish


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("stop", End.WHOLE),
        ("STOP", End.WHOLE),
        ("eos", End.WHOLE),
        ("eos_token", End.WHOLE),
        ("end_turn", End.WHOLE),
        ("stop_sequence", End.WHOLE),
        ("COMPLETE", End.WHOLE),
        ("FINISH_REASON_STOP", End.WHOLE),
        (None, End.UNSTATED),
        ("", End.UNSTATED),
        (" ", End.UNSTATED),
        ("length", End.CUT),
        ("model_length", End.CUT),
        ("max_tokens", End.CUT),
        ("MAX_TOKENS", End.CUT),
        ("max-tokens", End.CUT),
        ("incomplete", End.CUT),
        ("model_context_window_exceeded", End.CUT),
        ("content_filter", End.REFUSED),
        ("SAFETY", End.REFUSED),
        ("RECITATION", End.REFUSED),
        ("PROHIBITED_CONTENT", End.REFUSED),
        ("refusal", End.REFUSED),
        ("guardrail_intervened", End.REFUSED),
        ("error", End.BROKEN),
        ("network_error", End.BROKEN),
        ("insufficient_system_resource", End.BROKEN),
        ("abort", End.BROKEN),
        ("tool_calls", End.UNKNOWN),
        ("function_call", End.UNKNOWN),
        ("pause_turn", End.UNKNOWN),
        ("FINISH_REASON_UNSPECIFIED", End.UNKNOWN),
        ("null", End.UNKNOWN),
        ("nonsense", End.UNKNOWN),
        (7, End.UNKNOWN),
        (True, End.UNKNOWN),
        ({"type": "stop"}, End.UNKNOWN),
    ],
)
def test_only_known_words_mean_a_whole_answer(reason: object, end: End):
    assert read_finish(reason) is end
