"""Fixtures for tests that ask: a misbehaving server, and rows to revise."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from figa_core.ports import RevisionRequest
from figa_core.records import Message
from tests.figa_core.llm.misbehaving import DRAFT, REVISED, MisbehavingServer, misbehaving_server
from tests.figa_core.llm.runs import Run, Runner


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with misbehaving_server() as misbehaving:
        yield misbehaving


@pytest.fixture
def make_rows() -> Callable[..., list[RevisionRequest]]:
    def make(count: int, draft: str = DRAFT) -> list[RevisionRequest]:
        question = (Message("user", "Where is my lamp?"),)
        return [RevisionRequest(f"rev-{i}", f"res-{i}", question, draft, None) for i in range(count)]

    return make


@pytest.fixture
def revised() -> str:
    return REVISED


@pytest.fixture
def draft() -> str:
    return DRAFT


@pytest.fixture
def run(server: Any, tmp_path: Path) -> Run:
    return Run(tmp_path / "journal.jsonl", server.url)


@pytest.fixture
def runner(server: Any, tmp_path: Path) -> Runner:
    return Runner(tmp_path / "journal.jsonl", server.url)
