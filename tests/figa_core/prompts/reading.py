"""Reads prompts from files as users write them."""

import json
from pathlib import Path
from typing import Any

from figa_core.prompts.read import BadRow, RowFormat, read_prompts
from figa_core.records import Prompt

FORMAT = RowFormat("prompt", "reference", None, 0.0)


def read(path: Path, row_format: RowFormat = FORMAT, limit: int | None = None) -> list[Prompt | BadRow]:
    return [row for _, row in read_prompts(path, row_format, limit)]


def jsonl(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return path


def prompt(row: Prompt | BadRow) -> Prompt:
    assert isinstance(row, Prompt), row
    return row
