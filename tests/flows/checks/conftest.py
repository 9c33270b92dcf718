"""Configs to check: a prompts file, and models that no check here reads."""

import json
from pathlib import Path
from typing import Any, Protocol

import pytest

from figa_core.config import PipelineConfig
from figa_core.config.file import parse_config
from flows.checks.facts import Facts

Rows = list[dict[str, Any]]

PRICES = {"m": {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 1.0}}


def rows(count: int = 24, **fields: Any) -> Rows:
    """Different prompts, each with the same further fields."""
    return [{"prompt": f"Question number {i}?", **fields} for i in range(count)]


def write_rows(path: Path, content: Rows) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in content), encoding="utf-8")


class MakeFacts(Protocol):
    def __call__(self, content: Rows | None = None, /, **sections: dict[str, Any]) -> Facts: ...


@pytest.fixture
def facts(tmp_path: Path) -> MakeFacts:
    """Facts of a config that has the defaults except for these settings."""

    def make(content: Rows | None = None, /, **sections: dict[str, Any]) -> Facts:
        write_rows(tmp_path / "prompts.jsonl", rows(reference="An answer.") if content is None else content)
        data: dict[str, dict[str, Any]] = {
            "workspace": {"path": "workspace"},
            "prompts": {"path": "prompts.jsonl", "held_out_share": 0.25},
            "generation": {"model": "base"},
            "reward": {"model": "reward"},
            "revision": {"model": "m"},
            "training": {"pairs_per_step": 4},
        }
        for section, fields in sections.items():
            data.setdefault(section, {}).update(fields)
        return Facts(as_config(data, tmp_path))

    return make


def as_config(data: dict[str, dict[str, Any]], base: Path) -> PipelineConfig:
    return parse_config(data, source="a test", base=base)
