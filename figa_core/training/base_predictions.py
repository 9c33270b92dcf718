"""What the base model predicts of the pairs of a shard set, in memory, as `reference_pass.py` wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from figa_core.training import reference_log_probs
from figa_core.training.objectives.base import Answer
from figa_core.training.ragged import Ragged, column_of


@dataclass(frozen=True, eq=False, slots=True)
class BasePredictions:
    """`log_probs` are those of the tokens of each answer. `top` are the most likely tokens at each token of Ỹ
    (`top_tokens.py`): C ids and D log-probabilities.
    """

    log_probs: Mapping[Answer, Ragged]
    top: tuple[Ragged, Ragged] | None

    def top_tokens(
        self, pair: int, tokens: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The ids (A, C) and log-probabilities (A, D) at these tokens of Ỹ."""
        assert self.top is not None
        length = len(self.log_probs["revision"].row(pair))
        ids, log_probs = (column.row(pair).reshape(length, -1)[tokens] for column in self.top)
        return ids, log_probs


def read_base_predictions(
    directory: Path,
    pair_ids: pa.ChunkedArray,
    lengths: Mapping[Answer, npt.NDArray[np.int64]],
    rows: npt.NDArray[np.int64] | None,
) -> BasePredictions | None:
    """Read them for pairs with these ids and lengths of answers; None if they are of other pairs.

    `rows` are the pairs of the set that are used; None for all.

    Raises:
        StorageError: they are missing, unfinished or damaged.
    """
    table = reference_log_probs.read(directory)
    if rows is not None:
        table = table.take(pa.array(rows))
    manifest = reference_log_probs.read_manifest(directory)
    assert manifest is not None, "its table was read"
    log_probs: dict[Answer, Ragged] = {answer: column_of([table], answer) for answer in manifest.answers}
    fits = all(np.array_equal(column.lengths(), lengths[answer]) for answer, column in log_probs.items())
    top = None
    if manifest.top_tokens:
        ids, of_ids = (column_of([table], name) for name in reference_log_probs.top_columns("revision"))
        top, tokens = (ids, of_ids), lengths["revision"]
        fits &= np.array_equal(ids.lengths(), tokens * manifest.top_tokens)
        fits &= np.array_equal(of_ids.lengths(), tokens * (manifest.top_tokens + 1))
    if not (fits and table.column("pair_id").equals(pair_ids)):
        return None
    return BasePredictions(log_probs, top)
