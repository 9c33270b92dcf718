"""A small random GPT-2 without dropout. With fp64 weights it computes in fp64 throughout; Llama does not."""

from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def small_gpt2(seed: int, **config: Any) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    plain: dict[str, Any] = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
    tokens: dict[str, Any] = dict.fromkeys(("bos_token_id", "eos_token_id"))
    return GPT2LMHeadModel(GPT2Config(n_positions=64, n_head=2, **plain, **tokens, **config))


def gpt2_fp64(seed: int, vocabulary: int = 300) -> GPT2LMHeadModel:
    """In fp64 throughout, so that differences are rounding of fp64 alone."""
    return small_gpt2(seed, vocab_size=vocabulary, n_embd=8, n_layer=1, initializer_range=0.5).double()
