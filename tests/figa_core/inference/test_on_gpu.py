"""The transformers engine on a GPU: its answers and rewards equal the CPU's.

Skipped without one.
"""

from collections.abc import Iterator

import pytest
import torch

from figa_core.chat.format import ChatFormat
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.transformers import TransformersGenerator, TransformersScorer, release_memory
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations, rewards

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


@pytest.fixture(autouse=True)
def memory_given_back() -> Iterator[None]:
    yield
    release_memory()


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Call its `undo` to see the GPU again."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return monkeypatch


def _generate(
    sandbox: Sandbox, chat: ChatFormat, requests: list[GenerationRequest], temperature: float
) -> dict[str, Generation]:
    settings = Generating(sandbox.base_model, chat.stop_token_ids, temperature, max_tokens=40)
    return generations(TransformersGenerator(settings).generate(requests))


def test_greedy_answers_are_those_of_the_cpu(
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    on_the_cpu: pytest.MonkeyPatch,
) -> None:
    expected = _generate(sandbox, chat, generation_requests, 0.0)
    on_the_cpu.undo()
    found = _generate(sandbox, chat, generation_requests, 0.0)
    same = sum(found[name] == expected[name] for name in expected)
    assert same >= 0.95 * len(expected)  # two tokens may be as likely as each other


def test_sampling_is_repeatable(
    sandbox: Sandbox, chat: ChatFormat, generation_requests: list[GenerationRequest]
) -> None:
    assert _generate(sandbox, chat, generation_requests, 1.0) == _generate(
        sandbox, chat, generation_requests, 1.0
    )


def test_rewards_are_those_of_the_cpu(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest], on_the_cpu: pytest.MonkeyPatch
) -> None:
    expected = rewards(TransformersScorer(Scoring(sandbox.reward_model)).score(scoring_requests))
    on_the_cpu.undo()
    found = rewards(TransformersScorer(Scoring(sandbox.reward_model)).score(scoring_requests))
    assert found == pytest.approx(expected, abs=1e-4)
