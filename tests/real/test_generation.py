"""Generation with a real model: vLLM and transformers agree, and samples are repeatable."""

from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.inference.engine import Generating
from figa_core.inference.transformers import TransformersGenerator
from figa_core.inference.vllm import VllmEngine
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.ports import Generation, GenerationRequest
from figa_core.records import FinishReason
from tests.figa_core.chat.templates.styles import prompt_ids
from tests.figa_core.inference.outcomes import generations
from tests.real.conftest import ORDERS, messages_of

PYTHON = find_vllm_python()
pytestmark = [
    pytest.mark.real,
    pytest.mark.vllm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(PYTHON is None, reason="no environment with vLLM (`make setup` makes one)"),
]
MAX_TOKENS = 40
ROWS = 24


def generating(model: Path, chat: ChatFormat, temperature: float) -> Generating:
    return Generating(
        model,
        chat.stop_token_ids,
        temperature,
        max_tokens=MAX_TOKENS,
        max_prompt_tokens=100,
        gpu_memory_share=0.2,
        rows_per_shard=ROWS,
    )


def test_vllm_answers_like_transformers_and_repeats_a_sample(
    model: Path, chat: ChatFormat, tmp_path: Path
) -> None:
    texts = [f"{count} times: {order}" for count in range(6) for order, _, _ in ORDERS]
    requests = [
        GenerationRequest(f"row-{index}", prompt_ids(chat, messages_of(text)), index)
        for index, text in enumerate(texts)
    ]
    greedy = generating(model, chat, 0.0)
    theirs = generations(TransformersGenerator(greedy).generate(requests))
    with VllmEngine(lambda _: None) as engine:
        ours = generations(engine.generator(greedy, tmp_path).generate(requests))
        sampled = engine.generator(generating(model, chat, 1.0), tmp_path)
        first, second = (samples(sampled.generate(requests[:8])) for _ in range(2))

    assert len(ours) == len(theirs) == ROWS
    equal = sum(ours[key] == theirs[key] for key in ours)
    assert equal >= 0.8 * ROWS, f"{equal} of {ROWS} greedy answers are equal"
    assert FinishReason.STOP in {answer.finish_reason for answer in ours.values()}
    assert len({answer.token_ids for answer in ours.values()}) > ROWS / 2
    assert first == second
    assert first != {key: ours[key].token_ids for key in first}


def samples(batches: object) -> dict[str, tuple[int, ...]]:
    found: dict[str, Generation] = generations(batches)  # type: ignore[arg-type]
    return {key: answer.token_ids for key, answer in found.items()}
