"""The Parquet file of prompts that a worker gets: token ids as the run samples from, and the conversations.

Both environments import this, so it needs only pyarrow and the standard library.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.files import replacing
from figa_core.records import Message

SCHEMA = pa.schema(
    [("prompt_id", pa.string()), ("prompt_ids", pa.list_(pa.int32())), ("messages", pa.string())]
)

PromptRow = tuple[str, Sequence[int], Sequence[Message]]
"""A prompt's id, its token ids with the generation prompt, and its conversation."""


def write_prompts(path: Path, pages: Iterable[Sequence[PromptRow]]) -> None:
    """Write the prompts, a page at a time; a file that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for page in pages:
            columns = [
                [prompt_id for prompt_id, _, _ in page],
                [list(ids) for _, ids, _ in page],
                [json.dumps([m.as_dict() for m in messages], ensure_ascii=False) for _, _, messages in page],
            ]
            writer.write_table(
                pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], SCHEMA)
            )


def read_prompts(path: Path) -> pa.Table:
    """The table, whose pages are read when they are needed."""
    return pq.read_table(path, schema=SCHEMA, memory_map=True)


def count_prompts(path: Path) -> int:
    return pq.read_metadata(path).num_rows


def conversation(text: str) -> tuple[Message, ...]:
    """The messages of a row's last column."""
    return tuple(Message.of(fields) for fields in json.loads(text))
