"""One of the two processes that train a sandbox's models, each on one core.

    python -m figa_core.sandbox.worker base|reward --directory DIR --recipe JSON

The model goes into DIR; progress (a line each time) and figures (written last) into its scratch directory.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent
from figa_core.sandbox.base_model import sampled_score, save_model, train_base_model
from figa_core.sandbox.build import PROGRESS, SCRATCH
from figa_core.sandbox.recipe import SandboxRecipe
from figa_core.sandbox.reward_model import held_out_accuracies, rewards, train_reward_model
from figa_core.sandbox.tokenizer import REWARD_TEMPLATE, train_tokenizer
from figa_core.sandbox.vocabulary import REFERENCE_STYLE
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request

_REPORTS = 8


def make_base(directory: Path, recipe: SandboxRecipe) -> dict[str, float]:
    """Train and save the base model with its tokenizer; return its figures."""
    tokenizer = train_tokenizer(recipe.seed)
    started = time.monotonic()
    report = _reporter("base model", directory)
    model = train_base_model(tokenizer, steps=recipe.base_steps, seed=recipe.seed, on_progress=report)
    figures = {
        "base_parameters": float(model.num_parameters()),
        "base_training_seconds": time.monotonic() - started,
    }
    for temperature in (0.0, 0.7, 1.0):
        figures[f"base_score_at_{temperature:g}"] = sampled_score(
            model, tokenizer, temperature=temperature, n=recipe.prompts_sampled, seed=recipe.seed
        )
    save_model(model, tokenizer, directory / "base")
    return figures


def make_reward(directory: Path, recipe: SandboxRecipe) -> dict[str, float]:
    """Train and save the reward model with the same tokenizer; return its figures."""
    train_tokenizer(recipe.seed).save_pretrained(directory / "reward")
    tokenizer = AutoTokenizer.from_pretrained(directory / "reward")
    tokenizer.chat_template = REWARD_TEMPLATE
    started = time.monotonic()
    report = _reporter("reward model", directory)
    model = train_reward_model(tokenizer, steps=recipe.reward_steps, seed=recipe.seed, on_progress=report)
    figures = {
        "reward_parameters": float(model.num_parameters()),
        "reward_training_seconds": time.monotonic() - started,
        **held_out_accuracies(model, tokenizer, n=recipe.pairs_judged, seed=recipe.seed),
    }
    rng = random.Random(f"reward-means/{recipe.seed}")
    facts = [sample_facts(rng) for _ in range(recipe.prompts_sampled)]
    messages = [write_request(one, rng) for one in facts]
    kinds = {
        "good": [good_reply(one, rng) for one in facts],
        "weak": [faulty_reply(one, rng) for one in facts],
        "reference": [good_reply(one, rng, REFERENCE_STYLE) for one in facts],
    }
    for kind, replies in kinds.items():
        texts = [(request, reply.text) for request, reply in zip(messages, replies, strict=True)]
        figures[f"reward_mean_{kind}"] = statistics.fmean(rewards(model, tokenizer, texts))
    save_model(model, tokenizer, directory / "reward")
    return figures


def _reporter(name: str, directory: Path) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done == total or done % -(-total // _REPORTS) == 0:
            with (directory / SCRATCH / PROGRESS).open("a", encoding="utf-8") as file:
                file.write(f"{name}: {done}/{total} steps\n")

    return report


def main() -> None:
    if PARENT_PID_VARIABLE in os.environ:
        die_with_parent()
    parser = argparse.ArgumentParser(prog="figa_core.sandbox.worker")
    parser.add_argument("model", choices=("base", "reward"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--recipe", type=json.loads, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    make = make_base if options.model == "base" else make_reward
    figures = make(options.directory, SandboxRecipe(**options.recipe))
    target = options.directory / SCRATCH / f"{options.model}.json"
    target.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
