"""Which prompts and bad rows of a file are a run's, where a run imports its file once more.

Another version of the program may read the same file otherwise: what it does not take any more leaves the
run, and what it takes is no bad row. Responses, scores and revisions stay where they are.
"""

from collections.abc import Sequence

import pyarrow as pa

from figa_core.storage.database import Database

_IDS = pa.schema([("prompt_id", pa.string())])


def forget_bad_rows(database: Database, run_id: str) -> None:
    """Before an import: it finds the bad rows again, if they still are."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM bad_rows WHERE run_id = ?", [run_id])


def count_prompts(database: Database, run_id: str) -> int:
    """How many prompts are the run's."""
    return database.fetch("SELECT count(*) FROM run_prompts WHERE run_id = $run", run=run_id)[0][0]


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
