"""Stage import: prompts with their references, and which of them and which bad rows are a run's.

A run that imports its file again may read it otherwise, with another version of the program: what it does not
take any more leaves the run, and what it takes is no bad row. Responses, scores and revisions stay where they
are.
"""

from collections.abc import Sequence

import pyarrow as pa

from figa_core.prompts.read import BadRow
from figa_core.records import Prompt
from figa_core.storage import tables
from figa_core.storage.database import Database, insert_records, insert_rows

_IDS = pa.schema([("prompt_id", pa.string())])


def save_prompts(database: Database, run_id: str, prompts: Sequence[Prompt]) -> None:
    """Save a batch of prompts and make them this run's."""
    rows = [
        {"prompt_id": p.prompt_id, "messages": tables.messages_text(p.messages), "split": str(p.split)}
        for p in prompts
    ]
    references = [
        {"reference_id": p.reference_id, "prompt_id": p.prompt_id, "text": p.reference}
        for p in prompts
        if p.reference is not None
    ]
    with database.transaction() as connection:
        insert_rows(connection, "prompts", rows, tables.PROMPTS)
        insert_rows(connection, "reference_answers", references, tables.REFERENCES)
        insert_records(connection, "run_prompts", prompts, tables.RUN_PROMPTS, run_id=run_id)


def save_bad_rows(database: Database, run_id: str, rows: Sequence[BadRow]) -> None:
    """Record rows that cannot be used, with their reasons."""
    records = [{"run_id": run_id, "source_row": row.row, "reason": row.reason} for row in rows]
    with database.transaction() as connection:
        insert_rows(connection, "bad_rows", records, tables.BAD_ROWS)


def forget_bad_rows(database: Database, run_id: str) -> None:
    """Before an import: it finds the bad rows again, if they still are."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM bad_rows WHERE run_id = ?", [run_id])


def count_prompts(database: Database, run_id: str) -> int:
    """How many prompts are the run's."""
    return database.value("SELECT count(*) FROM run_prompts WHERE run_id = $run", run=run_id)


def take_out(database: Database, run_id: str, prompt_ids: Sequence[str]) -> None:
    """These prompts are the run's no longer, if they were."""
    if not prompt_ids:
        return
    with database.transaction() as connection:
        connection.register("out", pa.table([pa.array(prompt_ids)], schema=_IDS))
        connection.execute(
            "DELETE FROM run_prompts WHERE run_id = ? AND prompt_id IN (SELECT prompt_id FROM out)", [run_id]
        )
        connection.unregister("out")


def keep_only(database: Database, run_id: str, prompt_ids: pa.RecordBatchReader) -> None:
    """Prompts other than these are the run's no longer; the column is called `prompt_id`."""
    with database.transaction() as connection:
        connection.register("seen", prompt_ids)
        connection.execute(
            "DELETE FROM run_prompts WHERE run_id = ? AND prompt_id NOT IN (SELECT prompt_id FROM seen)",
            [run_id],
        )
        connection.unregister("seen")
