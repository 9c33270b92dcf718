"""The sandbox's base model: a small Llama that writes as the weak writer does.

It learns in two phases, for speed alone: first the facts of good replies, in short texts, which teaches it to
copy from the prompt; then the weak writer's whole replies, which is what it is left with. Slot values count
more than other tokens, since they are few and the rest of a reply is easy.

Shape legend: B sequences, T positions.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from figa_core.sandbox.corpus import curriculum_example
from figa_core.sandbox.optimizer import Trainer
from figa_core.sandbox.tokenizer import encode_example, encode_prompt, end_of_turn_id, token_id
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.vocabulary import SLOT_VALUES
from figa_core.sandbox.world import sample_facts, write_request

LAYERS = 2
INITIALIZER_RANGE = 0.04
LEARNING_RATE = 3e-3
BATCH_SIZE = 16
BUCKET_BATCHES = 16
SLOT_LOSS_WEIGHT = 8.0
MAX_NEW_TOKENS = 100

Encoded = tuple[list[int], list[int]]


def llama_config(
    tokenizer: PreTrainedTokenizerFast,
    *,
    layers: int,
    initializer_range: float = INITIALIZER_RANGE,
    **extra: object,
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
        max_position_embeddings=512,
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
    model = LlamaForCausalLM(llama_config(tokenizer, layers=LAYERS))
    trainer = Trainer(model, (), lr=LEARNING_RATE, steps=steps)
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
            weights_V[tokenizer.backend_tokenizer.encode(f" {value}").ids] = SLOT_LOSS_WEIGHT
    return weights_V


@torch.inference_mode()
def sampled_score(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, temperature: float, n: int, seed: int
) -> float:
    """Mean verifier score of one reply each to `n` new requests; `temperature` 0 is greedy."""
    rng = random.Random(f"judged/{seed}")
    requests = [write_request(sample_facts(rng), rng) for _ in range(n)]
    prompts = [encode_prompt(tokenizer, messages) for messages in requests]
    longest = max(map(len, prompts))
    ids_BT = torch.full((n, longest), token_id(tokenizer.pad_token_id))
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
    mask_BT = (ids_BT != token_id(tokenizer.pad_token_id)).long()
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    )
    torch.manual_seed(seed)
    out_BT = model.generate(ids_BT, attention_mask=mask_BT, max_new_tokens=MAX_NEW_TOKENS, **sampling)  # type: ignore[operator]
    replies = tokenizer.batch_decode(out_BT[:, longest:], skip_special_tokens=True)
    return sum(map(verify, requests, replies)) / n


def _batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, progress: Callable[[], float]
) -> Iterator[list[Encoded]]:
    """Batches of similar length, drawn a bucket at a time; what a bucket holds follows the progress."""
    while True:
        drawn = [
            encode_example(tokenizer, *curriculum_example(rng, progress()))
            for _ in range(BATCH_SIZE * BUCKET_BATCHES)
        ]
        drawn.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
        batches = [drawn[first : first + BATCH_SIZE] for first in range(0, len(drawn), BATCH_SIZE)]
        rng.shuffle(batches)
        # A bucket must not outlast its phase by much, so only half of it is used.
        yield from batches[: BUCKET_BATCHES // 2]


def _loss(model: LlamaForCausalLM, batch: list[Encoded], slot_weights_V: Tensor) -> Tensor:
    """Weighted mean NLL of the reply tokens."""
    longest = max(len(prompt) + len(reply) for prompt, reply in batch)
    ids_BT = torch.zeros(len(batch), longest, dtype=torch.long)
    target_BT = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, (prompt, reply) in enumerate(batch):
        end = len(prompt) + len(reply)
        ids_BT[row, :end] = torch.tensor(prompt + reply)
        target_BT[row, len(prompt) : end] = True
    hidden_BTH = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    chosen_BT = target_BT[:, 1:]
    targets = ids_BT[:, 1:][chosen_BT]
    logits = model.lm_head(hidden_BTH[:, :-1][chosen_BT])
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    weights = slot_weights_V[targets]
    return (nll * weights).sum() / weights.sum()
