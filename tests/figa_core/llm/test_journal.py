"""The answer journal: durable, grouped, and tolerant only of a torn end."""

import asyncio
import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest

from figa_core.errors import StorageError
from figa_core.llm.calls import CallAnswered, CallOutcome, CallRecord, CallSent, RowSettled
from figa_core.llm.journal import AnswerJournal, read


def sent(number: int) -> CallSent:
    return CallSent(f"call-{number}", "grading", f"row-{number}", 1, 1.5, 100)


def answered(number: int) -> CallAnswered:
    about = (f"call-{number}", "grading", f"row-{number}", 1)
    value = {"grade": "a\nb – ü"}
    return CallAnswered(*about, 2.5, 1.0, CallOutcome.ANSWERED, None, 3, 4, value)


async def write(path: Path, *records: CallRecord) -> None:
    async with AnswerJournal(path, linger_s=0.001) as journal:
        await asyncio.gather(*(journal.append(record) for record in records))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "journal.jsonl"


async def test_records_come_back_in_order_and_are_kept_across_opens(path: Path):
    settled = RowSettled(1.0, "grading", "row", {"grade": None, "why": "no"})
    await write(path, sent(1), answered(1))
    await write(path, settled)
    assert [record for record, _ in read(path)] == [sent(1), answered(1), settled]


async def test_only_its_owner_can_read_a_new_journal(tmp_path: Path):
    path = tmp_path / "not" / "there" / "yet" / "journal.jsonl"
    await write(path, sent(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_an_append_is_on_disk_when_it_returns(path: Path):
    async with AnswerJournal(path) as journal:
        for number in range(3):
            await journal.append(sent(number))
            assert [record for record, _ in read(path)] == [sent(i) for i in range(number + 1)]


async def test_reading_continues_from_an_offset(path: Path):
    await write(path, sent(1), sent(2))
    offsets = [offset for _, offset in read(path)]
    await write(path, sent(3))
    assert [record for record, _ in read(path, offsets[0])] == [sent(2), sent(3)]
    assert [record for record, _ in read(path, offsets[1])] == [sent(3)]
    assert list(read(path, path.stat().st_size)) == []


def test_a_missing_file_is_an_empty_journal(path: Path):
    assert list(read(path)) == []


async def test_a_journal_shorter_than_what_was_read_before_is_an_error(path: Path):
    with pytest.raises(StorageError, match="gone"):
        list(read(path, 10))
    await write(path, sent(1))
    for missing in (1, 100_000):
        with pytest.raises(StorageError, match="shorter"):
            list(read(path, path.stat().st_size + missing))


def test_a_journal_that_cannot_be_read_is_reported_with_the_reason(tmp_path: Path):
    words = f"^{tmp_path}: the answer journal cannot be used: Is a directory\\."
    with pytest.raises(StorageError, match=words):
        list(read(tmp_path))


async def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_open(path: Path):
    await write(path, sent(1), answered(2))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert [record for record, _ in read(path)] == [sent(1)]
    await write(path, sent(3))
    assert [record for record, _ in read(path)] == [sent(1), sent(3)]
    path.write_bytes(b"\x00" * 200_000)
    await write(path, sent(4))
    assert [record for record, _ in read(path)] == [sent(4)]


@pytest.mark.parametrize(
    "damage",
    [
        b"garbage\n",
        b"\n",
        b"[]\n",
        b'{"kind":"other"}\n',
        b'{"kind":"sent"}\n',
        b'{"kind":"sent","call_id":"a","revision_id":"b","attempt":1,"sent_at":"x","estimated_tokens":1}\n',
        b'{"kind":"settled","settled_at":1.0,"revision":{"status":"odd"}}\n',
        b'{"kind":"settled","settled_at":1.0,"revision":null}\n',
        b'{"kind":"settled","settled_at":1.0,"revision":7}\n',
    ],
)
async def test_a_damaged_line_in_the_middle_is_reported_with_file_and_line(path: Path, damage: bytes):
    await write(path, sent(1), sent(2))
    _, second = (offset for _, offset in read(path))
    with path.open("ab") as file:
        file.write(damage)
    await write(path, sent(3))
    for offset in (0, second):
        with pytest.raises(StorageError, match=r"journal\.jsonl, line 3: damaged"):
            list(read(path, offset))


async def test_a_thousand_appends_at_once_share_a_few_fsyncs(path: Path, monkeypatch: pytest.MonkeyPatch):
    fsyncs: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (fsyncs.append(file), real(file))[1])
    await write(path, *(sent(number) for number in range(1000)))
    assert len(fsyncs) <= 2 + 3  # two by opening the journal
    assert sum(1 for _ in read(path)) == 1000


async def test_an_append_waits_no_longer_than_promised(path: Path):
    async with AnswerJournal(path) as journal:
        waits = []
        for number in range(10):
            start = time.monotonic()
            await journal.append(sent(number))
            waits.append(time.monotonic() - start)
    assert sorted(waits)[5] < 0.05  # the median, because the disk of a shared machine is sometimes slow


async def test_a_cancelled_append_is_written_anyway(path: Path):
    async with AnswerJournal(path) as journal:
        task = asyncio.create_task(journal.append(sent(1)))
        await asyncio.sleep(0)
        task.cancel()
        await journal.append(sent(2))
    assert [record for record, _ in read(path)] == [sent(1), sent(2)]


async def test_closing_waits_for_pending_appends(path: Path):
    async with AnswerJournal(path) as journal:
        task = asyncio.create_task(journal.append(sent(1)))
        await asyncio.sleep(0)
    await task
    assert [record for record, _ in read(path)] == [sent(1)]


async def test_a_closed_journal_refuses(path: Path):
    journal = AnswerJournal(path)
    with pytest.raises(StorageError, match="not open"):
        await journal.append(sent(1))
    async with journal:
        with pytest.raises(StorageError, match="already open"):
            await journal.__aenter__()
    with pytest.raises(StorageError, match="not open"):
        await journal.append(sent(1))


async def test_a_full_disk_fails_the_append_and_all_later_ones_and_leaves_whole_lines(path: Path):
    await write(path, sent(1))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with AnswerJournal(path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
        try:
            for number in (2, 3):
                with pytest.raises(StorageError, match=r"journal\.jsonl.*File too large"):
                    await journal.append(sent(number))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            signal.signal(signal.SIGXFSZ, ignored)
    await write(path, sent(4))
    assert [record for record, _ in read(path)] == [sent(1), sent(4)]


async def test_a_directory_that_cannot_be_created_is_reported(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        async with AnswerJournal(tmp_path / "file" / "journal.jsonl"):
            pass


async def test_an_append_returns_only_after_its_bytes_were_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The page cache survives a killed process: only the fsync call shows the effect of a power cut."""
    synced: list[int] = []

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_size)

    async with AnswerJournal(path, linger_s=0.0) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        for number in range(3):
            await journal.append(sent(number))
            assert synced[-1] == path.stat().st_size
    assert len(synced) == 3
