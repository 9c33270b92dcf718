"""Starts the pass of a model over a shard set (`reference_pass.py`). This module imports no torch."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

from figa_core.errors import TrainingError
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed
from figa_core.training import reference_log_probs
from figa_core.training.directory_lock import locked
from figa_core.training.objectives.base import Answer

_LOGGER = logging.getLogger("figa_core.training")


def run_log_probs(
    model: Path,
    shards: Path,
    output: Path,
    answers: Sequence[Answer],
    *,
    tokens_per_batch: int,
    log_path: Path,
    top_tokens: int = 0,
    share_prefixes: bool = True,
) -> None:
    """Make a model's log-probabilities of these answers, unless they exist (`reference_pass.py`).

    `top_tokens`: also those of so many most likely tokens at each token of Ỹ. `share_prefixes`: run what
    answers have in common at their beginning once, if the model can.

    Raises:
        TrainingError: the pass failed; the message has its last lines.
    """
    with locked(output, f"log-probabilities {output.name}"):
        if reference_log_probs.read_manifest(output) is not None:
            return
        paths = ("--model", str(model), "--shards", str(shards), "--output", str(output))
        budget = ("--answers", *answers, "--tokens-per-batch", str(tokens_per_batch))
        if top_tokens:
            budget += ("--top-tokens", str(top_tokens))
        if not share_prefixes:
            budget += ("--no-share-prefixes",)
        with followed(log_path, _LOGGER), interruption.doing("the reference model stops"):
            command = [sys.executable, "-m", "figa_core.training.reference_pass", *paths, *budget]
            child = Child(command, log_path, environment=rank_environment())
            code = child.finish()
    if code != 0:
        raise TrainingError(
            f"{output}: no log-probabilities of the model {model}. Last lines of {log_path}:\n"
            f"{indent(child.log_tail(), '  ')}"
        )


def rank_environment() -> dict[str, str]:
    """Of the processes that load a model to train on."""
    return child_environment(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
