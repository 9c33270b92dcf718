"""Revisions of rows through a journal, and their results: for tests."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from figa_core.errors import LLMError
from figa_core.llm.asker import Asker
from figa_core.llm.budget import Budget
from figa_core.llm.calls import CallAnswered, CallOutcome, CallRecord, CallSent, RowSettled
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.journal import AnswerJournal, read
from figa_core.llm.question import Decoding
from figa_core.llm.settings import AskerSettings
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.prompt import RESPONSE_FORMAT
from figa_core.revision.reviser import LLMReviser, ReviserSettings
from tests.figa_core.llm import misbehaving

KEY = "sk-this-must-never-be-seen-anywhere"
DRAFT = "Hello Ann, your blue lamp number {} will arrive in Rome in three days."
_DECODING = {"max_tokens": 1024, "temperature": 0.0, "response_format": RESPONSE_FORMAT}
_FAST = {"requests_per_minute": 600_000, "tokens_per_minute": 1e9, "drain_s": 3}


@asynccontextmanager
async def open_reviser(
    url: str, journal: AnswerJournal, *, budget: Budget | None = None, **changes: Any
) -> AsyncIterator[LLMReviser]:
    """A reviser at `url`; `changes` to the settings of the endpoint, the asker and the decoding."""
    on_note = changes.pop("on_note", lambda _: None)
    model, timeout_s = changes.pop("model", "m"), changes.pop("timeout_s", 60)
    decoding = Decoding(**{name: changes.pop(name, value) for name, value in _DECODING.items()})
    endpoint = ChatEndpoint(changes.pop("base_url", url), model, KEY, timeout_s=timeout_s, section="revision")
    settings = AskerSettings("revision", **{**_FAST, **changes})
    async with Asker(endpoint, settings, journal=journal, budget=budget, on_note=on_note) as asker:
        yield LLMReviser(asker, ReviserSettings(decoding))


def revision_in(record: CallRecord) -> Revision | None:
    """The final state in a record of the journal."""
    return None if isinstance(record, CallSent) or record.value is None else Revision.of(record.value)


def calls_in_flight(records: Iterable[CallRecord]) -> set[str]:
    """The ids of the calls that were sent and not answered."""
    sent, answered = set[str](), set[str]()
    for record in records:
        if not isinstance(record, RowSettled):
            (sent if isinstance(record, CallSent) else answered).add(record.call_id)
    return sent - answered


def make_rows(count: int, draft: str = misbehaving.DRAFT) -> list[RevisionRequest]:
    question = (Message("user", "Where is my lamp?"),)
    return [RevisionRequest(f"rev-{i}", f"res-{i}", question, draft, None) for i in range(count)]


class Runner:
    """Revisions through one journal."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url

    @asynccontextmanager
    async def reviser(self, **changes: Any) -> AsyncIterator[LLMReviser]:
        usual = {"timeout_s": 5, "backoff_s": 0.005}
        async with (
            AnswerJournal(self.path, linger_s=0.002) as journal,
            open_reviser(self.url, journal, **{**usual, **changes}) as reviser,
        ):
            yield reviser

    async def revise(self, rows: list[RevisionRequest], **changes: Any) -> list[Revision]:
        async with self.reviser(**changes) as reviser:
            return [revision async for revision in reviser.revise(rows)]

    def records(self) -> list[CallRecord]:
        return [record for record, _ in read(self.path)]

    def answers(self) -> list[CallAnswered]:
        return [record for record in self.records() if isinstance(record, CallAnswered)]

    def revisions(self) -> list[Revision]:
        """The revisions that calls settled."""
        return [revision for answer in self.answers() if (revision := revision_in(answer))]

    def outcomes(self) -> list[CallOutcome]:
        return [record.outcome for record in self.answers()]


class Asked:
    """The result of one run over all its rows."""

    def __init__(self) -> None:
        self.revisions: dict[str, Revision] = {}
        self.error: LLMError | None = None
        self.notes: list[str] = []

    def count(self, status: RevisionStatus) -> int:
        return sum(revision.status is status for revision in self.revisions.values())

    @property
    def written_off(self) -> list[Revision]:
        """Rows without an answer that no later run asks for."""
        ends = (RevisionStatus.REFUSED, RevisionStatus.REJECTED, RevisionStatus.FAILED)
        return [r for r in self.revisions.values() if r.status in ends and not r.retryable]


class Run(Runner):
    """Revisions of numbered rows through one journal."""

    async def ask(self, rows: int, **changes: Any) -> Asked:
        asked = Asked()
        requests = [
            RevisionRequest(
                f"rev-{i:04}", f"res-{i}", (Message("user", "Where is it?"),), DRAFT.format(i), None
            )
            for i in range(rows)
        ]
        usual = {"timeout_s": 60, "backoff_s": 0.002, "on_note": asked.notes.append}
        async with self.reviser(**{**usual, **changes}) as reviser:
            await collect(reviser, requests, asked)
        stored: dict[str, Revision] = {}
        for record in self.records():
            if revision := revision_in(record):
                stored[revision.revision_id] = revision
        assert stored == asked.revisions, "what is yielded is what is journalled"
        return asked


async def collect(reviser: LLMReviser, requests: list[RevisionRequest], asked: Asked) -> None:
    try:
        async for revision in reviser.revise(requests):
            assert revision.revision_id not in asked.revisions
            asked.revisions[revision.revision_id] = revision
    except LLMError as error:
        asked.error = error


def number_of(request: Any) -> int:
    """The number of the row that a request is about."""
    return int(request.draft.split("number ")[1].split()[0])


def revised(server: Any, request: Any, **extra: Any) -> Any:
    return server.completion(request.draft.replace("blue", "red"), **extra)


def refusing(server: Any, refuses: Callable[[int, Any], Any]) -> None:
    """Answer every request except those for which `refuses(number, request)` returns a reaction."""
    server.script = lambda number, request: refuses(number, request) or revised(server, request)
