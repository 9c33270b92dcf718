"""A small reward model for a domain: Bradley–Terry on answers that the domain's verifier has graded.

    python -m figa_core.domains.reward_model structured --root DIR [--drafts FILE]

`DIR/reward` becomes a Hugging Face directory, as the sandbox's reward model is, and it is trained by the same
code. `FILE` has answers of a model that is to be aligned, a JSON object a line with `prompt` and `draft`: the
share of their pairs that the rewards order as the verifier does is printed too.

It reads the last message of a prompt and the answer; white space and digits are tokens of their own, so that
a word is the same token in both.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import torch
from tokenizers import Regex, pre_tokenizers
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils import logging

from figa_core.domains.base import NAMES, Domain, load_domain
from figa_core.domains.wrong_answers import GradedAnswer, graded_answers
from figa_core.errors import ConfigError, FigaError
from figa_core.records import Message
from figa_core.sandbox.base_model import llama_config, save_model
from figa_core.sandbox.optimizer import Trainer
from figa_core.sandbox.reward_batches import NO_VALUE, EncodedReply, RewardBatch, batch_of
from figa_core.sandbox.reward_model import AuxiliaryHeads, preference_loss, rewards
from figa_core.sandbox.tokenizer import encode_prompt, end_of_turn_id, tokenizer_for

_TASKS_PER_BATCH = 8
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages[-2:] %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_MIN_DIFFERENCE = 0.05
"""Answers whose verifier values differ by less are no pair."""


@dataclass(frozen=True, slots=True)
class RewardRecipe:
    """What decides a domain's reward model."""

    steps: int = 400
    seed: int = 0
    layers: int = 3
    tasks_judged: int = 150
    tasks_for_tokenizer: int = 300


def build_reward_model(
    domain: Domain, root: Path, recipe: RewardRecipe, on_progress: Callable[[str], None]
) -> dict[str, float]:
    """Train the model into `root/reward`; return its figures: sizes, seconds, accuracy on new answers.

    Raises:
        ConfigError: the domain has no answers to learn from.
    """
    if domain.answers is None:
        raise ConfigError(
            f"the domain {domain.name!r} has no reward model of its own; the sandbox has one for 'support'. "
            "Choose another domain."
        )
    started = time.monotonic()
    tokenizer = _tokenizer(domain, recipe)
    model = _train(domain, tokenizer, recipe, on_progress)
    figures = {
        "parameters": float(model.num_parameters()),
        "seconds": time.monotonic() - started,
        "pair_accuracy": _accuracy_on_new_answers(model, tokenizer, domain, recipe),
    }
    save_model(model, tokenizer, root / "reward")
    return figures


def pair_accuracy(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    answers: Sequence[Sequence[tuple[Sequence[Message], str, float]]],
) -> tuple[float, int]:
    """The share of pairs in a group whose rewards are in the verifier's order, and the number of pairs.

    `answers`: groups of (messages, text, verifier's value).
    """
    flat = [(messages[-1:], text) for group in answers for messages, text, _ in group]
    rewarded = iter(rewards(model, tokenizer, flat))
    right = pairs = 0
    for group in answers:
        rated = [(value, next(rewarded)) for _, _, value in group]
        for (value, reward), (other, other_reward) in combinations(rated, 2):
            if abs(value - other) >= _MIN_DIFFERENCE:
                pairs += 1
                right += (reward > other_reward) == (value > other)
    return right / max(pairs, 1), pairs


def read_drafts(domain: Domain, path: Path) -> list[tuple[Sequence[Message], str, float]]:
    """The drafts of a file, with the verifier's values."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        messages = [Message(**message) for message in row["prompt"]]
        found.append((messages, row["draft"], domain.verify(messages, row["draft"])))
    return found


def _tokenizer(domain: Domain, recipe: RewardRecipe) -> PreTrainedTokenizerFast:
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )

    def texts() -> Iterator[str]:
        for group in islice(graded_answers(domain, recipe.seed), recipe.tasks_for_tokenizer):
            yield group[0].messages[-1].content
            yield from (answer.text for answer in group)

    return tokenizer_for(texts(), split, _TEMPLATE)


def _train(
    domain: Domain,
    tokenizer: PreTrainedTokenizerFast,
    recipe: RewardRecipe,
    on_progress: Callable[[str], None],
) -> LlamaForSequenceClassification:
    torch.manual_seed(recipe.seed)
    config = llama_config(tokenizer, layers=recipe.layers, num_labels=1, initializer_range=0.06)
    model = LlamaForSequenceClassification(config)
    heads = AuxiliaryHeads(config.hidden_size, torch.ones(len(tokenizer)))
    trainer = Trainer(model, heads.parameters(), steps=recipe.steps)
    tasks = graded_answers(domain, recipe.seed + 1)
    for step in range(recipe.steps):
        answers = [answer for group in islice(tasks, _TASKS_PER_BATCH) for answer in group]
        loss = preference_loss(model, heads, collate(tokenizer, answers))
        trainer.step(loss)
        if (step + 1) % max(1, recipe.steps // 10) == 0:
            on_progress(f"{step + 1}/{recipe.steps} steps, loss {loss.item():.2f}")
    return model.eval()


def collate(tokenizer: PreTrainedTokenizerFast, answers: Sequence[GradedAnswer]) -> RewardBatch:
    """Answers as tensors; what their pieces should be becomes what the heads learn."""
    return batch_of([_encoded(tokenizer, answer) for answer in answers], [answer.cost for answer in answers])


def _encoded(tokenizer: PreTrainedTokenizerFast, answer: GradedAnswer) -> EncodedReply:
    """Prompt, answer, end of turn."""
    prompt_ids = encode_prompt(tokenizer, answer.messages[-1:])
    ids = list(prompt_ids)
    faulty, right = [0.0] * len(ids), [NO_VALUE] * len(ids)
    for piece in answer.pieces:
        piece_ids = tokenizer.backend_tokenizer.encode(piece.text).ids
        ids += piece_ids
        faulty += [float(piece.text != piece.right)] * len(piece_ids)
        value = (
            tokenizer.backend_tokenizer.encode(piece.right).ids[0] if piece.right[0].isalnum() else NO_VALUE
        )
        right += [value, *[NO_VALUE] * (len(piece_ids) - 1)]
    in_reply = [False] * len(prompt_ids) + [True] * (len(ids) - len(prompt_ids)) + [False]
    return [*ids, end_of_turn_id(tokenizer)], [*faulty, 0.0], [*right, NO_VALUE], in_reply


def _accuracy_on_new_answers(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    domain: Domain,
    recipe: RewardRecipe,
) -> float:
    tasks = islice(graded_answers(domain, recipe.seed + 2), recipe.tasks_judged)
    groups = [[(one.messages, one.text, 1.0 - one.cost) for one in group] for group in tasks]
    return pair_accuracy(model, tokenizer, groups)[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="figa_core.domains.reward_model")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--root", type=Path, required=True, help="directory that gets the model as `reward`")
    parser.add_argument("--steps", type=int, default=RewardRecipe().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drafts", type=Path, help="JSON lines with prompt and draft")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    domain = load_domain(options.name)
    recipe = RewardRecipe(steps=options.steps, seed=options.seed)
    try:
        figures = build_reward_model(domain, options.root, recipe, lambda line: print(line, flush=True))
    except FigaError as error:
        sys.exit(f"error: {error}")
    for name, value in figures.items():
        print(f"{name:20} {value:.4g}")
    if options.drafts is not None:
        model = LlamaForSequenceClassification.from_pretrained(options.root / "reward").eval()
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.root / "reward")
        accuracy, pairs = pair_accuracy(model, tokenizer, [read_drafts(domain, options.drafts)])
        print(f"{'draft_accuracy':20} {accuracy:.4g}  ({pairs} pairs)")


if __name__ == "__main__":
    main()
