"""The sandbox's base model: a small Llama that writes as the weak writer does.

It learns in two phases, for speed alone: first the facts of good replies, in short texts, which teach it to
copy from the prompt; then the weak writer's whole replies. Slot values count more than other tokens, because
they are few and the rest of a reply is easy.

Shape legend: B sequences, T positions.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from figa_core.sandbox.corpus import curriculum_example
from figa_core.sandbox.optimizer import Trainer
from figa_core.sandbox.tokenizer import encode_example, encode_prompt, end_of_turn_id, token_id
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.vocabulary import SLOT_VALUES
from figa_core.sandbox.world import sample_facts, write_request

BUCKET_BATCHES = 16
_BATCH_SIZE = 16
_SLOT_LOSS_WEIGHT = 8.0
_MAX_NEW_TOKENS = 100
POSITIONS = 512
"""Tokens of the longest text that these models read."""

_Encoded = tuple[list[int], list[int]]
_T = TypeVar("_T")


def llama_config(
    tokenizer: PreTrainedTokenizerFast, *, layers: int, initializer_range: float, **extra: object
) -> LlamaConfig:
    """A Llama of 0.13 M parameters in the embedding and 0.19 M in every layer; head dimension 32."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        initializer_range=initializer_range,
        bos_token_id=token_id(tokenizer.bos_token_id),
        eos_token_id=token_id(tokenizer.eos_token_id),
        pad_token_id=token_id(tokenizer.pad_token_id),
        **extra,  # type: ignore[arg-type]
    )


def train_base_model(
    tokenizer: PreTrainedTokenizerFast, *, steps: int, seed: int, on_progress: Callable[[int, int], None]
) -> LlamaForCausalLM:
    """Train the base model from scratch; `on_progress` gets (steps done, steps in all)."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(llama_config(tokenizer, layers=2, initializer_range=0.04))
    trainer = Trainer(model, (), steps=steps)
    slot_weights_V = slot_weights(tokenizer)
    rng = random.Random(f"base/{seed}")
    batches = _batches(tokenizer, rng, lambda: trainer.progress)
    for step in range(steps):
        trainer.step(_loss(model, next(batches), slot_weights_V))
        on_progress(step + 1, steps)
    model.eval()
    model.generation_config.eos_token_id = [end_of_turn_id(tokenizer), token_id(tokenizer.eos_token_id)]
    model.generation_config.pad_token_id = token_id(tokenizer.pad_token_id)
    model.generation_config.bos_token_id = token_id(tokenizer.bos_token_id)
    return model


def save_model(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write an ordinary Hugging Face directory: config, safetensors, tokenizer, generation config."""
    model.save_pretrained(directory)  # type: ignore[operator]
    tokenizer.save_pretrained(directory)


def slot_weights(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Loss weight of each token of the vocabulary."""
    weights_V = torch.ones(len(tokenizer))
    for values in SLOT_VALUES.values():
        for value in values:
            weights_V[tokenizer.backend_tokenizer.encode(f" {value}").ids] = _SLOT_LOSS_WEIGHT
    return weights_V


def padded(rows: Sequence[Sequence[float]], value: float = 0, side: str = "right") -> Tensor:
    """One tensor (rows, longest row)."""
    return pad_sequence([torch.tensor(row) for row in rows], True, value, side)


def shuffled_batches(
    drawn: list[_T], size: int, length: Callable[[_T], int], rng: random.Random
) -> list[list[_T]]:
    """Batches of `size` of similar length, in random order."""
    drawn.sort(key=length)
    batches = [drawn[first : first + size] for first in range(0, len(drawn), size)]
    rng.shuffle(batches)
    return batches


@torch.inference_mode()
def sampled_score(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, temperature: float, n: int, seed: int
) -> float:
    """Mean verifier score of one reply each to `n` new requests; `temperature` 0 is greedy."""
    rng = random.Random(f"judged/{seed}")
    requests = [write_request(sample_facts(rng), rng) for _ in range(n)]
    pad_id = token_id(tokenizer.pad_token_id)
    ids_BT = padded([encode_prompt(tokenizer, messages) for messages in requests], pad_id, "left")
    mask_BT = (ids_BT != pad_id).long()
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    )
    torch.manual_seed(seed)
    out_BT = model.generate(ids_BT, attention_mask=mask_BT, max_new_tokens=_MAX_NEW_TOKENS, **sampling)  # type: ignore[operator]
    replies = tokenizer.batch_decode(out_BT[:, ids_BT.shape[1] :], skip_special_tokens=True)
    return sum(map(verify, requests, replies)) / n


def _batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, progress: Callable[[], float]
) -> Iterator[list[_Encoded]]:
    """Batches of similar length, drawn a bucket at a time for the progress made so far."""
    while True:
        drawn = [
            encode_example(tokenizer, *curriculum_example(rng, progress()))
            for _ in range(_BATCH_SIZE * BUCKET_BATCHES)
        ]
        batches = shuffled_batches(drawn, _BATCH_SIZE, lambda pair: len(pair[0]) + len(pair[1]), rng)
        # A bucket must not outlast its phase by much, so only half of it is used.
        yield from batches[: BUCKET_BATCHES // 2]


def _loss(model: LlamaForCausalLM, batch: list[_Encoded], slot_weights_V: Tensor) -> Tensor:
    """Weighted mean NLL of the reply tokens."""
    ids_BT = padded([prompt + reply for prompt, reply in batch])
    target_BT = padded([[False] * len(prompt) + [True] * len(reply) for prompt, reply in batch])
    hidden_BTH = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    chosen_BT = target_BT[:, 1:]
    targets = ids_BT[:, 1:][chosen_BT]
    logits = model.lm_head(hidden_BTH[:, :-1][chosen_BT])
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    weights = slot_weights_V[targets]
    return (nll * weights).sum() / weights.sum()
