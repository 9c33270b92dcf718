"""Our reviser, used and restarted like in `tasks/revise.py`, but without the database."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from figa_core.config import RevisionConfig
from figa_core.llm.asker import Asker
from figa_core.llm.calls import CallAnswered
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.journal import AnswerJournal, read
from figa_core.llm.settings import AskerSettings
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.reviser import LLMReviser, ReviserSettings
from tests.benchmarks.revision_spec import Outcome, Spec, Watch

DEFAULT_CONCURRENCY: int = RevisionConfig.model_fields["max_concurrency"].default
_BATCH_ROWS = 1000
_BATCHES_AT_ONCE = 2


def run(spec: Spec) -> Outcome:
    """Revise the rows that are not in the journal yet."""
    return asyncio.run(_run(spec))


async def _run(spec: Spec) -> Outcome:
    path = Path(spec.directory) / "journal.jsonl"
    settled = {revision.revision_id for revision in _settled(path)}
    answered = sum(_has_text(revision) for revision in _settled(path))
    rows = (_request(row) for row in spec.read_rows() if row["id"] not in settled)
    watch = Watch(spec.warm_up)
    endpoint = ChatEndpoint(spec.base_url, spec.model, "none", timeout_s=60, section="revision")
    async with (
        AnswerJournal(path) as journal,
        Asker(endpoint, _settings(spec), journal=journal) as asker,
    ):
        reviser = LLMReviser(asker, ReviserSettings())
        parts = (_revise_batches(reviser, rows, watch) for _ in range(_BATCHES_AT_ONCE))
        answered += sum(await asyncio.gather(*parts))
        return watch.outcome(answered)


async def _revise_batches(reviser: LLMReviser, rows: Iterator[RevisionRequest], watch: Watch) -> int:
    answered = 0
    while batch := list(islice(rows, _BATCH_ROWS)):
        async for revision in reviser.revise(batch):
            answered += _has_text(revision)
            watch.row()
    return answered


def _settings(spec: Spec) -> AskerSettings:
    return AskerSettings(
        "revision",
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        max_concurrency=DEFAULT_CONCURRENCY,
    )


def _settled(path: Path) -> Iterator[Revision]:
    for record, _ in read(path):
        if isinstance(record, CallAnswered) and record.value is not None:
            yield Revision.of(record.value)


def _has_text(revision: Revision) -> bool:
    return revision.status in (RevisionStatus.SUCCEEDED, RevisionStatus.UNCHANGED)


def _request(row: dict[str, Any]) -> RevisionRequest:
    conversation = tuple(Message(role, content) for role, content in row["conversation"])
    return RevisionRequest(row["id"], f"of {row['id']}", conversation, row["response"], row["reference"])
