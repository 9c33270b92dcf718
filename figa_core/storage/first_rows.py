"""Where in a file each prompt comes first, which is how import knows a duplicate and what it is one of.

Kept in a small database of its own, on disk, because a table in memory would grow with the file. It has no
index: DuckDB holds an index in memory, and a scan for every thousand rows costs less than reading them.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

from figa_core.errors import WorkspaceError

_SCHEMA = pa.schema([("prompt_id", pa.string()), ("source_row", pa.int64())])


class FirstRows:
    """Empties the directory it is given when it is entered, and removes it when it is left.

    Entering it and `look_up` raise WorkspaceError where nothing can be written there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def look_up(self, rows: Sequence[tuple[str, int]]) -> dict[str, int]:
        """The row where each of these prompts comes first; `rows` are (prompt id, row), in the file's order.

        What was not there before comes first where it is here, and is remembered.
        """
        with self._written():
            first = self._known(rows)
            new = {prompt_id: row for prompt_id, row in reversed(rows) if prompt_id not in first}
            if new:
                self._register(list(new.items()))
                self._connection.execute("INSERT INTO first_rows SELECT * FROM page")
            return first | new

    def prompt_ids(self) -> pa.RecordBatchReader:
        """The ids of all prompts that were looked up, as a stream with one column."""
        return self._connection.sql("SELECT prompt_id FROM first_rows").to_arrow_reader()

    def _known(self, rows: Sequence[tuple[str, int]]) -> dict[str, int]:
        self._register(rows)
        query = "SELECT * FROM first_rows WHERE prompt_id IN (SELECT prompt_id FROM page)"
        return dict(self._connection.execute(query).fetchall())

    def _register(self, rows: Sequence[tuple[str, int]]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], []]
        self._connection.register("page", pa.table(columns, schema=_SCHEMA))

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except (OSError, duckdb.IOException) as error:
            raise WorkspaceError(
                f"{self._directory}: cannot write down which prompts were seen: "
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        shutil.rmtree(self._directory, ignore_errors=True)
