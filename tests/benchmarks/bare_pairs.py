"""Pairs as bare token ids, in a Parquet file. No figa_core here: TRL's environment imports it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Ids = tuple[int, ...]
_IDS = pa.list_(pa.int32())
_SCHEMA = pa.schema({"step": pa.int32(), "prompt_ids": _IDS, "response_ids": _IDS, "revision_ids": _IDS})


@dataclass(frozen=True, slots=True)
class BarePair:
    """Token ids only; both answers end with the end of turn."""

    prompt_ids: Ids
    response_ids: Ids
    revision_ids: Ids

    @property
    def tokens(self) -> int:
        """Tokens of the two training sequences, without padding."""
        return 2 * len(self.prompt_ids) + len(self.response_ids) + len(self.revision_ids)


def write_steps(path: Path, steps: Sequence[Sequence[BarePair]]) -> None:
    """One row per pair with the number of its step (from 0), in order of arrival."""
    rows = [{"step": step, **asdict(pair)} for step, pairs in enumerate(steps) for pair in pairs]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path)


def read_steps(path: Path) -> list[list[BarePair]]:
    """What `write_steps` wrote."""
    steps: dict[int, list[BarePair]] = {}
    for row in pq.read_table(path).to_pylist():
        ids = {name: tuple(row[name]) for name in ("prompt_ids", "response_ids", "revision_ids")}
        steps.setdefault(row["step"], []).append(BarePair(**ids))
    return [steps[step] for step in sorted(steps)]
