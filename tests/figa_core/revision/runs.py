"""Whole revisions of numbered rows through a journal, and what came of them: for tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from figa_core.errors import ReviserError
from figa_core.llm.budget import Budget
from figa_core.llm.calls import CallAnswered, RowSettled
from figa_core.llm.journal import AnswerJournal, read
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.client import OpenAIReviser
from figa_core.revision.settings import ReviserSettings

DRAFT = "Hello Ann, your blue lamp number {} will arrive in Rome in three days."


class Asked:
    """What came of one run over all its rows."""

    def __init__(self) -> None:
        self.revisions: dict[str, Revision] = {}
        self.error: ReviserError | None = None
        self.notes: list[str] = []

    def count(self, status: RevisionStatus) -> int:
        return sum(revision.status is status for revision in self.revisions.values())

    @property
    def written_off(self) -> list[Revision]:
        """Rows that nobody will ask for again, and that have no answer."""
        ends = (RevisionStatus.REFUSED, RevisionStatus.REJECTED)
        return [
            revision
            for revision in self.revisions.values()
            if revision.status in ends
            or (revision.status is RevisionStatus.FAILED and not revision.retryable)
        ]


class Run:
    """A journal, and one revision of numbered rows through it."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url

    @asynccontextmanager
    async def reviser(
        self, asked: Asked, budget: Budget | None = None, **changes: Any
    ) -> AsyncIterator[OpenAIReviser]:
        settings = ReviserSettings(
            self.url, "m", requests_per_minute=600_000, tokens_per_minute=1e9, timeout_s=60, backoff_s=0.002
        )
        async with (
            AnswerJournal(self.path, linger_s=0.001) as journal,
            OpenAIReviser(
                replace(settings, drain_s=3, **changes),
                journal=journal,
                api_key="sk-some-long-key",
                budget=budget,
                on_note=asked.notes.append,
            ) as reviser,
        ):
            yield reviser

    async def ask(self, rows: int, **changes: Any) -> Asked:
        asked = Asked()
        requests = [
            RevisionRequest(
                f"rev-{i:04}", f"res-{i}", (Message("user", "Where is it?"),), DRAFT.format(i), None
            )
            for i in range(rows)
        ]
        async with self.reviser(asked, **changes) as reviser:
            await collect(reviser, requests, asked)
        stored: dict[str, Revision] = {}
        for record, _ in read(self.path):
            if isinstance(record, CallAnswered | RowSettled) and record.revision is not None:
                stored[record.revision.revision_id] = record.revision
        assert stored == asked.revisions, "what is yielded is what is journalled"
        return asked


async def collect(reviser: OpenAIReviser, requests: list[RevisionRequest], asked: Asked) -> None:
    try:
        async for revision in reviser.revise(requests):
            assert revision.revision_id not in asked.revisions
            asked.revisions[revision.revision_id] = revision
    except ReviserError as error:
        asked.error = error


def number_of(request: Any) -> int:
    """Which row a request is about."""
    return int(request.draft.split("number ")[1].split()[0])


def revised(server: Any, request: Any, **extra: Any) -> Any:
    return server.completion(request.draft.replace("blue", "red"), **extra)


def refusing(server: Any, refuses: Callable[[int, Any], Any]) -> None:
    """Answer every request but those for which `refuses(number, request)` has a reaction."""
    server.script = lambda number, request: refuses(number, request) or revised(server, request)
