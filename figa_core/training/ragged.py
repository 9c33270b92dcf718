"""A column of lists as one array of values and one of offsets, with no Python objects per row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True, eq=False, slots=True)
class Ragged:
    """Rows of different lengths: row i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    def row(self, index: int) -> npt.NDArray[Any]:
        """A view, not a copy."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


def column_of(tables: list[pa.Table], name: str) -> Ragged:
    """One column of lists of all tables."""
    chunks = [chunk for table in tables for chunk in table.column(name).chunks]
    values = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks])
    lengths = np.concatenate([np.diff(chunk.offsets.to_numpy()) for chunk in chunks])
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
