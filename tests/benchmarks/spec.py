"""The spec of a contender of the training benchmark.

It imports nothing of figa_core: TRL's environment imports it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tests.benchmarks.json_file import JsonFile
from tests.benchmarks.models import Shape

Kind = Literal["ours", "reference", "trl"]
LOOP_SEED = 0
WARM_UP = 1
"""Steps before the timed ones."""


@dataclass(frozen=True, slots=True)
class Spec(JsonFile):
    """One contender on one data set.

    Attributes:
        model, shards, pairs: directories of the model and its shard set, and the same pairs as bare ids.
        steps: timed steps.
        negative_nll_max: the gate. None here: with random weights the NLL is near ln V at every token, so the
            gate would close on all negatives, and each recipe would do less than its full work.
        sparse_head, tail_cut, packing: see `figa_core.training.job.Levers`.
        by_length: group rows by length if they are not packed; otherwise they are in order of arrival.
        stored_edits: read the edits from the shards; otherwise align again in every step.
        python_loops: build the reference recipe's masks by loops over tokens.
        row_length: tokens of TRL's packed row; 0 means no packing: rows are padded and grouped by length.
        rows_per_batch: rows of TRL's micro-batch.
    """

    kind: Kind
    model: str
    shards: str
    pairs: str
    shape: Shape
    vocabulary: int
    steps: int
    pairs_per_step: int = 8
    tokens_per_batch: int = 4096
    alpha: float = 1.0
    beta: float = 0.5
    negative_nll_max: float | None = None
    bfloat16: bool = False
    sparse_head: bool = True
    tail_cut: bool = True
    packing: bool = True
    by_length: bool = True
    stored_edits: bool = True
    python_loops: bool = False
    row_length: int = 0
    rows_per_batch: int = 1

    @classmethod
    def parsed(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """With a shape."""
        return fields | {"shape": Shape(**fields["shape"])}
