"""Trains the reward model of `figa demo --real`: small, from scratch, on a domain's right and faulty answers.

    python -m figa_core.real.reward_training --domain structured --output DIR

Bradley–Terry on pairs within a batch: the answer with the higher verifier score is preferred, also between
tasks, so that rewards are comparable. An auxiliary head, discarded afterwards, finds the wrong tokens, which
makes the model compare answer and prompt.

Shape legend: B answers, T positions, P pairs, M tokens of answers.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from Levenshtein import editops
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

from figa_core.domains.base import Domain, Row, load_domain
from figa_core.real.json_faults import faulty_answer
from figa_core.records import Message
from figa_core.sandbox.base_model import llama_config, padded, save_model
from figa_core.sandbox.optimizer import Trainer
from figa_core.sandbox.tokenizer import REWARD_TEMPLATE

SEED = 101  # of the tasks that it learns from; runs use others
_TASKS, _HELD_OUT = 2000, 200
_STEPS, _BATCH = 400, 8
_LAYERS, _READING_LAYER = 3, 2
_MARGIN = 0.02  # of the verifier's score: closer answers are no pair
_FAULT_WEIGHT = 3.0
_SPECIAL = ("<|pad|>", "<|begin|>", "<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


@dataclass(frozen=True, slots=True)
class Judged:
    """A prompt and an answer as ids, the tokens of the answer that are wrong, and the verifier's score."""

    prompt_ids: Sequence[int]
    answer_ids: Sequence[int]
    faulty: Sequence[float]
    score: float


class JudgedAnswers:
    """Draws answers to the tasks of a domain."""

    def __init__(self, domain: Domain, rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast) -> None:
        self._domain, self._rows = domain, rows
        self._answers = [json.loads(row["reference"]) for row in rows]
        self._encode = tokenizer.backend_tokenizer.encode
        self._end = self._encode("<|end|>").ids

    def draw(self, rng: random.Random) -> Judged:
        index = rng.randrange(len(self._rows))
        messages = [Message(**message) for message in self._rows[index]["prompt"]]
        text, right_text = faulty_answer(self._answers[index], self._answers, rng)
        ids, right_ids = self._encode(text).ids, self._encode(right_text).ids
        wrong = {min(place, len(ids)) for _, place, _ in editops(ids, right_ids)}
        prompt = "".join(f"<|{message.role}|>{message.content}<|end|>" for message in messages)
        return Judged(
            self._encode(f"<|begin|>{prompt}<|assistant|>").ids,
            [*ids, *self._end],
            [float(place in wrong) for place in range(len(ids) + 1)],
            self._domain.verify(messages, text),
        )


def train(domain: Domain, output: Path, *, steps: int = _STEPS) -> float:
    """Write the model; return the share of new pairs in which the better answer gets the higher reward."""
    torch.manual_seed(SEED)
    rows = list(domain.rows(_TASKS, SEED))
    tokenizer = _tokenizer(rows)
    answers = JudgedAnswers(domain, rows[_HELD_OUT:], tokenizer)
    config = llama_config(tokenizer, layers=_LAYERS, num_labels=1, initializer_range=0.06)
    config.max_position_embeddings = 1024
    model = LlamaForSequenceClassification(config)
    fault = nn.Linear(config.hidden_size, 1)
    trainer = Trainer(model, fault.parameters(), steps=steps)
    rng = random.Random(f"reward/{SEED}")
    for step in range(steps):
        loss = _loss(model, fault, next(_batches(answers, rng)))
        trainer.step(loss)
        if (step + 1) % 50 == 0:
            print(f"reward model: {step + 1}/{steps} steps", flush=True)
    accuracy = pair_accuracy(model.eval(), JudgedAnswers(domain, rows[:_HELD_OUT], tokenizer))
    save_model(model, tokenizer, output)
    return accuracy


@torch.inference_mode()
def pair_accuracy(
    model: LlamaForSequenceClassification, answers: JudgedAnswers, *, count: int = 200
) -> float:
    rng = random.Random("reward/judged")
    drawn = [answers.draw(rng) for _ in range(count)]
    rewards = torch.cat([_scores(model, drawn[first : first + 50])[0] for first in range(0, count, 50)])
    better_P, worse_P = _pairs(torch.tensor([one.score for one in drawn]))
    return float((rewards[better_P] > rewards[worse_P]).float().mean())


def _scores(model: Any, batch: Sequence[Judged]) -> tuple[Tensor, Any]:
    """Raw rewards (B), and the hidden states of all layers."""
    ids_BT = padded([[*one.prompt_ids, *one.answer_ids] for one in batch])
    ends_B = torch.tensor([len(one.prompt_ids) + len(one.answer_ids) - 1 for one in batch])
    hidden = model.model(input_ids=ids_BT, use_cache=False, output_hidden_states=True)
    last_BH = hidden.last_hidden_state[torch.arange(len(batch)), ends_B]
    return model.score(last_BH)[:, 0], hidden.hidden_states


def _pairs(scores_B: Tensor) -> tuple[Tensor, Tensor]:
    better_P, worse_P = torch.where(scores_B[:, None] > scores_B[None, :] + _MARGIN)
    return better_P, worse_P


def _loss(model: Any, fault: nn.Module, batch: Sequence[Judged]) -> Tensor:
    rewards_B, hidden = _scores(model, batch)
    better_P, worse_P = _pairs(torch.tensor([one.score for one in batch]))
    preference = -functional.logsigmoid(rewards_B[better_P] - rewards_B[worse_P]).mean()
    read_MH = torch.cat(
        [
            hidden[_READING_LAYER][row, len(one.prompt_ids) : len(one.prompt_ids) + len(one.answer_ids)]
            for row, one in enumerate(batch)
        ]
    )
    faulty_M = torch.tensor([value for one in batch for value in one.faulty])
    weight = torch.tensor(_FAULT_WEIGHT)
    return preference + functional.binary_cross_entropy_with_logits(
        fault(read_MH)[:, 0], faulty_M, pos_weight=weight
    )


def _batches(answers: JudgedAnswers, rng: random.Random) -> Iterator[list[Judged]]:
    while True:
        yield [answers.draw(rng) for _ in range(_BATCH)]


def _tokenizer(rows: Sequence[Row]) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for row in rows for text in (row["prompt"][0]["content"], row["reference"]))
    core.train_from_iterator(texts, trainer)
    pad, begin, end_of_text, *turns = _SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=begin,
        eos_token=end_of_text,
        pad_token=pad,
        additional_special_tokens=turns,
        chat_template=REWARD_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="figa_core.real.reward_training")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=_STEPS)
    options = parser.parse_args()
    accuracy = train(load_domain(options.domain), options.output, steps=options.steps)
    print(f"accuracy on new pairs: {accuracy:.3f}")


if __name__ == "__main__":
    main()
