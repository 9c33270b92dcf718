"""The bodies of completions, as providers and proxies send them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.calls import CallOutcome
from figa_core.llm.replies import read_completion

TEXT = "Hello Ann, your lamp is here 💡."


USAGE = {"prompt_tokens": 50, "completion_tokens": 20}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "error",
                    "usage",
                    "code",
                    "delta",
                    "text",
                    "type",
                    "refusal",
                    "finish_reason",
                    "index",
                    "base_resp",
                ]
            ),
            inner,
        )
    ),
)


def body(content: Any = TEXT, finish: Any = "stop", **extra: Any) -> bytes:
    message = {"role": "assistant", "content": content, **extra}
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    ).encode()


def stream(*chunks: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([": keep-alive\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


def delta(text: str | None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@given(json_values)
def test_any_body_can_be_read(value: object):
    read_completion(json.dumps(value).encode())
    read_completion(b"data: " + json.dumps(value).encode())


@given(json_values)
def test_any_choice_can_be_read(value: object):
    read_completion(json.dumps({"choices": [value]}).encode())
    read_completion(json.dumps({"choices": [{"message": value, "finish_reason": value}]}).encode())
    read_completion(body(value))


@given(st.binary(max_size=50))
def test_any_bytes_can_be_read(data: bytes):
    read_completion(data)
    read_completion(b"data: " + data)


@pytest.mark.parametrize(
    "data",
    [
        body(),
        body([{"type": "text", "text": TEXT}]),
        body([{"type": "text", "text": TEXT[:9]}, {"type": "text", "text": TEXT[9:]}]),
        body(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": TEXT},
            ]
        ),
        body([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": TEXT}]),
        body([{"type": "text", "text": {"value": TEXT, "annotations": []}}]),
        body([TEXT]),
        body({"type": "text", "text": TEXT}),
        body(reasoning_content="hm", tool_calls=[], refusal=None, annotations=[]),
        b"\xef\xbb\xbf" + body(),
        b"\n\n  " + body() + b"\n",
        b"[" + body() + b"]",
        json.dumps({"choices": [{"text": TEXT, "finish_reason": "stop"}], "usage": USAGE}).encode(),
        json.dumps(
            {"choices": [{"delta": {"content": TEXT}, "finish_reason": "stop"}], "usage": USAGE}
        ).encode(),
        body().replace(b'"usage"', b'"logprob": NaN, "big": 1e999, "usage"'),
        body().replace(b'"usage"', b'"error": null, "created": ' + b"9" * 40 + b', "usage"'),
        json.dumps(
            {
                "choices": [
                    {"index": 1, "message": {"content": "another"}, "finish_reason": "stop"},
                    {"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"},
                ],
                "usage": USAGE,
            }
        ).encode(),
        stream(delta(TEXT[:5]), delta(TEXT[5:]), delta(None, "stop"), {"choices": [], "usage": USAGE}),
        body().replace(b'"message"', b'"text": "another", "message"'),
        stream(json.loads(body())),
        stream({"choices": [{"content": TEXT, "finish_reason": "stop"}], "usage": USAGE}),
        stream(7, {"choices": []}, json.loads(body()), {"usage": None}, done=False),
    ],
)
def test_an_answer_is_read_in_every_known_shape(data: bytes):
    reply = read_completion(data)
    assert (reply.outcome, reply.text, reply.finish_reason) == (CallOutcome.ANSWERED, TEXT, "stop")
    assert (reply.message, reply.used_tokens) == (None, 70)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("a \\ud83d", "a "),
        ("a \\ude00 b", "a  b"),
        ("\\ud83d\\ude00", "😀"),
        ("\\ude00\\ud83d\\ud83d\\ude00", "😀"),
        ("a\tb\nc", "a\tb\nc"),
    ],
)
def test_half_a_surrogate_pair_is_removed_and_raw_control_characters_are_read(sent: str, text: str):
    reply = read_completion(body("X").replace(b'"X"', f'"{sent}"'.encode()))
    assert (reply.outcome, reply.text) == (CallOutcome.ANSWERED, text)


def test_pairs_that_are_split_between_parts_are_removed():
    data = body([{"type": "text", "text": "a\ud83d"}, {"type": "text", "text": "\ude00b"}])
    assert read_completion(data).text == "ab"


@pytest.mark.parametrize("decoded", [{"revised_response": TEXT}, {"text": TEXT}, {"type": "text"}])
def test_decoded_structured_output_is_kept_as_json(decoded: dict[str, str]):
    assert json.loads(str(read_completion(body(decoded)).text)) == decoded


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (body(None), None),
        (body(""), None),
        (body(None, reasoning_content="The answer is red."), "thoughts (reasoning_content)"),
        (body("", reasoning="The answer is red."), "thoughts (reasoning)"),
        (body(None, "tool_calls", tool_calls=[{"function": {"arguments": "{}"}}]), "calls a tool"),
        (body([]), "without a text"),
        (body([{"type": "thinking", "thinking": "hm"}]), "without a text"),
        (body([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "x"}]), "'image_url'"),
        (body([{"type": "text", "text": TEXT}, {"type": "tool_use", "input": {}}]), "'tool_use'"),
        (body([{"type": "text", "text": TEXT}, {"type": "text", "text": 7}]), "a part of type 'text'"),
    ],
)
def test_content_that_is_not_text_is_no_answer_and_has_a_note(data: bytes, note: str | None):
    reply = read_completion(data)
    assert (reply.outcome, reply.text or None) == (CallOutcome.ANSWERED, None)
    assert reply.message is None if note is None else note in str(reply.message)


@pytest.mark.parametrize(
    ("finish", "outcome"),
    [
        ("length", CallOutcome.CUT_BY_LENGTH),
        ("model_length", CallOutcome.CUT_BY_LENGTH),
        ("MAX_TOKENS", CallOutcome.CUT_BY_LENGTH),
        ("content_filter", CallOutcome.REFUSED),
        ("SAFETY", CallOutcome.REFUSED),
        ("RECITATION", CallOutcome.REFUSED),
        ("error", CallOutcome.SERVER_ERROR),
        ("abort", CallOutcome.SERVER_ERROR),
        ("tool_calls", CallOutcome.ANSWERED),
        (None, CallOutcome.ANSWERED),
        (3, CallOutcome.ANSWERED),
    ],
)
def test_the_finish_reason_decides_the_outcome(finish: Any, outcome: CallOutcome):
    reply = read_completion(body(finish=finish))
    assert reply.outcome is outcome
    assert reply.used_tokens == 70


@pytest.mark.parametrize(
    "data",
    [
        body(None, refusal="I will not."),
        body([{"type": "refusal", "refusal": "I will not."}]),
        body([{"type": "refusal", "text": "I will not."}]),
        body("some", refusal="I will not."),
    ],
)
def test_a_refusal_is_recognised_in_every_form(data: bytes):
    reply = read_completion(data)
    assert (reply.outcome, reply.refusal) == (CallOutcome.REFUSED, "I will not.")


def test_a_refusal_need_not_be_a_text():
    reply = read_completion(body("some", refusal={"why": "no"}))
    assert (reply.outcome, reply.refusal) == (CallOutcome.REFUSED, '{"why":"no"}')
    assert read_completion(body([{"type": "refusal"}])).refusal == "a part of type 'refusal'"
    assert read_completion(body(TEXT, refusal=False)).outcome is CallOutcome.ANSWERED


@pytest.mark.parametrize(
    "usage",
    [
        None,
        7,
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": "5", "completion_tokens": 2},
        {"prompt_tokens": 0, "completion_tokens": 0},  # a server that counts nothing has not worked for free
        {"prompt_tokens": 0, "completion_tokens": 2},
    ],
)
def test_a_usage_without_counts_is_none(usage: Any):
    data = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}], "usage": usage}
    assert read_completion(json.dumps(data).encode()).used_tokens is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda body: body + b"\ndone",
        lambda body: b": PROCESSING\n\n: PROCESSING\n\n" + body,
        lambda body: body.decode().encode("utf-16"),
    ],
)
def test_a_completion_is_read_despite_what_a_proxy_adds(wrap: Callable[[bytes], bytes]):
    body = b'{"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}'
    reply = read_completion(wrap(body))
    assert (reply.outcome, reply.text) == (CallOutcome.ANSWERED, "Yes.")


def test_thoughts_that_only_the_total_counts_are_the_completions():
    usage = {**USAGE, "total_tokens": 500}
    data = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}], "usage": usage}
    reply = read_completion(json.dumps(data).encode())
    assert (reply.prompt_tokens, reply.completion_tokens) == (50, 450)
    usage["total_tokens"] = 3  # no total of these
    assert read_completion(json.dumps(data).encode()).used_tokens == 70


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ({"finish_reason": "stop", "native_finish_reason": "MAX_TOKENS"}, CallOutcome.CUT_BY_LENGTH),
        ({"finish_reason": "stop", "native_finish_reason": "SAFETY"}, CallOutcome.REFUSED),
        ({"finish_reason": None, "native_finish_reason": "error"}, CallOutcome.SERVER_ERROR),
        ({"stop_reason": "max_tokens"}, CallOutcome.CUT_BY_LENGTH),
        ({"finish_reason": "stop", "native_finish_reason": "end_turn"}, CallOutcome.ANSWERED),
        ({"finish_reason": "stop", "stop_reason": 128009}, CallOutcome.ANSWERED),
        ({"finish_reason": "stop", "stop_reason": "User:"}, CallOutcome.ANSWERED),
        ({"finish_reason": "length", "native_finish_reason": "stop"}, CallOutcome.CUT_BY_LENGTH),
    ],
)
def test_a_worse_end_that_the_provider_behind_a_gateway_states_counts(
    ends: dict[str, Any], outcome: CallOutcome
):
    data = {"choices": [{"message": {"content": TEXT}, **ends}], "usage": USAGE}
    assert read_completion(json.dumps(data).encode()).outcome is outcome


def test_line_ends_within_the_text_of_a_stream_do_not_end_its_events():
    text = "one\u2028two\x85three\x0bfour"
    lines = [f"data: {json.dumps(delta(text), ensure_ascii=False)}", "", "data: [DONE]", ""]
    for line_end in ("\n", "\r\n", "\r"):
        assert read_completion(line_end.join(lines).encode()).text == text


def test_of_a_stream_with_several_choices_the_first_is_the_answer():
    def part(index: int, text: str | None, finish: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}

    reply = read_completion(
        stream(part(0, "Yes"), part(1, "No"), part(0, "."), part(1, None, "length"), part(0, None, "stop"))
    )
    assert (reply.outcome, reply.text) == (CallOutcome.ANSWERED, "Yes.")


def test_a_refusal_in_a_stream_is_a_refusal():
    parts = [{"choices": [{"delta": {"refusal": text}}]} for text in ("I will", " not.")]
    reply = read_completion(stream(*parts, delta(None, "stop")))
    assert (reply.outcome, reply.refusal) == (CallOutcome.REFUSED, "I will not.")


def test_an_error_within_a_stream_is_an_error_though_the_stream_ends_well():
    broken = {"object": "error", "message": "out of memory", "code": 500}
    reply = read_completion(stream(delta("Yes, it"), broken))
    assert reply.outcome is CallOutcome.SERVER_ERROR
    assert "out of memory" in str(reply.message)
