"""The reference model's one pass over a shard set: ``python -m figa_core.training.reference_pass …``.

It runs in its own process and ends before the training begins, so that its memory is free again. It uses one
device, or all if the model does not fit into one, and float32 whatever the training's dtype is.

Shapes: K tokens of the answers in a micro-batch.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from figa_core.errors import FigaError
from figa_core.processes.children import die_with_parent
from figa_core.processes.tell import tell, tell_troubles
from figa_core.training import reference_log_probs
from figa_core.training.attention import use_packed_attention
from figa_core.training.batches import Layout
from figa_core.training.data import PairData
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.model import WeightedTokenLogits, inputs_of, token_nll
from figa_core.training.objectives.base import Answer
from figa_core.training.prefixes import GRAIN
from figa_core.training.sharing import problem_with_model
from figa_core.training.spread import Room, load_to_read, room_here
from figa_core.training.top_tokens import top_tokens_of

_PAIRS_AT_ONCE = 512
_TOP_COLUMNS = reference_log_probs.top_columns("revision")

LogProbs = dict[tuple[int, str], np.ndarray]
"""By pair and column."""


def main() -> int:
    """Write the log-probabilities. Exit code 1 means a `FigaError`, whose message is the last line."""
    die_with_parent()
    tell_troubles()
    parser = argparse.ArgumentParser(prog="figa_core.training.reference_pass")
    for name in ("model", "shards", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--answers", nargs="+", choices=("response", "revision", "reference"), required=True)
    parser.add_argument("--tokens-per-batch", type=int, required=True)
    parser.add_argument("--top-tokens", type=int, default=0, help="of each token of Ỹ")
    parser.add_argument("--share-prefixes", action=argparse.BooleanOptionalAction, default=True)
    try:
        run_pass(**vars(parser.parse_args()))
    except FigaError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run_pass(
    model: Path,
    shards: Path,
    output: Path,
    answers: Sequence[Answer],
    tokens_per_batch: int,
    top_tokens: int = 0,
    share_prefixes: bool = True,
    room: Room | None = None,
) -> None:
    """Write the log-probability of every token of these answers, for every pair.

    With `top_tokens`, which needs Ỹ among the answers, also so many most likely tokens at each token of Ỹ.
    With `share_prefixes`, what answers have in common at their beginning is run once, if the model can.
    `room` is for the model's weights, by default that of this process.

    Raises:
        StorageError: the shards are damaged, or the results cannot be written.
        TrainingError: the model cannot be loaded, or has no embedding for a token.
    """
    data = PairData(shards)
    with TemporaryDirectory(prefix="figa-reference-") as scratch:
        loaded = load_to_read(model, room or room_here(), Path(scratch))
        reference = _Reference(loaded, tokens_per_batch, top_tokens, share_prefixes=share_prefixes)
        data.check_vocabulary(reference.vocabulary)
        tell(f"log-probabilities of {len(data):,} pairs under the reference model {model}")
        tables = _tables(reference, data, answers)
        reference_log_probs.write(output, tuple(answers), tables, reference.top_tokens)


class _Reference:
    def __init__(self, loaded: Any, tokens_per_batch: int, top_tokens: int, *, share_prefixes: bool) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.vocabulary: int = loaded.get_input_embeddings().num_embeddings
        packs = use_packed_attention(loaded)
        shares = share_prefixes and packs and problem_with_model(loaded) is None
        self._layout = Layout(tokens_per_batch, packing=packs, grain=GRAIN if shares else None)
        self._module = WeightedTokenLogits(loaded, sparse_head=True)
        self.top_tokens = min(top_tokens, self.vocabulary)

    @torch.no_grad()
    def log_probs(self, data: PairData, pairs: Sequence[int], answers: Sequence[Answer]) -> LogProbs:
        """For each answer that is not empty its column, and for Ỹ also those of its most likely tokens."""
        units = [
            (data.whole_answer(pair, answer),)
            for pair in pairs
            for answer in answers
            if data.answer_tokens(pair, answer)
        ]
        found: LogProbs = {}
        for batch in map(self._layout.batch, self._layout.groups(units)):
            logits_KV = self._module(*inputs_of(batch, self._device))
            parts = zip(
                batch.pairs,
                batch.answers,
                self._of_tokens(batch, logits_KV).split(batch.counts),
                logits_KV.split(batch.counts),
                strict=True,
            )
            for pair, answer, log_probs, logits in parts:
                found[pair, answer] = _array(log_probs)
                if answer == "revision" and self.top_tokens:
                    columns = zip(_TOP_COLUMNS, top_tokens_of(logits, self.top_tokens), strict=True)
                    found |= {(pair, name): _array(values.flatten()) for name, values in columns}
        return found

    def _of_tokens(self, batch: MicroBatch, logits_KV: torch.Tensor) -> torch.Tensor:
        targets_K, weights_K = (torch.from_numpy(array) for array in (batch.targets_K, batch.weights_K))
        return -token_nll(logits_KV, targets_K.to(self._device), weights_K)


def _array(values: torch.Tensor) -> np.ndarray:
    return (values.float() if values.is_floating_point() else values.int()).cpu().numpy()


def _tables(reference: _Reference, data: PairData, answers: Sequence[Answer]) -> Iterator[pa.Table]:
    schema = reference_log_probs.schema_of(answers, reference.top_tokens)
    nothing = np.zeros(0, dtype=np.float32)
    for first in range(0, len(data), _PAIRS_AT_ONCE):
        pairs = range(first, min(first + _PAIRS_AT_ONCE, len(data)))
        found = reference.log_probs(data, pairs, answers)
        rows = [[found.get((pair, name), nothing) for pair in pairs] for name in schema.names[1:]]
        columns = zip([[data.pair_id(pair) for pair in pairs], *rows], schema, strict=True)
        yield pa.table([pa.array(values, type=field.type) for values, field in columns], schema=schema)


if __name__ == "__main__":
    sys.exit(main())
