"""Small random models of several architectures, without dropout."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.figa_core.training.gpt2 import small_gpt2

VOCABULARY = 53
WINDOW = 4
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_GEMMA: dict[str, Any] = {
    **SIZES,
    "head_dim": 16,
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
}

MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "mistral with a sliding window": lambda: MistralForCausalLM(
        MistralConfig(**SIZES, sliding_window=WINDOW)
    ),
    "qwen 2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen 2 with a sliding window": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)
    ),
    "qwen 3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)),
    # A low cap, so that it matters to the small scores of a random model.
    "gemma 2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**_GEMMA, attn_logit_softcapping=0.5, query_pre_attn_scalar=16)
    ),
    "gemma 3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**_GEMMA, query_pre_attn_scalar=16)),
    "phi 3": lambda: Phi3ForCausalLM(Phi3Config(**SIZES)),
    "gpt-2": lambda: small_gpt2(0, vocab_size=VOCABULARY, n_embd=32, n_layer=2, initializer_range=0.3),
}


def make(name: str) -> Any:
    """As `load_model` gives it: soft-capped attention is eager."""
    torch.manual_seed(0)
    model = MODELS[name]()
    if name == "gemma 2":
        model.set_attn_implementation("eager")
    return model
