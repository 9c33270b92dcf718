"""The Parquet file of prompts that a worker gets: token ids as the run samples from, and the conversations.

Both environments import this, so it needs only pyarrow and the standard library.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.files import replacing
from figa_core.records import Message

SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("messages", pa.string()),
        ("fields", pa.string()),
    ]
)


class PromptRow(NamedTuple):
    """A prompt's id, its token ids with the generation prompt, its conversation, and the fields of its row
    that reward programs get.
    """

    prompt_id: str
    prompt_ids: Sequence[int]
    messages: Sequence[Message]
    fields: Mapping[str, Any] | None = None


def write_prompts(path: Path, pages: Iterable[Sequence[PromptRow]]) -> None:
    """Write the prompts, a page at a time; a file that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for page in pages:
            columns = [
                [row.prompt_id for row in page],
                [list(row.prompt_ids) for row in page],
                [_text([message.as_dict() for message in row.messages]) for row in page],
                [None if row.fields is None else _text(dict(row.fields)) for row in page],
            ]
            writer.write_table(
                pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], SCHEMA)
            )


def read_prompts(path: Path) -> pa.Table:
    """The table, whose pages are read when they are needed. Files of older versions have no fields."""
    return pq.read_table(path, schema=SCHEMA, memory_map=True)


def count_prompts(path: Path) -> int:
    return pq.read_metadata(path).num_rows


def conversation(text: str) -> tuple[Message, ...]:
    """The messages of a row."""
    return tuple(Message.of(fields) for fields in json.loads(text))


def row_fields(text: str | None) -> dict[str, Any]:
    """The fields of a row; none if it has none."""
    return {} if text is None else json.loads(text)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
