"""Generation and scoring in this process."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from figa_core.chat.format import ChatFormat
from figa_core.errors import EngineError
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.transformers import TransformersGenerator, TransformersScorer
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.records import FinishReason
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations, rewards


@pytest.fixture
def generate(sandbox: Sandbox, chat: ChatFormat) -> Callable[..., dict[str, Generation]]:
    def run(
        requests: list[GenerationRequest],
        tokens_per_batch: int = 16_384,
        temperature: float = 0.0,
        model: Path = sandbox.base_model,
    ) -> dict[str, Generation]:
        settings = Generating(
            model, chat.stop_token_ids, temperature, max_tokens=20, tokens_per_batch=tokens_per_batch
        )
        return generations(TransformersGenerator(settings).generate(requests))

    return run


def test_greedy_samples_do_not_depend_on_the_batch(generate, generation_requests):
    requests = generation_requests[:12]
    assert generate(requests, 1) == generate(requests)


def test_a_sample_ends_before_the_stop_token_or_at_the_limit(generate, chat, generation_requests):
    samples = generate(generation_requests[:40], temperature=1.0)
    assert samples.keys() == {r.request_id for r in generation_requests[:40]}
    for sample in samples.values():
        assert not set(sample.token_ids) & set(chat.stop_token_ids)
        assert (len(sample.token_ids) == 20) == (sample.finish_reason is FinishReason.LENGTH)


def test_rewards_do_not_depend_on_the_batch(sandbox: Sandbox, scoring_requests: list[ScoringRequest]) -> None:
    requests = scoring_requests[:20]
    alone = rewards(TransformersScorer(Scoring(sandbox.reward_model, tokens_per_batch=1)).score(requests))
    together = rewards(TransformersScorer(Scoring(sandbox.reward_model)).score(requests))
    assert alone == pytest.approx(together, abs=1e-5)


def test_a_reward_model_with_soft_capped_attention_is_asked_with_it(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=2000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        attn_logit_softcapping=0.05,  # so low that it matters to the small scores of a random model
        initializer_range=0.5,
    )
    config.num_labels = 1
    model = Gemma2ForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    model.set_attn_implementation("eager")
    requests = scoring_requests[:8]
    with torch.no_grad():
        expected = {
            request.subject_id: model(torch.tensor([request.token_ids])).logits.item() for request in requests
        }
    assert rewards(TransformersScorer(Scoring(tmp_path)).score(requests)) == pytest.approx(expected, abs=1e-4)


def test_batches_hold_texts_of_similar_length(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest]
) -> None:
    length = {r.subject_id: len(r.token_ids) for r in scoring_requests}
    batches = list(
        TransformersScorer(Scoring(sandbox.reward_model, tokens_per_batch=1024)).score(scoring_requests)
    )
    lengths = [[length[subject] for subject in rewards([batch])] for batch in batches]
    assert all(max(later) <= min(earlier) for earlier, later in pairwise(lengths))
    assert all(len(batch) * max(batch) <= 1024 for batch in lengths)


def test_a_directory_without_a_model_is_named(no_model: Path) -> None:
    with pytest.raises(EngineError, match="no-model"):
        TransformersScorer(Scoring(no_model))


def test_a_reward_model_with_two_labels_is_refused(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        id2label={0: "bad", 1: "good"},
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="has 2"):
        TransformersScorer(Scoring(tmp_path))


def test_the_checkpoints_sampling_settings_do_not_apply(generate, sandbox, generation_requests, tmp_path):
    model = shutil.copytree(sandbox.base_model, tmp_path / "model")
    settings = {"repetition_penalty": 5.0, "top_k": 1, "do_sample": True, "no_repeat_ngram_size": 2}
    (model / "generation_config.json").write_text(json.dumps(settings))
    requests = generation_requests[:12]
    assert generate(requests, model=model) == generate(requests)


def test_sampling_is_repeatable_and_leaves_the_global_random_state_alone(generate, generation_requests):
    before = torch.get_rng_state()
    first = generate(generation_requests[:12], 1024, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), before)
    assert generate(generation_requests[:12], 1024, temperature=1.0) == first


def test_a_model_without_its_reward_head_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    model = shutil.copytree(sandbox.base_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "id2label": {"0": "reward"}}))
    with pytest.raises(EngineError, match=r"lacks weights of the classification head \(score\.weight\)"):
        TransformersScorer(Scoring(model))


def test_damaged_weights_are_an_engine_error(sandbox: Sandbox, tmp_path: Path) -> None:
    model = shutil.copytree(sandbox.reward_model, tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(EngineError, match="cannot be read: it ends"):
        TransformersScorer(Scoring(model))


@pytest.mark.parametrize("pad", [-1, None])
def test_padding_needs_no_pad_id(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest], tmp_path: Path, pad: int | None
) -> None:
    model = shutil.copytree(sandbox.reward_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "pad_token_id": pad, "eos_token_id": [3, 2]}))

    found, expected = (
        rewards(TransformersScorer(Scoring(path)).score(scoring_requests[:8]))
        for path in (model, sandbox.reward_model)
    )
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(found) == 8
