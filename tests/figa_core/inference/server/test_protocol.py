"""What a server is asked, and which of its answers count as one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from figa_core.inference.engine import Generating
from figa_core.inference.server.protocol import (
    BadAnswerError,
    BadSampleError,
    completion_body,
    read_completion,
    read_message,
    read_models,
    read_rewards,
    read_waiting,
)
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.records import FinishReason

from .stub import STOP, completion

REQUEST = GenerationRequest("row", (5, 6, 7), 11)
SETTINGS = Generating(Path("model"), (STOP, 9), temperature=0.7, top_p=0.9, max_tokens=4)
TEXTS = [ScoringRequest("a", (1, 2)), ScoringRequest("b", (3,))]
BODY = {"model": "tiny", "prompt": [5, 6, 7], "seed": 11}


def answer(**changes: Any) -> bytes:
    return json.dumps(completion(BODY, **changes)).encode()


def rewards(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"data": rows}).encode()


def test_a_request_says_everything_that_decides_on_the_sample() -> None:
    body = json.loads(completion_body("tiny", REQUEST, SETTINGS))
    assert body["prompt"] == [5, 6, 7]
    assert (body["seed"], body["temperature"], body["top_p"], body["max_tokens"]) == (11, 0.7, 0.9, 4)
    assert (body["stop_token_ids"], body["ignore_eos"], body["return_token_ids"]) == ([STOP, 9], True, True)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)


def test_settings_of_sampling_are_passed_on_and_a_text_may_end_a_sample() -> None:
    given = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "stop": ("User:",)}
    settings = replace(SETTINGS, **given)
    body = json.loads(completion_body("tiny", REQUEST, settings))
    assert {name: body[name] for name in given} == {**given, "stop": ["User:"]}
    assert "stop" not in json.loads(completion_body("tiny", REQUEST, SETTINGS))

    stopped = answer(token_ids=[4, 5], finish_reason="stop", stop_reason="User:")
    assert read_completion(stopped, REQUEST, settings) == Generation("row", (4, 5), FinishReason.STOP)
    with pytest.raises(BadSampleError):
        read_completion(stopped, REQUEST, SETTINGS)


def test_a_sample_comes_without_the_token_that_ended_it() -> None:
    assert read_completion(answer(), REQUEST, SETTINGS) == Generation("row", (12, 13, 14), FinishReason.STOP)


def test_ids_that_the_model_does_not_know_are_no_answer() -> None:
    assert read_completion(answer(token_ids=[31, STOP]), REQUEST, SETTINGS, 32).token_ids == (31,)
    with pytest.raises(BadAnswerError, match="token_ids are of another model: 32 is not below 32"):
        read_completion(answer(token_ids=[32, STOP]), REQUEST, SETTINGS, 32)
    with pytest.raises(BadAnswerError, match="2147483648 is not below 2147483648"):
        read_completion(answer(token_ids=[2**31, STOP]), REQUEST, SETTINGS)


def test_a_sample_that_reached_its_length_is_whole() -> None:
    full = answer(token_ids=[4, 4, 4, 4], finish_reason="length")
    assert read_completion(full, REQUEST, SETTINGS) == Generation("row", (4, 4, 4, 4), FinishReason.LENGTH)


def test_a_server_that_cuts_samples_earlier_is_found_out() -> None:
    with pytest.raises(BadSampleError, match="--max-model-len"):
        read_completion(answer(token_ids=[4, 4], finish_reason="length"), REQUEST, SETTINGS)


@pytest.mark.parametrize("ids", [[4, 5], []])
def test_a_server_that_stops_at_tokens_of_its_own_is_found_out(ids: list[int]) -> None:
    with pytest.raises(BadSampleError, match="--generation-config vllm"):
        read_completion(answer(token_ids=ids), REQUEST, SETTINGS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>busy</html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no 'choices'"),
        (json.dumps({"choices": []}).encode(), "0 samples"),
        (json.dumps({"choices": [1]}).encode(), "1 samples"),
        (json.dumps({"choices": completion(BODY)["choices"] * 2}).encode(), "2 samples"),
        (answer(token_ids=None), "no token_ids"),
        (answer(token_ids=["4"]), "not token ids"),
        (answer(token_ids=[-1]), "not token ids"),
        (answer(token_ids=[True]), "not token ids"),
        (answer(prompt_token_ids=[5, 6]), "another prompt"),
        (answer(token_ids=[4, 4, 4, 4, 2]), "5 tokens instead of at most 4"),
        (answer(finish_reason="abort"), "ended by 'abort'"),
        (answer(finish_reason=None), "ended by None"),
    ],
)
def test_what_is_no_sample_of_this_prompt_is_not_taken_for_one(content: bytes, reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        read_completion(content, REQUEST, SETTINGS)


def test_rewards_are_matched_by_their_place() -> None:
    content = rewards({"index": 1, "probs": [-2.5]}, {"index": 0, "probs": [3]})
    assert read_rewards(content, TEXTS) == [("a", 3.0), ("b", -2.5)]


def test_a_reward_that_json_cannot_hold_is_not_a_number() -> None:
    (_, first), second = read_rewards(
        rewards({"index": 0, "probs": [None]}, {"index": 1, "probs": [1.0]}), TEXTS
    )
    assert first != first
    assert second == ("b", 1.0)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"index": 0, "probs": [1.0]}], "1 rewards for 2 texts"),
        ([{"index": place, "probs": [1.0]} for place in range(3)], "3 rewards for 2 texts"),
        ([{"index": 0, "probs": [1.0]}, {"index": 0, "probs": [1.0]}], "no place"),
        ([{"index": 0, "probs": [0.1, 0.9]}], "2 labels"),
        ([{"index": 0, "probs": ["high"]}], "not a number"),
        ([{"index": 0, "probs": [True]}], "not a number"),
        ([{"probs": [1.0]}], "no place"),
    ],
)
def test_what_is_no_reward_of_each_text_is_not_taken_for_it(rows: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        read_rewards(rewards(*rows), TEXTS)


def test_of_a_model_with_several_labels_the_reward_is_the_value_that_is_asked_for() -> None:
    content = rewards({"index": 1, "probs": [0.5, -2.0]}, {"index": 0, "probs": [3.0, 4.0]})
    assert [value for _, value in read_rewards(content, TEXTS, 1)] == [4.0, -2.0]
    with pytest.raises(BadAnswerError, match="has 2 labels, and none is number 2"):
        read_rewards(content, TEXTS, 2)
    one = rewards(*({"index": place, "probs": [1.5]} for place in range(2)))
    assert [value for _, value in read_rewards(one, TEXTS, 1)] == [1.5, 1.5], "served with one label"


def test_models_are_listed_with_the_length_of_their_context() -> None:
    card = {"id": "tiny", "owned_by": "vllm", "max_model_len": 300}
    found = read_models(json.dumps({"data": [card, {"id": "other", "owned_by": "someone"}]}).encode())
    assert [(each.name, each.max_length, each.by_vllm) for each in found] == [
        ("tiny", 300, True),
        ("other", None, False),
    ]
    with pytest.raises(BadAnswerError):
        read_models(b'{"data": [{"max_model_len": 300}]}')


def test_the_queue_is_the_sum_over_a_server_s_engines() -> None:
    text = (
        b"# HELP vllm:num_requests_waiting Number of requests waiting\n"
        b'vllm:num_requests_waiting{engine="0"} 3.0\nvllm:num_requests_waiting{engine="1"} 4.0\n'
        b'vllm:num_requests_waiting_by_reason{engine="0"} 9.0\n'
    )
    assert read_waiting(text) == 7
    assert read_waiting(b"vllm:num_requests_waiting 2.0\n") == 2
    assert read_waiting(b"python_gc_objects_collected_total 5\n") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": {"message": "too\\nlong"}}', "too long"),
        (b'{"message": "old form"}', "old form"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"<html> <b>502</b></html>", "<html> <b>502</b></html>"),
        (b'["x"]', '["x"]'),
    ],
)
def test_messages_are_found_in_every_form_of_error(content: bytes, message: str) -> None:
    assert read_message(content) == message
