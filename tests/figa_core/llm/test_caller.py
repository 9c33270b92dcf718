"""What a reply means for other calls, and which rows stay open if an endpoint refuses every row."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from figa_core.llm.asker import Asker
from figa_core.llm.calls import CallOutcome
from figa_core.llm.journal import AnswerJournal
from figa_core.llm.question import ChatMessages
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings
from figa_core.records import RevisionStatus
from tests.figa_core.llm.runs import Run, number_of, refusing
from tests.figa_core.llm.test_grader import answer, question
from tests.figa_core.llm.virtual import now, on_fast_clock


@pytest.mark.parametrize("rows", [4, 5, 12])
@pytest.mark.parametrize(
    ("status", "message", "settled"),
    [(413, "too large", RevisionStatus.FAILED), (403, "flagged", RevisionStatus.REFUSED)],
)
async def test_several_rows_refused_alike_stay_open_if_the_endpoint_never_answered(
    server: Any, run: Run, rows: int, status: int, message: str, settled: RevisionStatus
):
    refusing(server, lambda *_: server.error(status, message))
    asked = await run.ask(rows, max_concurrency=2)
    assert asked.error is None
    assert len(asked.revisions) == rows
    assert len(asked.written_off) == (rows if rows < 5 else 0)
    for revision in asked.revisions.values():
        end = (RevisionStatus.FAILED, True) if rows >= 5 else (settled, False)
        assert (revision.status, revision.retryable) == end
        assert message in str(revision.reason)
        assert revision.attempts == 1


async def test_an_answer_shows_that_the_rows_are_the_cause_of_such_refusals(server: Any, run: Run):
    refusing(server, lambda _, request: server.error(413) if number_of(request) != 4 else None)
    asked = await run.ask(8, max_concurrency=1)
    assert asked.count(RevisionStatus.SUCCEEDED) == 1
    assert len(asked.written_off) == 7


async def test_only_rows_refused_in_the_same_words_stay_open(server: Any, run: Run):
    def words(_: int, request: Any) -> Any:
        return server.error(413, "one of a kind" if number_of(request) == 3 else "too large")

    refusing(server, words)
    asked = await run.ask(7, max_concurrency=1)
    assert [revision.revision_id for revision in asked.written_off] == ["rev-0003"]
    assert asked.count(RevisionStatus.FAILED) == 7


class _Timed:
    """A transport that answers by the text asked about, and records when it was asked."""

    url, model = "recorded", "recorded"

    def __init__(self, **replies: Reply) -> None:
        self.replies = replies
        self.asked: dict[str, list[float]] = {text: [] for text in replies}

    async def ask(self, messages: ChatMessages, **_: Any) -> Reply:
        await asyncio.sleep(0)
        text = messages[0]["content"]
        self.asked[text].append(now())
        return self.replies[text]

    async def aclose(self) -> None:
        return


def ask_all(path: Path, transport: _Timed, **settings: Any) -> None:
    async def main() -> None:
        async with (
            AnswerJournal(path, linger_s=0.001) as journal,
            Asker(transport, AskerSettings("test", backoff_s=0.001, **settings), journal=journal) as asker,
        ):
            async for _ in asker.ask(map(question, transport.replies)):
                pass

    on_fast_clock(main)


@pytest.mark.parametrize(("used", "waits"), [(20, (0, 2)), (10_000, (9, 12))])
def test_tokens_used_beyond_the_estimate_delay_the_next_call(
    tmp_path: Path, used: int, waits: tuple[float, float]
):
    expensive = Reply(CallOutcome.ANSWERED, None, "grade: 1", "stop", prompt_tokens=used, completion_tokens=1)
    transport = _Timed(first=expensive, second=answer("grade: 2"))
    # 1000 tokens a second.
    ask_all(tmp_path / "journal.jsonl", transport, tokens_per_minute=60_000, max_concurrency=1)
    [first], [second] = transport.asked.values()
    assert waits[0] <= second - first <= waits[1]


@pytest.mark.parametrize("at_once", [2, 4])
def test_a_question_told_to_wait_while_others_are_answered_does_not_hold_them_back(
    tmp_path: Path, at_once: int
):
    unavailable = Reply(CallOutcome.SERVER_ERROR, "HTTP 503", status=503, retry_after_s=60)
    others = {f"text {number}": answer("grade: 1") for number in range(40)}
    transport = _Timed(bad=unavailable, **others)
    ask_all(tmp_path / "journal.jsonl", transport, max_concurrency=at_once, max_attempts=8)
    assert len(transport.asked["bad"]) >= 8
    assert all(len(times) == 1 for text, times in transport.asked.items() if text != "bad")
    spent = max(max(times) for times in transport.asked.values()) - transport.asked["bad"][0]
    assert 60 <= spent < 3 * 60  # all calls wait the first times, not each time
