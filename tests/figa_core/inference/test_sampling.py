"""Settings of sampling, in this process and in vLLM's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.chat.stops import before_stop
from figa_core.inference.engine import FURTHER, Generating
from figa_core.inference.transformers import TransformersGenerator
from figa_core.inference.vllm import VllmEngine
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.ports import Generation, GenerationRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations

Generate = Callable[..., dict[str, Generation]]


@pytest.fixture
def settings(sandbox: Sandbox, chat: ChatFormat) -> Callable[..., Generating]:
    def make(**changes: Any) -> Generating:
        fixed = {"temperature": 0.0, "max_tokens": 24, "max_prompt_tokens": 276, "gpu_memory_share": 0.2}
        return Generating(sandbox.base_model, chat.stop_token_ids, **fixed | changes)

    return make


@pytest.fixture
def generate(settings: Callable[..., Generating], generation_requests: list[GenerationRequest]) -> Generate:
    def run(rows: int = 12, **changes: Any) -> dict[str, Generation]:
        return generations(TransformersGenerator(settings(**changes)).generate(generation_requests[:rows]))

    return run


def test_a_penalty_on_repetition_does_not_count_the_padding(generate: Generate) -> None:
    alone = generate(repetition_penalty=1.5, tokens_per_batch=1)
    assert alone == generate(repetition_penalty=1.5)
    assert alone != generate()


@pytest.mark.parametrize("setting", [{"top_k": 1}, {"min_p": 1.0}])
def test_only_the_most_likely_token_is_left(generate: Generate, setting: dict[str, Any]) -> None:
    assert generate(temperature=1.0, **setting) == generate()


def test_a_sample_goes_on_at_most_a_few_tokens_after_a_text_that_ends_it(
    generate: Generate, chat: ChatFormat
) -> None:
    whole = generate(max_tokens=60)
    texts = [chat.decode(each.token_ids) for each in whole.values()]
    stop = next(text[8:12] for text in texts if len(text) > 100)
    stopped = generate(max_tokens=60, stop=(stop,))
    for key, sample in stopped.items():
        assert before_stop(chat, sample.token_ids, [stop]) == before_stop(chat, whole[key].token_ids, [stop])
    shorter = [key for key in whole if len(stopped[key].token_ids) < len(whole[key].token_ids)]
    assert shorter
    assert all(stop in chat.decode(stopped[key].token_ids) for key in shorter)


def test_only_what_differs_from_the_default_must_be_known(settings: Callable[..., Generating]) -> None:
    assert settings().further == []
    used = settings(top_k=5, min_p=0.1, repetition_penalty=1.2, stop=("\n",))
    assert set(used.further) == FURTHER


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.skipif(find_vllm_python() is None, reason="no environment with vLLM (`make setup` makes one)")
def test_vllm_draws_as_transformers_does(
    settings: Callable[..., Generating],
    generation_requests: list[GenerationRequest],
    chat: ChatFormat,
    tmp_path: Path,
) -> None:
    requests = generation_requests[:60]
    greedy = generations(TransformersGenerator(settings()).generate(requests))
    stop = chat.decode(next(iter(greedy.values())).token_ids)[6:10]
    with VllmEngine() as engine:
        for changes in (
            {"repetition_penalty": 1.3},
            {"temperature": 1.0, "top_k": 1},
            {"temperature": 1.0, "min_p": 1.0},
            {"stop": (stop,)},
        ):
            asked = settings(**changes)
            theirs = generations(TransformersGenerator(asked).generate(requests))
            ours = generations(engine.generator(asked, tmp_path).generate(requests))
            assert ours.keys() == theirs.keys()
            stops = asked.stop
            equal = sum(
                (stops and before_stop(chat, ours[key].token_ids, stops))
                == (stops and before_stop(chat, theirs[key].token_ids, stops))
                if stops
                else ours[key] == theirs[key]
                for key in ours
            )
            assert equal >= 0.95 * len(ours), changes
            if stops:
                ended = [key for key in ours if stop in chat.decode(ours[key].token_ids)]
                assert ended
                assert all(len(ours[key].token_ids) <= len(theirs[key].token_ids) for key in ended)
