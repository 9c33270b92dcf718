"""Decoding in short calls, from which rows that have ended are left out."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import (
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from figa_core.inference.decoding import TOKENS_PER_CALL, decode

LIMIT = 2 * TOKENS_PER_CALL + 5
STOPS = (1, 2, 3)  # one in twenty tokens: rows end early, late, and not at all

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.7,
}


def llama() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def mistral_with_a_window() -> Any:
    torch.manual_seed(0)
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)).eval()


def lfm2_with_convolutions() -> Any:
    torch.manual_seed(0)
    return Lfm2ForCausalLM(Lfm2Config(**SIZES, layer_types=["conv", "full_attention"])).eval()


def qwen3_next_with_a_recurrent_state() -> Any:
    torch.manual_seed(0)
    small = {
        "head_dim": 8, "linear_key_head_dim": 4, "linear_value_head_dim": 4, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "num_experts": 0, "layer_types": ["linear_attention", "full_attention"],
    }  # fmt: skip
    return Qwen3NextForCausalLM(Qwen3NextConfig(**SIZES, **small)).eval()


def prompts(rows: int) -> list[list[int]]:
    chance = random.Random(0)
    return [[chance.randrange(4, 60) for _ in range(chance.randint(3, 20))] for _ in range(rows)]


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(row) for row in rows)
    ids = [[0] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def in_one_call(model: Any, row: list[int]) -> list[int]:
    """What `generate` itself writes for the row alone."""
    out = model.generate(
        torch.tensor([row]), max_new_tokens=LIMIT, do_sample=False, eos_token_id=list(STOPS), pad_token_id=1
    )
    new = out[0, len(row) :].tolist()
    return new[:-1] if new[-1] in STOPS else new


@contextmanager
def rows_computed(model: Any) -> Iterator[list[int]]:
    """The number of rows of every forward pass."""
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, named: seen.append(len(named["input_ids"])), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


@torch.inference_mode()
@pytest.mark.parametrize("build", [llama, mistral_with_a_window])
def test_every_row_is_what_generate_writes_for_it_alone(build):
    model, rows = build(), prompts(24)
    written = decode(model, *padded(rows), max_tokens=LIMIT, stops=STOPS, do_sample=False)
    assert written == [in_one_call(model, row) for row in rows]
    lengths = {len(row) for row in written}
    assert LIMIT in lengths
    assert any(length < TOKENS_PER_CALL for length in lengths)
    assert any(TOKENS_PER_CALL <= length < LIMIT for length in lengths)


@torch.inference_mode()
def test_rows_that_have_ended_are_not_computed_any_further():
    model, rows = llama(), prompts(24)
    with rows_computed(model) as seen:
        written = decode(model, *padded(rows), max_tokens=LIMIT, stops=STOPS, do_sample=False)
    for step, computed in enumerate(seen):
        begun = step - step % TOKENS_PER_CALL  # at the beginning of the call, the rows that had not ended
        assert computed == sum(len(row) >= begun for row in written)


@torch.inference_mode()
def test_a_row_that_ends_with_its_last_token_has_one_token_less_than_the_limit():
    model, rows = llama(), prompts(24)
    written = decode(model, *padded(rows), max_tokens=LIMIT, stops=STOPS, do_sample=False)
    shorter = next(row for row in written if 2 < len(row) < LIMIT)
    place = written.index(shorter)
    again = decode(model, *padded([rows[place]]), max_tokens=len(shorter) + 1, stops=STOPS, do_sample=False)
    assert again == [shorter]


@torch.inference_mode()
@pytest.mark.parametrize("build", [lfm2_with_convolutions, qwen3_next_with_a_recurrent_state])
def test_a_model_with_a_recurrent_state_is_called_once(build):
    model, rows = build(), prompts(12)
    with rows_computed(model) as seen:
        written = decode(model, *padded(rows), max_tokens=LIMIT, stops=STOPS, do_sample=False)
    lengths = {len(row) for row in written}
    assert LIMIT in lengths
    assert len(lengths) > 1
    assert set(seen) == {12}
    assert decode(model, *padded(rows[:1]), max_tokens=LIMIT, stops=STOPS, do_sample=False) == [
        in_one_call(model, rows[0])
    ]


@torch.inference_mode()
def test_the_arguments_are_not_changed():
    ids, mask = padded(prompts(4))
    before = ids.clone(), mask.clone()
    decode(llama(), ids, mask, max_tokens=LIMIT, stops=STOPS, do_sample=False)
    assert torch.equal(ids, before[0])
    assert torch.equal(mask, before[1])
