"""The answer journal: paid answers are durable when they arrive, not at the next batch commit.

An append-only file with one JSON record a line (`calls`). `append` returns when its record is on disk.
Appends that arrive together share one fsync: the first waits `linger_s` (20 ms) for others, and those that
arrive during an fsync wait for the next. So a healthy disk adds at most about 50 ms to a call, and a hundred
calls a second cost at most fifty fsyncs. A thread writes; the event loop never waits for the disk.

A kill can leave a torn last line. Reading stops before it, and the next open cuts it off; a damaged line
anywhere else is an error, because it was durable once. The workspace's lease allows one writer at a time.
Readers need no lock; `read` yields offsets from which to continue.
"""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from figa_core.errors import StorageError
from figa_core.llm.calls import CallRecord, decode, encode

_TAIL_BLOCK = 1 << 16


class AnswerJournal:
    """The writer, an async context manager of one event loop."""

    def __init__(self, path: Path, *, linger_s: float = 0.02) -> None:
        """The file and its directory are created if missing; `linger_s` in seconds."""
        self.path = Path(path)
        self._linger_s = linger_s
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._wake: asyncio.Event
        self._flusher: asyncio.Task[None] | None = None
        self._closing = False
        self._broken: StorageError | None = None

    async def __aenter__(self) -> Self:
        if self._flusher is not None:
            raise StorageError(f"{self.path}: the journal is already open.")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            self._file = await asyncio.get_running_loop().run_in_executor(self._thread, _open, self.path)
        except OSError as error:
            self._thread.shutdown()
            raise StorageError(_unusable(self.path, error)) from error
        self._closing, self._wake = False, asyncio.Event()
        self._flusher = asyncio.create_task(self._flush_groups(), name="journal")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._flusher is not None
        self._closing = True
        self._wake.set()
        try:
            await asyncio.shield(self._flusher)
        finally:
            self._flusher = None
            self._thread.shutdown()
            os.close(self._file)

    async def append(self, record: CallRecord) -> None:
        """Write `record`; return when it is durable.

        Raises:
            StorageError: the journal is not open, or the disk refused this or an earlier record.
        """
        if self._broken is not None:
            raise StorageError(str(self._broken))
        if self._flusher is None or self._closing:
            raise StorageError(f"{self.path}: the journal is not open.")
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((encode(record), durable))
        self._wake.set()
        await durable

    async def _flush_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            if not self._closing:
                await asyncio.sleep(self._linger_s)
            self._wake.clear()
            group, self._waiting = self._waiting, []
            if group:
                lines = b"".join(line for line, _ in group)
                try:
                    await loop.run_in_executor(self._thread, _write, self._file, lines)
                except OSError as error:
                    self._broken = StorageError(_unusable(self.path, error))
                for _, durable in group:
                    if durable.done():  # its caller was cancelled; the record is on disk anyway
                        continue
                    if self._broken is not None:
                        durable.set_exception(StorageError(str(self._broken)))
                    else:
                        durable.set_result(None)
            if self._closing and not self._waiting:
                return


def read(path: Path, offset: int = 0) -> Iterator[tuple[CallRecord, int]]:
    """Yield (record, offset after it) from `offset` on, which is 0 or an offset yielded before.

    A missing file is an empty journal. A last line without a line feed is left out: it is being written, or a
    kill tore it.

    Raises:
        StorageError: a line is damaged (the message names file and line), or the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            if offset > file.seek(0, os.SEEK_END):
                raise StorageError(
                    f"{path}: the journal is shorter than the {offset} bytes read before. "
                    "It was replaced or cut: restore it, or start a new workspace."
                )
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    record = decode(line)
                except ValueError as error:
                    raise damaged(path, offset, error) from error
                offset += len(line)
                yield record, offset
    except FileNotFoundError:
        if offset:
            raise StorageError(
                f"{path}: the journal is gone. Restore it, or start a new workspace."
            ) from None
    except OSError as error:
        raise StorageError(_unusable(path, error)) from error


def damaged(path: Path, offset: int, error: ValueError) -> StorageError:
    """The error for a line at `offset` that is not a record, or has no value of its purpose."""
    with Path(path).open("rb") as file:
        number = file.read(offset).count(b"\n") + 1
    return StorageError(
        f"{path}, line {number}: damaged record ({error}). Paid answers may follow it: restore the file from "
        "a copy, or fix or remove that line by hand."
    )


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        end = os.fstat(file).st_size
        whole = _end_of_last_line(file, end)
        if whole < end:
            os.ftruncate(file, whole)
        os.fsync(file)
        directory = os.open(path.parent, os.O_RDONLY)  # a new file's name is to be durable, too
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError:
        os.close(file)
        raise
    return file


def _end_of_last_line(file: int, end: int) -> int:
    """The offset after the last line feed before `end`; 0 if there is none."""
    while end > 0:
        start = max(0, end - _TAIL_BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write(file: int, data: bytes) -> None:
    """Append and fsync; after a failure cut off what was written, so that no torn line remains."""
    start = os.fstat(file).st_size
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, start)
        raise


def _unusable(path: Path, error: OSError) -> str:
    return (
        f"{path}: the answer journal cannot be used: {error.strerror or error}. "
        "Free space or fix the permissions, then run again: its content is kept."
    )
