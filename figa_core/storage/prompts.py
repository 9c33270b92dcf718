"""Stage import: a run's prompts with their references, and its bad rows.

A run that imports its file again may read it differently, with another version of the program. A prompt that
is no longer accepted leaves the run, and a row that is accepted is no longer a bad row. Responses, scores and
revisions stay in the database.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from figa_core.prompts.read import BadRow
from figa_core.records import Prompt
from figa_core.storage.conversations import messages_text
from figa_core.storage.database import Database, insert_rows


def save_prompts(database: Database, run_id: str, prompts: Sequence[Prompt]) -> None:
    """Save a batch of prompts and make them this run's."""
    rows = [
        {"prompt_id": p.prompt_id, "messages": messages_text(p.messages), "split": p.split} for p in prompts
    ]
    references = [
        {"reference_id": p.reference_id, "prompt_id": p.prompt_id, "text": p.reference}
        for p in prompts
        if p.reference is not None
    ]
    of_run = [
        {
            "run_id": run_id,
            "prompt_id": p.prompt_id,
            "reference_id": p.reference_id,
            "type": p.type,
            "fields": p.fields,
        }
        for p in prompts
    ]
    with database.transaction() as connection:
        insert_rows(connection, "prompts", rows)
        insert_rows(connection, "reference_answers", references)
        insert_rows(connection, "run_prompts", of_run)


def save_bad_rows(database: Database, run_id: str, rows: Sequence[BadRow]) -> None:
    """Record rows that cannot be used, with their reasons."""
    records = [{"run_id": run_id, "source_row": row.row, "reason": row.reason} for row in rows]
    database.insert("bad_rows", records)


def forget_bad_rows(database: Database, run_id: str) -> None:
    """Forget a run's bad rows before an import, which finds them again."""
    database.execute("DELETE FROM bad_rows WHERE run_id = $run", run=run_id)


def count_prompts(database: Database, run_id: str) -> int:
    """How many prompts the run has."""
    return database.value("SELECT count(*) FROM run_prompts WHERE run_id = $run", run=run_id)


def types_of(database: Database, run_id: str) -> Mapping[str, str]:
    """The types of the run's prompts by their ids; those without a type are left out."""
    rows = database.fetch(
        "SELECT prompt_id, type FROM run_prompts WHERE run_id = $run AND type IS NOT NULL", run=run_id
    )
    return dict(rows)


def take_out(database: Database, run_id: str, prompt_ids: Sequence[str]) -> None:
    """Remove these prompts from the run, if it has them."""
    if prompt_ids:
        database.execute(
            "DELETE FROM run_prompts WHERE run_id = $run AND prompt_id IN (SELECT unnest($out))",
            run=run_id,
            out=list(prompt_ids),
        )


def keep_only(database: Database, run_id: str, prompt_ids: pa.RecordBatchReader) -> None:
    """Remove all other prompts from the run; the stream's column is called `prompt_id`."""
    with database.transaction() as connection:
        connection.register("seen", prompt_ids)
        connection.execute(
            "DELETE FROM run_prompts WHERE run_id = ? AND prompt_id NOT IN (SELECT prompt_id FROM seen)",
            [run_id],
        )
