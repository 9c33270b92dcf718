"""The row of a file in which each prompt comes first, so that an import recognises and names duplicates.

The rows are in a small database on disk, because a table in memory would grow with the file. It has no
index: DuckDB would hold one in memory, and a scan for every thousand rows takes less time than reading them.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from figa_core.errors import WorkspaceError
from figa_core.storage.database import query_rows


class FirstRows:
    """A context manager that empties `directory` on entry, and removes it on exit.

    Entering it and `look_up` raise WorkspaceError if nothing can be written there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def look_up(self, rows: Sequence[tuple[str, int]]) -> dict[str, int]:
        """The first row of each of these prompts; `rows` are (prompt id, row), in the file's order.

        New prompts are remembered.
        """
        query = "SELECT * FROM first_rows WHERE prompt_id IN (SELECT prompt_id FROM incoming)"
        with self._written():
            first = dict(self._query(rows, query))
            new = {prompt_id: row for prompt_id, row in reversed(rows) if prompt_id not in first}
            self._query(new.items(), "INSERT INTO first_rows SELECT * FROM incoming")
            return first | new

    def prompt_ids(self) -> pa.RecordBatchReader:
        """The ids of all prompts that were looked up, as a stream with one column."""
        return self._connection.sql("SELECT prompt_id FROM first_rows").to_arrow_reader()

    def _query(self, rows: Iterable[tuple[str, int]], query: str) -> list[Any]:
        return query_rows(self._connection, [{"prompt_id": i, "source_row": row} for i, row in rows], query)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except (OSError, duckdb.IOException) as error:
            raise WorkspaceError(
                f"{self._directory}: cannot store which prompts were read: "
                f"{getattr(error, 'strerror', None) or error}. Free space there, or correct the permissions."
            ) from error

    def __enter__(self) -> Self:
        shutil.rmtree(self._directory, ignore_errors=True)
        with self._written():
            self._directory.mkdir(parents=True)
            self._connection = duckdb.connect(self._directory / "first-rows.duckdb")
            self._connection.execute("SET memory_limit = '128MB'")
            self._connection.execute("CREATE TABLE first_rows (prompt_id TEXT, source_row BIGINT)")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        shutil.rmtree(self._directory, ignore_errors=True)
