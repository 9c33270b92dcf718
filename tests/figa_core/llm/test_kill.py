"""A revising process is killed: what it journalled is not paid for again."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from figa_core.llm.journal import read
from tests.figa_core.llm.runs import calls_in_flight, revision_in

ROWS = 120
PROGRAM = """
import asyncio, sys
from pathlib import Path
from figa_core.ports import RevisionRequest
from figa_core.records import Message
from figa_core.llm.journal import AnswerJournal, read
from tests.figa_core.llm.runs import open_reviser, revision_in

async def main(url, path):
    done = {r.subject_id for r, _ in read(path) if revision_in(r) is not None}
    rows = [
        RevisionRequest(f"rev-{i}", f"res-{i}", (Message("user", "?"),), f"draft number {i}", None)
        for i in range(int(sys.argv[3])) if f"rev-{i}" not in done
    ]
    async with AnswerJournal(path) as journal, open_reviser(url, journal, max_concurrency=8) as reviser:
        async for revision in reviser.revise(rows):
            pass

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


async def _run(server: Any, path: Path, kill_after: int | None, rows: int = ROWS) -> int:
    command = (sys.executable, "-c", PROGRAM, server.url, str(path), str(rows))
    process = await asyncio.create_subprocess_exec(*command)
    start = len(server.received)
    while process.returncode is None:
        if kill_after is not None and len(server.received) - start >= kill_after:
            process.kill()
            break
        await asyncio.sleep(0.002)
    return await process.wait()


async def test_after_kill_9_only_the_calls_in_flight_are_repeated(server: Any, tmp_path: Path):
    server.script = lambda number, request: server.completion(f"better {request.draft}", delay_s=0.03)
    path = tmp_path / "journal.jsonl"
    in_flight = 0
    for kill_after in (1, 40):
        assert await _run(server, path, kill_after) == -9
        records = [record for record, _ in read(path)]
        in_flight = len(calls_in_flight(records))  # in all runs so far
        assert in_flight <= 2 * 8
    assert await _run(server, path, None) == 0
    settled = [revision for r, _ in read(path) if (revision := revision_in(r))]
    assert len(settled) == len({r.revision_id for r in settled}) == ROWS
    assert {(r.revision_id.removeprefix("rev-"), r.text) for r in settled} == {
        (str(i), f"better draft number {i}") for i in range(ROWS)
    }
    repeated = len(server.received) - len({request.draft for request in server.received})
    assert repeated <= in_flight


@pytest.mark.slow
async def test_killed_at_fifty_random_moments_no_row_is_lost_and_only_calls_in_flight_are_repeated(
    server: Any, tmp_path: Path
):
    server.script = lambda number, request: server.completion(f"better {request.draft}", delay_s=0.03)
    path = tmp_path / "journal.jsonl"
    moments = random.Random(50)
    rows = 2500
    for _ in range(50):
        assert await _run(server, path, moments.randint(1, 60), rows) == -9
    assert await _run(server, path, None, rows) == 0
    records = [record for record, _ in read(path)]
    settled = [revision.revision_id for r in records if (revision := revision_in(r))]
    assert len(settled) == len(set(settled)) == rows
    lost = len(calls_in_flight(records))
    repeated = len(server.received) - len({request.draft for request in server.received})
    assert repeated <= lost <= 50 * 8
