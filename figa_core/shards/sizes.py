"""How large a shard set is: which answers its pairs have, and their tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from figa_core.shards.manifest import BEST
from figa_core.shards.read import iter_tables

_ANSWERS = ("response", "revision", "reference")


@dataclass(frozen=True, slots=True)
class ShardSizes:
    """`answered`: answer → pairs that have it. `tokens`: answer → tokens of prompts and answers of these."""

    pairs: int
    prompt_tokens: int
    answered: Mapping[str, int]
    tokens: Mapping[str, int]


def shard_sizes(directory: Path) -> ShardSizes:
    """Count the tokens of a complete set, a shard at a time.

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    pairs = prompt_tokens = 0
    answered: dict[str, int] = dict.fromkeys(_ANSWERS, 0)  # and best samples, in sets that have them
    tokens: dict[str, int] = dict.fromkeys(_ANSWERS, 0)
    for table in iter_tables(directory):
        prompts_P = _lengths(table, "prompt_ids")
        pairs += len(prompts_P)
        prompt_tokens += int(prompts_P.sum())
        for answer in (*_ANSWERS, "best") if BEST in table.schema.names else _ANSWERS:
            lengths_P = _lengths(table, f"{answer}_ids")
            answered[answer] = answered.get(answer, 0) + int((lengths_P > 0).sum())
            tokens[answer] = tokens.get(answer, 0) + int((lengths_P + prompts_P)[lengths_P > 0].sum())
    return ShardSizes(pairs, prompt_tokens, answered, tokens)


def _lengths(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """(P) the tokens of each row."""
    return np.concatenate([np.diff(chunk.offsets.to_numpy()) for chunk in table.column(column).chunks])
