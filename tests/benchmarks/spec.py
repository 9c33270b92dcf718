"""What a contender's process is told, as a JSON file.

Nothing of figa_core here: TRL's environment imports it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tests.benchmarks.models import Shape

Kind = Literal["ours", "reference", "trl"]
WARM_UP = 1
"""Steps before the timed ones."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One contender on one data set.

    Attributes:
        model, shards, pairs: directories of the model and of its shard set, and the same pairs as bare ids.
        steps: timed steps.
        negative_nll_max: the gate. None here: random weights have an NLL near ln V at every token, so that
            the gate would close on all negatives, and each recipe would do less than its full work.
        sparse_head, tail_cut, packing: `figa_core.training.job.Levers`.
        by_length: rows (without packing) grouped by length; off: in arrival order.
        stored_edits: edits read from the shards; off: aligned again at every step.
        python_loops: the reference recipe's masks by loops over tokens.
        row_length: TRL's packed row in tokens; 0: no packing, rows padded by length.
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
    loop_seed: int = 0
    sparse_head: bool = True
    tail_cut: bool = True
    packing: bool = True
    by_length: bool = True
    stored_edits: bool = True
    python_loops: bool = False
    row_length: int = 0
    rows_per_batch: int = 1

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Spec":
        """Read what `save` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**(fields | {"shape": Shape(**fields["shape"])}))
