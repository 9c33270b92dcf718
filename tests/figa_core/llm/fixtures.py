"""Fixtures for tests that ask: a misbehaving server, and journals of its answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.figa_core.llm.misbehaving import MisbehavingServer, misbehaving_server
from tests.figa_core.llm.runs import Run, Runner


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with misbehaving_server() as misbehaving:
        yield misbehaving


@pytest.fixture
def run(server: Any, tmp_path: Path) -> Run:
    return Run(tmp_path / "journal.jsonl", server.url)


@pytest.fixture
def runner(server: Any, tmp_path: Path) -> Runner:
    return Runner(tmp_path / "journal.jsonl", server.url)
